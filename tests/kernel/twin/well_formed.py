"""Which commands are INVALID, field by field, in the words of the section *details of refusals*."""

import re
from typing import Literal

from kernel.twin.state import (
    AUCTION,
    CANCEL_ONLY,
    FOK,
    GTC,
    HALT,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    POST_ONLY,
    TRADING,
    Refused,
)

from openbourse.contracts import v1

FIRST_TRADER = 1000
DAY_MS = 86_400_000
SYMBOL, ASSET, ID = "[A-Z0-9]{2,32}", "[A-Z0-9]{1,16}", "[A-Za-z0-9_.:/-]"
ID_CHARACTERS = "A-Z a-z 0-9 _ . : / -"
COMMANDS_OF_VERSION_1 = {
    "place_order",
    "cancel_order",
    "credit_funds",
    "define_asset",
    "define_symbol",
    "impose_halt",
    "lift_halt",
    "checkpoint",
    "change_version",
}
COMMANDS_OF_MOVES = {"freeze_symbol", "import_symbol", "complete_move", "undo_freeze", "abandon_import"}
FIELDS_OF_VERSION_2: dict[Literal["place_order", "cancel_order", "lift_halt"], list[str]] = {
    "place_order": ["quote_units", "self_trade_prevention"],
    "cancel_order": ["restriction"],
    "lift_halt": ["reopen", "reopen_ms"],
}


def check(kept: bool, rule: str) -> None:
    if not kept:
        raise Refused("INVALID", rule)


def matches(value: str, pattern: str) -> bool:
    return re.fullmatch(pattern, value) is not None


def known_to_version_1(command: v1.Command) -> v1.Command:
    """Without the fields that version 1 did not know."""
    known = v1.Command()
    known.CopyFrom(command)
    for name, fields in FIELDS_OF_VERSION_2.items():
        if known.HasField(name):
            for field in fields:
                getattr(known, name).ClearField(field)
    return known


def traces(command: v1.Command) -> None:
    check(len(command.correlation_id.encode()) <= 512, "correlation_id: must be at most 512 bytes")
    check(len(command.causation_id.encode()) <= 512, "causation_id: must be at most 512 bytes")


def account(value: int) -> None:
    check(value >= FIRST_TRADER, "account: must be at least 1000")


def symbol(value: str) -> None:
    check(matches(value, SYMBOL), "symbol: must be 2 to 32 of A-Z 0-9")


def symbol_or_all(value: str) -> None:
    check(value == "" or matches(value, SYMBOL), "symbol: must be empty or 2 to 32 of A-Z 0-9")


def asset(value: str, name: str = "asset") -> None:
    check(matches(value, ASSET), f"{name}: must be 1 to 16 of A-Z 0-9")


def client_order_id(value: str) -> None:
    check(matches(value, ID + "{1,36}"), f"client_order_id: must be 1 to 36 of {ID_CHARACTERS}")


def halt_name(value: str) -> None:
    check(matches(value, ID + "{1,253}"), f"halt: must be 1 to 253 of {ID_CHARACTERS}")


def move_id(value: bytes) -> None:
    check(len(value) == 16, "move_id: must be 16 bytes")


def shard(value: str, name: str) -> None:
    check(matches(value, "[a-z0-9-]{1,63}"), f"{name}: must be 1 to 63 of a-z 0-9 -")


def reason(value: str) -> None:
    check(len(value.encode()) <= 1024, "reason: must be at most 1024 bytes")


def target(asked: v1.CancelOrder | v1.AmendOrder | v1.OrderQuery) -> None:
    named = asked.WhichOneof("target")
    check(named is not None, "target: must be an order_id or a client_order_id")
    if named == "client_order_id":
        client_order_id(asked.client_order_id)


def self_trade_prevention(value: int) -> None:
    known = value in v1.SelfTradePrevention.values()
    check(known, "self_trade_prevention: must be one that this version knows")


def place_order(place: v1.PlaceOrder, version: int) -> None:
    account(place.account)
    symbol(place.symbol)
    check(place.side in (v1.Side.SIDE_BUY, v1.Side.SIDE_SELL), "side: must be BUY or SELL")
    if version == 1:
        check(place.type == LIMIT, "type: must be LIMIT")
        check(place.time_in_force in (GTC, IOC), "time_in_force: must be GTC or IOC")
        client_order_id(place.client_order_id)
        return
    check(place.type in (LIMIT, MARKET, LIMIT_MAKER), "type: must be LIMIT, MARKET or LIMIT_MAKER")
    if place.type == LIMIT:
        check(place.time_in_force in (GTC, IOC, FOK), "time_in_force: must be GTC, IOC or FOK")
    elif place.type == LIMIT_MAKER:
        check(place.time_in_force == GTC, "time_in_force: must be GTC")
    else:
        check(place.time_in_force == IOC, "time_in_force: must be IOC")
        check(place.price_ticks == 0, "price_ticks: must be 0")
        check(place.quantity_lots >= 0, "quantity_lots: must be at least 0")
    client_order_id(place.client_order_id)
    if place.type == MARKET:
        check(place.quote_units >= 0, "quote_units: must be at least 0")
        one_of_them = (place.quote_units > 0) != (place.quantity_lots > 0)
        check(one_of_them, "quote_units: must be above 0, or quantity_lots, and not both")
    else:
        check(place.quote_units == 0, "quote_units: must be 0")
    self_trade_prevention(place.self_trade_prevention)


