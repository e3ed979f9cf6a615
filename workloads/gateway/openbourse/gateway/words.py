"""Binance's words for the enumerations of `openbourse.v1`, in both directions. A word that is not here does not exist.

MARKET orders are sent to the engine as IOC, which is what they are, and shown as GTC, which is what Binance calls it.
"""

from enum import Enum

from openbourse.contracts import v1


class Side(Enum):
    BUY = v1.Side.SIDE_BUY
    SELL = v1.Side.SIDE_SELL


class OrderType(Enum):
    """What Binance knows; the value is how its message calls the ones that we do not have."""

    LIMIT = "Limit"
    MARKET = "Market"
    LIMIT_MAKER = "Limit maker"
    STOP_LOSS = "Stop loss"
    STOP_LOSS_LIMIT = "Stop loss limit"
    TAKE_PROFIT = "Take profit"
    TAKE_PROFIT_LIMIT = "Take profit limit"


class TimeInForce(Enum):
    GTC = v1.TimeInForce.TIME_IN_FORCE_GTC
    IOC = v1.TimeInForce.TIME_IN_FORCE_IOC
    FOK = v1.TimeInForce.TIME_IN_FORCE_FOK


class SelfTradePrevention(Enum):
    NONE = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_NONE
    EXPIRE_TAKER = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_TAKER
    EXPIRE_MAKER = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_MAKER
    EXPIRE_BOTH = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_BOTH
    DECREMENT = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT
    TRANSFER = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_TRANSFER


class ResponseType(Enum):
    ACK = "ACK"
    RESULT = "RESULT"
    FULL = "FULL"


class CancelRestriction(Enum):
    ONLY_NEW = v1.CancelRestriction.CANCEL_RESTRICTION_ONLY_NEW
    ONLY_PARTIALLY_FILLED = v1.CancelRestriction.CANCEL_RESTRICTION_ONLY_PARTIALLY_FILLED


class ReplaceMode(Enum):
    STOP_ON_FAILURE = v1.ReplaceMode.REPLACE_MODE_STOP_ON_FAILURE
    ALLOW_FAILURE = v1.ReplaceMode.REPLACE_MODE_ALLOW_FAILURE


SIDES = {side.value: side.name for side in Side}
TIMES_IN_FORCE = {time.value: time.name for time in TimeInForce}
SELF_TRADE_PREVENTIONS: dict[int, str] = {mode.value: mode.name for mode in SelfTradePrevention}
# The ones that we have.
ORDER_TYPES = {
    v1.OrderType.ORDER_TYPE_LIMIT: "LIMIT",
    v1.OrderType.ORDER_TYPE_LIMIT_MAKER: "LIMIT_MAKER",
    v1.OrderType.ORDER_TYPE_MARKET: "MARKET",
}
ORDER_STATUSES = {
    v1.OrderStatus.ORDER_STATUS_NEW: "NEW",
    v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED: "PARTIALLY_FILLED",
    v1.OrderStatus.ORDER_STATUS_FILLED: "FILLED",
    v1.OrderStatus.ORDER_STATUS_CANCELED: "CANCELED",
    v1.OrderStatus.ORDER_STATUS_EXPIRED: "EXPIRED",
    v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH: "EXPIRED_IN_MATCH",
}
# BREAK is Binance's word for a market that takes no new orders; the last two are from when it had such phases itself.
SYMBOL_STATES: dict[int, str] = {
    v1.SymbolState.SYMBOL_STATE_TRADING: "TRADING",
    v1.SymbolState.SYMBOL_STATE_HALT: "HALT",
    v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY: "BREAK",
    v1.SymbolState.SYMBOL_STATE_POST_ONLY: "PRE_TRADING",
    v1.SymbolState.SYMBOL_STATE_AUCTION: "AUCTION_MATCH",
}
