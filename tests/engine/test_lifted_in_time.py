"""When a direct halt's time is over, and what lifts it: values in, values out. On real engines in tests/cli."""

import datetime

from openbourse.contracts import v1
from openbourse.engine.direct_halts import due

ENDS_US = int(datetime.datetime(2026, 11, 29, 4, 15, tzinfo=datetime.UTC).timestamp()) * 1_000_000
NIGHT = "direct:night/until-20261129T041500Z"
OTHERS = (
    "direct:night",
    "halt-1/5d6a0b0e-9a41-4a83-9f0e-0d6a2c1f4a10",
    "delisted/BTCUSDT",
    "night/until-20200101T000000Z",
)


def test_one_stands_until_its_time_is_over_and_the_next_end_is_known() -> None:
    later = "direct:later/until-20261129T041502Z"
    before = due([(later, 8), (NIGHT, 7)], ENDS_US - 1_500_000)
    assert (before.lifts, before.next_s) == ((), 1.5)
    over = due([(later, 8), (NIGHT, 7)], ENDS_US)
    assert ([command.lift_halt.halt for command in over.lifts], over.next_s) == ([NIGHT], 2.0)


def test_what_stands_until_it_is_lifted_or_is_somebody_elses_is_left_alone() -> None:
    found = due([(name, 1) for name in OTHERS], ENDS_US * 2)
    assert (found.lifts, found.next_s) == ((), None)


def test_the_lift_of_one_is_one_command_whoever_leads_and_says_how_the_market_reopens() -> None:
    auction = f"{NIGHT}/AUCTION-30"
    ((first,), (second,)) = (due([(auction, 7)], ENDS_US + late_us).lifts for late_us in (0, 5_000_000))
    assert first == second
    assert (first.lift_halt.reopen, first.lift_halt.reopen_ms) == (v1.SymbolState.SYMBOL_STATE_AUCTION, 30_000)
    (imposed_again,) = due([(auction, 9)], ENDS_US).lifts
    assert imposed_again.command_id != first.command_id
    assert len(first.command_id) == 16