def cancel_order(cancel: v1.CancelOrder) -> None:
    account(cancel.account)
    symbol(cancel.symbol)
    target(cancel)
    known = cancel.restriction in v1.CancelRestriction.values()
    check(known, "restriction: must be ONLY_NEW or ONLY_PARTIALLY_FILLED, or not given")


def amend_order(amend: v1.AmendOrder) -> None:
    account(amend.account)
    symbol(amend.symbol)
    target(amend)
    check(amend.quantity_lots >= 1, "quantity_lots: must be at least 1")
    new = amend.new_client_order_id
    check(
        new == "" or matches(new, ID + "{1,36}"),
        f"new_client_order_id: must be empty or 1 to 36 of {ID_CHARACTERS}",
    )


def replace_order(replace: v1.ReplaceOrder) -> None:
    check(replace.HasField("cancel"), "cancel: must be there")
    cancel_order(replace.cancel)
    check(replace.HasField("place"), "place: must be there")
    place_order(replace.place, version=2)
    check(replace.place.account == replace.cancel.account, "place: must be of the account of cancel")
    check(replace.place.symbol == replace.cancel.symbol, "place: must be of the symbol of cancel")
    modes = (v1.ReplaceMode.REPLACE_MODE_STOP_ON_FAILURE, v1.ReplaceMode.REPLACE_MODE_ALLOW_FAILURE)
    check(replace.mode in modes, "mode: must be STOP_ON_FAILURE or ALLOW_FAILURE")


def cancel_all_orders(cancel: v1.CancelAllOrders) -> None:
    check(cancel.account == 0 or cancel.account >= FIRST_TRADER, "account: must be 0 or at least 1000")
    symbol_or_all(cancel.symbol)
    reasons = (
        v1.CancelReason.CANCEL_REASON_REQUEST,
        v1.CancelReason.CANCEL_REASON_DISCONNECT,
        v1.CancelReason.CANCEL_REASON_OPERATOR,
    )
    check(cancel.reason in reasons, "reason: must be REQUEST, DISCONNECT or OPERATOR")


def set_countdown(countdown: v1.SetCountdown) -> None:
    account(countdown.account)
    symbol_or_all(countdown.symbol)
    check(0 <= countdown.countdown_ms <= DAY_MS, f"countdown_ms: must be 0 to {DAY_MS}")


def funds(transfer: v1.CreditFunds | v1.DebitFunds) -> None:
    check(matches(transfer.transfer_id, ID + "{1,64}"), f"transfer_id: must be 1 to 64 of {ID_CHARACTERS}")
    account(transfer.account)
    asset(transfer.asset)
    check(transfer.amount >= 1, "amount: must be at least 1")


def define_asset(define: v1.DefineAsset) -> None:
    asset(define.asset)
    check(define.scale <= 18, "scale: must be 0 to 18")


