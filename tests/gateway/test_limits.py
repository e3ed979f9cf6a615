"""Windows count what was used, refuse beyond their limit and begin anew; who goes on after it is banned."""

import itertools

import pytest

from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits import windows
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.rules import BANS_S, REFUSED_MOST, Limits
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.limits.windows import Bans, Window

NOON = 1_700_000_100 - 1_700_000_100 % 300


async def used(
    usage: Usage, at_s: float, *, address: str = "a", weight: int = 1, api_key: str = "", account: int = 0
) -> Charge:
    """Of one request, counted. Raises TooMany."""
    charge = usage.begin(address, int(at_s * 1_000_000))
    charge.weight, charge.api_key, charge.account = weight, api_key, account
    await usage.settle(charge)
    return charge


async def refused(usage: Usage, at_s: float, **more: object) -> TooMany:
    with pytest.raises(TooMany) as raised:
        await used(usage, at_s, **more)  # type: ignore[arg-type]
    return raised.value


async def test_weight_is_counted_by_address_and_minute() -> None:
    usage = Usage(Limits(weight_per_minute=60))
    assert (await used(usage, NOON, weight=20)).weight_used == 20
    assert (await used(usage, NOON + 1, address="b")).weight_used == 1
    assert (await used(usage, NOON + 59, weight=20)).weight_used == 40
    assert (await used(usage, NOON + 60)).weight_used == 1


async def test_weight_over_the_limit_is_refused_until_the_next_minute() -> None:
    usage = Usage(Limits(weight_per_minute=30))
    await used(usage, NOON, weight=30)
    too_many = await refused(usage, NOON + 45)
    assert (too_many.status, too_many.code, too_many.retry_after_s) == (429, -1003, 15)
    assert "current limit is 30 request weight per 1 MINUTE." in too_many.message
    await used(usage, NOON + 60)


async def test_signed_requests_are_counted_by_key_in_five_minutes() -> None:
    usage = Usage(Limits(requests_per_5m=2))
    await used(usage, NOON, api_key="k")
    await used(usage, NOON, address="b", api_key="k")
    too_many = await refused(usage, NOON + 299, address="c", api_key="k")
    assert (too_many.status, too_many.code, too_many.retry_after_s) == (429, -1003, 1)
    await used(usage, NOON + 299, address="c", api_key="other")
    await used(usage, NOON + 300, address="c", api_key="k")


async def test_orders_are_counted_by_account_in_ten_seconds_and_a_day_also_those_refused() -> None:
    usage = Usage(Limits(orders_per_10s=2, orders_per_day=4))
    counts = [await used(usage, NOON + second, account=1001) for second in (0, 9)]
    assert [(charge.orders_10s, charge.orders_day) for charge in counts] == [(1, 1), (2, 2)]
    too_many = await refused(usage, NOON + 9, account=1001)
    assert (too_many.status, too_many.code, too_many.retry_after_s) == (429, -1015, 1)
    assert too_many.message == "Too many new orders; current limit is 2 orders per 10 SECOND."
    await used(usage, NOON + 9, account=1002)
    await used(usage, NOON + 10, account=1001)
    assert await usage.orders(1001, (NOON + 10) * 1_000_000) == (1, 4)
    too_many = await refused(usage, NOON + 11, account=1001)
    assert too_many.message == "Too many new orders; current limit is 4 orders per 1 DAY."


async def test_the_first_limit_that_is_used_up_is_the_one_that_is_told() -> None:
    """Every world of the five windows, each with room or without."""
    for weight, requests, in_10s, in_day in itertools.product((0, 9), repeat=4):
        usage = Usage(Limits(weight, requests, in_10s, in_day))
        expected = next(
            (word for room, word in zip((weight, requests, in_10s, in_day), "wr1d", strict=True) if not room), None
        )
        told = None
        try:
            await used(usage, NOON, api_key="k", account=1)
        except TooMany as too_many:
            told = {"MINUTE.": "w", "5": "r", "10": "1", "1": "d"}[
                "MINUTE." if "weight" in too_many.message else too_many.message.split(" per ")[1].split()[0]
            ]
        assert told == expected


async def test_who_goes_on_after_it_was_refused_is_banned_and_counted_no_more() -> None:
    usage = Usage(Limits(weight_per_minute=1))
    await used(usage, NOON)
    for _ in range(REFUSED_MOST + 1):
        assert (await refused(usage, NOON + 1)).status == 429
    ban = await refused(usage, NOON + 2)
    assert (ban.status, ban.code, ban.retry_after_s) == (418, -1003, BANS_S[0] - 1)
    assert f"IP banned until {(NOON + 1 + BANS_S[0]) * 1000}." in ban.message
    assert (await used(usage, NOON + 2, address="b")).weight_used == 1
    assert (await refused(usage, NOON + BANS_S[0])).status == 418
    assert (await used(usage, NOON + 1 + BANS_S[0])).weight_used == 1


async def test_orders_beyond_their_limit_ban_nobody() -> None:
    usage = Usage(Limits(orders_per_10s=0))
    for _ in range(REFUSED_MOST + 2):
        assert (await refused(usage, NOON, account=1)).status == 429


def test_each_ban_is_longer_until_three_days_passed_without_one() -> None:
    bans, now_ms, lasted_s = Bans(), NOON * 1000, []
    for _ in range(7):
        until_ms = bans.add("a", now_ms)
        assert bans.add("a", now_ms) == bans.until_ms("a", until_ms - 1) == until_ms
        assert bans.until_ms("a", until_ms) == 0
        lasted_s.append((until_ms - now_ms) // 1000)
        now_ms = until_ms
    assert lasted_s == [*BANS_S, BANS_S[-1]]
    assert bans.add("a", now_ms + BANS_S[-1] * 1000) - now_ms - BANS_S[-1] * 1000 == BANS_S[0] * 1000


def test_a_flood_of_addresses_shares_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "COUNTED_MOST", 2)
    window = Window(60)
    assert [window.add(address, 1, NOON) for address in "abcdab"] == [1, 1, 1, 2, 2, 2]
    bans = Bans()
    assert [bans.until_ms(name, 0) > 0 for name in "abc" if bans.add(name, 0)] == [True, True, False]
