"""Windows count what was used, refuse beyond their limit and begin anew."""

import pytest

from openbourse.gateway import limits
from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits import Limits, Usage, Window

NOON = 1_700_000_040 - 1_700_000_040 % 60


def test_weight_is_counted_by_address_and_minute() -> None:
    usage = Usage(Limits(weight_per_minute=30))
    assert usage.add_weight("a", 20, NOON) == 20
    assert usage.add_weight("b", 1, NOON + 1) == 1
    assert usage.add_weight("a", 20, NOON + 59) == 40
    assert usage.add_weight("a", 1, NOON + 60) == 1


def test_weight_over_the_limit_is_refused_until_the_next_minute() -> None:
    usage = Usage(Limits(weight_per_minute=30))
    usage.check_weight(30, NOON)
    with pytest.raises(TooMany) as refused:
        usage.check_weight(31, NOON + 45)
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (429, -1003, 15)


def test_orders_are_counted_by_account_in_ten_seconds_and_a_day() -> None:
    usage = Usage(Limits(orders_per_10s=2, orders_per_day=3))
    assert usage.add_order(1001, NOON) == (1, 1)
    assert usage.add_order(1001, NOON + 9) == (2, 2)
    with pytest.raises(TooMany) as refused:
        usage.add_order(1001, NOON + 9)
    assert (refused.value.code, refused.value.retry_after_s) == (-1015, 1)
    assert refused.value.message == "Too many new orders; current limit is 2 orders per 10 SECOND."
    assert usage.add_order(1002, NOON + 9) == (1, 1)
    assert usage.add_order(1001, NOON + 10) == (1, 3)
    with pytest.raises(TooMany) as refused:
        usage.add_order(1001, NOON + 11)
    assert refused.value.message == "Too many new orders; current limit is 3 orders per 1 DAY."


def test_a_flood_of_addresses_shares_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COUNTED_MOST", 2)
    window = Window(60, 100)
    assert [window.add(address, 1, NOON) for address in "abcdab"] == [1, 1, 1, 2, 2, 2]
