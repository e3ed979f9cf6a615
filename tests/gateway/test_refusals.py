"""Every reason of the engine has a code and a sentence of Binance."""

import pytest

from openbourse.contracts import v1
from openbourse.gateway import refusals
from openbourse.gateway.errors import Refused, TooMany

Reason = v1.RejectReason
AMEND = v1.AmendOrder(order_id=7, quantity_lots=5)
ORDER = v1.Order(order_id=7, quantity_lots=9)

BUSY = (503, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes.")
CLOSED = (400, -1013, "Market is closed.")
REJECTED = (400, -1013, "The request is rejected by the API.")
DUPLICATE = (400, -2010, "Duplicate order sent.")
DUPLICATE_AMENDED = (400, -2038, "Duplicate order sent.")


def a_filter(name: str) -> tuple[int, int, str]:
    return (400, -1013, f"Filter failure: {name}")


# What an order, a cancel, an amendment and a query that is refused for it are answered.
ANSWERS: dict[str, list[tuple[int, int, str]]] = {
    "INVALID": [REJECTED] * 4,
    "UNKNOWN_SYMBOL": [(400, -1121, "Invalid symbol.")] * 4,
    "SYMBOL_HALTED": [CLOSED] * 4,
    "SYMBOL_CANCEL_ONLY": [CLOSED] * 4,
    "SYMBOL_POST_ONLY": [CLOSED] * 4,
    "SYMBOL_AUCTION": [CLOSED] * 4,
    "SYMBOL_MOVING": [BUSY] * 4,
    "SYMBOL_MOVED": [CLOSED] * 4,
    "UNKNOWN_ORDER": [
        REJECTED,
        (400, -2011, "Unknown order sent."),
        (400, -2038, "Unknown order sent."),
        (400, -2013, "Order does not exist."),
    ],
    "INSUFFICIENT_FUNDS": [
        (400, -2010, "Account has insufficient balance for requested action."),
        *[REJECTED] * 3,
    ],
    "DUPLICATE_CLIENT_ORDER_ID": [DUPLICATE, REJECTED, DUPLICATE_AMENDED, REJECTED],
    "RECENT_CLIENT_ORDER_ID": [DUPLICATE, REJECTED, DUPLICATE_AMENDED, REJECTED],
    "WOULD_TAKE": [(400, -2010, "Order would immediately match and take."), *[REJECTED] * 3],
    "ACCOUNT_KILLED": [(400, -2010, "This action is disabled on this account."), *[REJECTED] * 3],
    "ORDER_RATE_EXCEEDED": [(429, -1015, "Too many new orders."), *[REJECTED] * 3],
    "THROTTLED": [
        BUSY,
        *[REJECTED] * 3,
    ],
    "CANCEL_RESTRICTED": [
        REJECTED,
        (400, -2011, "Order was not canceled due to cancel restrictions."),
        *[REJECTED] * 2,
    ],
    "QUANTITY_NOT_LOWER": [
        *[REJECTED] * 2,
        (400, -2038, "Order amend (quantity increase) is not supported."),
        REJECTED,
    ],
    "PRICE_OUT_OF_RANGE": [a_filter("PRICE_FILTER")] * 4,
    "PRICE_OUT_OF_BAND": [a_filter("PERCENT_PRICE_BY_SIDE")] * 4,
    "QUANTITY_OUT_OF_RANGE": [a_filter("LOT_SIZE")] * 4,
    "NOTIONAL_TOO_SMALL": [a_filter("NOTIONAL")] * 4,
    "NOTIONAL_TOO_LARGE": [a_filter("NOTIONAL")] * 4,
    "OVERFLOW": [a_filter("NOTIONAL")] * 4,
    "TOO_MANY_OPEN_ORDERS": [a_filter("EXCHANGE_MAX_NUM_ORDERS")] * 4,
    "OPEN_NOTIONAL_EXCEEDED": [REJECTED] * 4,
}
# Of commands that no trader can send, of a part of a replacement that is not shown, and of a command that the session
# says was not taken.
NEVER_SHOWN = {
    *("UNSPECIFIED", "UNKNOWN_ASSET", "IMMUTABLE", "UNKNOWN_HALT", "INVALID_TRANSITION", "UNKNOWN_VERSION"),
    *("NOT_ATTEMPTED", "MOVE_REFUSED", "LOG_UNAVAILABLE"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_refusal_of_the_engine_has_binances_code(name: str) -> None:
    rejection = v1.Rejection(reason=Reason.Value(f"REJECT_REASON_{name}"), detail="why")
    answers: list[Refused] = [
        refusals.of_place(rejection),
        refusals.of_cancel(rejection),
        refusals.of_amend(rejection, AMEND, ORDER),
        refusals.of_query(v1.QueryRefused(reason=rejection.reason, detail="why")),
    ]
    assert [(answer.status, answer.code, answer.message) for answer in answers] == ANSWERS[name]
    assert {answer.detail for answer in answers} == {"why"}


def test_no_reason_is_forgotten() -> None:
    names = {Reason.Name(reason).removeprefix("REJECT_REASON_") for reason in Reason.values()}
    assert names == {*ANSWERS, *NEVER_SHOWN}
    for name in NEVER_SHOWN:
        unexpected = refusals.of_place(v1.Rejection(reason=Reason.Value(f"REJECT_REASON_{name}")))
        assert (unexpected.code, unexpected.detail) == (-1013, f"REJECT_REASON_{name}")


def test_who_is_too_fast_is_told_when_to_come_back() -> None:
    refusal = refusals.of_place(v1.Rejection(reason=Reason.REJECT_REASON_ORDER_RATE_EXCEEDED))
    assert isinstance(refusal, TooMany)
    assert refusal.retry_after_s == 1


def test_an_amendment_to_what_the_order_is_already_changes_nothing() -> None:
    rejection = v1.Rejection(reason=Reason.REJECT_REASON_QUANTITY_NOT_LOWER)
    refusal = refusals.of_amend(rejection, v1.AmendOrder(quantity_lots=9), ORDER)
    assert (refusal.code, refusal.message) == (-2038, "The requested action would change no state; rejecting.")


@pytest.mark.parametrize(
    ("canceled", "placed", "attempted", "expected"),
    [
        (False, False, False, (400, -2022, "FAILURE", "NOT_ATTEMPTED")),
        (False, False, True, (400, -2022, "FAILURE", "FAILURE")),
        (False, True, True, (409, -2021, "FAILURE", "SUCCESS")),
        (True, False, True, (409, -2021, "SUCCESS", "FAILURE")),
    ],
)
def test_a_replacement_says_what_became_of_both_parts(
    canceled: bool, placed: bool, attempted: bool, expected: tuple[int, int, str, str]
) -> None:
    refusal = refusals.of_replace({"a": 1}, canceled, {"b": 2}, placed, attempted=attempted)
    body = refusal.as_json()
    data = body["data"]
    assert isinstance(data, dict)
    assert (refusal.status, body["code"], data["cancelResult"], data["newOrderResult"]) == expected
    assert (data["cancelResponse"], data["newOrderResponse"]) == ({"a": 1}, {"b": 2} if attempted else None)