def definition(terms: v1.SymbolDefinition) -> None:
    symbol(terms.symbol)
    asset(terms.base_asset, "base_asset")
    asset(terms.quote_asset, "quote_asset")
    check(terms.fee_charge in v1.FeeCharge.values(), "fee_charge: must be RECEIVED or QUOTE, or not given")
    self_trade_prevention(terms.self_trade_prevention)
    check(terms.base_asset != terms.quote_asset, "quote_asset: must differ from base_asset")
    for name in ("tick_units", "lot_units", "max_price_ticks", "max_quantity_lots"):
        check(getattr(terms, name) >= 1, f"{name}: must be at least 1")
    check(terms.min_notional_units >= 0, "min_notional_units: must be at least 0")
    for name in ("maker_fee_ppm", "taker_fee_ppm"):
        check(getattr(terms, name) <= 100_000, f"{name}: must be 0 to 100000")
    for name, most in (
        ("min_price_ticks", "max_price_ticks"),
        ("min_quantity_lots", "max_quantity_lots"),
        ("market_max_quantity_lots", "max_quantity_lots"),
    ):
        check(0 <= getattr(terms, name) <= getattr(terms, most), f"{name}: must be 0 to {most}")
    check(
        terms.max_notional_units == 0 or terms.max_notional_units >= terms.min_notional_units,
        "max_notional_units: must be 0, or at least min_notional_units",
    )
    for name, band in (("bid_band", terms.bid_band), ("ask_band", terms.ask_band)):
        check(
            band.lowest_ppm == 0 or band.highest_ppm == 0 or band.lowest_ppm <= band.highest_ppm,
            f"{name}: lowest_ppm must be at most highest_ppm, or one of them 0",
        )
    check(terms.average_minutes <= 60, "average_minutes: must be 0 to 60")
    for name in ("market_collar_ppm", "static_band_ppm", "dynamic_band_ppm"):
        check(getattr(terms, name) <= 999_999, f"{name}: must be 0 to 999999")
    if terms.static_band_ppm or terms.dynamic_band_ppm:
        check(
            1 <= terms.volatility_auction_ms <= 3_600_000,
            "volatility_auction_ms: must be 1 to 3600000 with a static or dynamic band",
        )
    else:
        check(terms.volatility_auction_ms == 0, "volatility_auction_ms: must be 0 without a static or dynamic band")
    check(
        0 <= terms.reference_price_ticks <= terms.max_price_ticks,
        "reference_price_ticks: must be 0 to max_price_ticks",
    )


def impose_halt(impose: v1.ImposeHalt, version: int) -> None:
    halt_name(impose.halt)
    for name in impose.symbols:
        check(matches(name, SYMBOL), "symbols: must each be 2 to 32 of A-Z 0-9")
    if version == 1:
        check(impose.state in (HALT, CANCEL_ONLY), "state: must be HALT or CANCEL_ONLY")
    else:
        check(impose.state in (HALT, CANCEL_ONLY, POST_ONLY), "state: must be HALT, CANCEL_ONLY or POST_ONLY")
    reason(impose.reason)
    check(len(impose.symbols) <= 1000, "symbols: must be at most 1000")


def lift_halt(lift: v1.LiftHalt) -> None:
    halt_name(lift.halt)
    reason(lift.reason)
    known = lift.reopen in (v1.SymbolState.SYMBOL_STATE_UNSPECIFIED, TRADING, POST_ONLY, AUCTION)
    check(known, "reopen: must be TRADING, POST_ONLY or AUCTION, or not given")
    if lift.reopen in (POST_ONLY, AUCTION):
        check(1 <= lift.reopen_ms <= DAY_MS, f"reopen_ms: must be 1 to {DAY_MS}")
    else:
        check(lift.reopen_ms == 0, "reopen_ms: must be 0 without POST_ONLY or AUCTION")


def change_symbol_state(change: v1.ChangeSymbolState) -> None:
    symbol(change.symbol)
    check(change.state in (TRADING, POST_ONLY, AUCTION), "state: must be TRADING, POST_ONLY or AUCTION")
    reason(change.reason)
    check(0 <= change.duration_ms <= DAY_MS, f"duration_ms: must be 0 to {DAY_MS}")
    check(change.state != TRADING or change.duration_ms == 0, "duration_ms: must be 0 for TRADING")


def configure_account(configure: v1.ConfigureAccount) -> None:
    account(configure.account)
    limits = configure.max_open_notional
    check(len(limits) <= 16, "max_open_notional: must be at most 16")
    for limit in limits:
        check(matches(limit.asset, ASSET), "max_open_notional: asset must be 1 to 16 of A-Z 0-9")
        check(limit.amount >= 0, "max_open_notional: amount must be at least 0")
    once = len({limit.asset for limit in limits}) == len(limits)
    check(once, "max_open_notional: must name each asset once")
    if configure.max_orders_per_interval:
        in_range = 1 <= configure.interval_ms <= DAY_MS
        check(in_range, f"interval_ms: must be 1 to {DAY_MS} with max_orders_per_interval")
    else:
        check(configure.interval_ms == 0, "interval_ms: must be 0 without max_orders_per_interval")


def set_kill_switch(switch: v1.SetKillSwitch) -> None:
    account(switch.account)
    reason(switch.reason)


def configure_safety(safety: v1.ConfigureSafety) -> None:
    throttles = safety.settlement_lag_ms.throttle or safety.unpublished_commands.throttle
    check(
        not throttles or safety.throttled_orders_per_second >= 1,
        "throttled_orders_per_second: must be at least 1 where something throttles",
    )


def checkpoint(recorded: v1.Checkpoint) -> None:
    sound = recorded.previous_seq == 0 or len(recorded.previous_state_hash) == 32
    check(sound, "previous_state_hash: must be 32 bytes")
