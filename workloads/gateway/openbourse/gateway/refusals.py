"""Why the engine did not do what was asked, in Binance's codes and words. Its own sentence goes along as the detail."""

from collections.abc import Mapping

from openbourse.contracts import v1
from openbourse.gateway import errors, filters
from openbourse.gateway.errors import Invalid, NotReplaced, Refused, TooMany, Unavailable, Word

# How long to wait where only the engine knows when the next interval of the account begins.
ORDER_RATE_RETRY_S = 1

_CLOSED = frozenset(
    {
        v1.RejectReason.REJECT_REASON_SYMBOL_HALTED,
        v1.RejectReason.REJECT_REASON_SYMBOL_CANCEL_ONLY,
        v1.RejectReason.REJECT_REASON_SYMBOL_POST_ONLY,
        v1.RejectReason.REJECT_REASON_SYMBOL_AUCTION,
        v1.RejectReason.REJECT_REASON_SYMBOL_MOVED,
    }
)
_FILTERS: Mapping[int, str] = {
    v1.RejectReason.REJECT_REASON_PRICE_OUT_OF_RANGE: "PRICE_FILTER",
    v1.RejectReason.REJECT_REASON_PRICE_OUT_OF_BAND: "PERCENT_PRICE_BY_SIDE",
    v1.RejectReason.REJECT_REASON_QUANTITY_OUT_OF_RANGE: "LOT_SIZE",
    v1.RejectReason.REJECT_REASON_NOTIONAL_TOO_SMALL: "NOTIONAL",
    v1.RejectReason.REJECT_REASON_NOTIONAL_TOO_LARGE: "NOTIONAL",
    v1.RejectReason.REJECT_REASON_OVERFLOW: "NOTIONAL",
    v1.RejectReason.REJECT_REASON_TOO_MANY_OPEN_ORDERS: "EXCHANGE_MAX_NUM_ORDERS",
}
_PLACE: Mapping[int, Word] = {
    v1.RejectReason.REJECT_REASON_INSUFFICIENT_FUNDS: errors.INSUFFICIENT_BALANCE,
    v1.RejectReason.REJECT_REASON_DUPLICATE_CLIENT_ORDER_ID: errors.DUPLICATE_ORDER,
    v1.RejectReason.REJECT_REASON_RECENT_CLIENT_ORDER_ID: errors.DUPLICATE_ORDER,
    v1.RejectReason.REJECT_REASON_WOULD_TAKE: errors.WOULD_TAKE,
    v1.RejectReason.REJECT_REASON_ACCOUNT_KILLED: errors.ACTION_DISABLED,
}
_CANCEL: Mapping[int, Word] = {
    v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER: errors.UNKNOWN_ORDER,
    v1.RejectReason.REJECT_REASON_CANCEL_RESTRICTED: errors.CANCEL_RESTRICTED,
}
_AMEND: Mapping[int, Word] = {
    v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER: errors.UNKNOWN_ORDER_TO_AMEND,
    v1.RejectReason.REJECT_REASON_QUANTITY_NOT_LOWER: errors.QUANTITY_NOT_LOWER,
    v1.RejectReason.REJECT_REASON_DUPLICATE_CLIENT_ORDER_ID: errors.DUPLICATE_ORDER_TO_AMEND,
    v1.RejectReason.REJECT_REASON_RECENT_CLIENT_ORDER_ID: errors.DUPLICATE_ORDER_TO_AMEND,
}
_QUERY: Mapping[int, Word] = {v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER: errors.NO_SUCH_ORDER}


def of_place(rejection: v1.Rejection) -> Refused:
    match rejection.reason:
        case v1.RejectReason.REJECT_REASON_ORDER_RATE_EXCEEDED:
            return TooMany(errors.TOO_FAST, retry_after_s=ORDER_RATE_RETRY_S, detail=rejection.detail)
        case v1.RejectReason.REJECT_REASON_THROTTLED:
            return Unavailable(errors.BUSY, detail=rejection.detail)
        case _:
            return _refusal(_PLACE, rejection.reason, rejection.detail)


def of_cancel(rejection: v1.Rejection) -> Refused:
    return _refusal(_CANCEL, rejection.reason, rejection.detail)


def of_amend(rejection: v1.Rejection, amend: v1.AmendOrder, order: v1.Order) -> Refused:
    """`order` as it was when the amendment was made."""
    is_lower = rejection.reason != v1.RejectReason.REJECT_REASON_QUANTITY_NOT_LOWER
    if not is_lower and amend.quantity_lots == order.quantity_lots:
        return Invalid(errors.NOTHING_TO_AMEND, detail=rejection.detail)
    return _refusal(_AMEND, rejection.reason, rejection.detail)


def of_replace(cancel: object, canceled: bool, place: object, placed: bool, *, attempted: bool) -> NotReplaced:
    """The answer to a cancel-replace that was not done as a whole, with what became of both parts."""
    word = errors.PARTLY_REPLACED if canceled or placed else errors.NOT_REPLACED
    return NotReplaced(
        word,
        data={
            "cancelResult": "SUCCESS" if canceled else "FAILURE",
            "newOrderResult": ("SUCCESS" if placed else "FAILURE") if attempted else "NOT_ATTEMPTED",
            "cancelResponse": cancel,
            "newOrderResponse": place if attempted else None,
        },
    )


def of_switch(rejection: v1.Rejection) -> Refused:
    return _refusal({}, rejection.reason, rejection.detail)


def of_query(refused: v1.QueryRefused) -> Refused:
    return _refusal(_QUERY, refused.reason, refused.detail)


def _refusal(words: Mapping[int, Word], reason: int, detail: str) -> Refused:
    if word := words.get(reason):
        return Invalid(word, detail=detail)
    if name := _FILTERS.get(reason):
        return filters.failure(name, detail)
    if reason == v1.RejectReason.REJECT_REASON_SYMBOL_MOVING:
        # It is over within a second, and the next try is answered.
        return Unavailable(errors.BUSY, detail=detail)
    if reason in _CLOSED:
        return Invalid(errors.MARKET_CLOSED, detail=detail)
    if reason == v1.RejectReason.REJECT_REASON_UNKNOWN_SYMBOL:
        return Invalid(errors.BAD_SYMBOL, detail=detail)
    return Invalid(errors.REJECTED, detail=detail or v1.RejectReason.Name(v1.RejectReason.ValueType(reason)))
