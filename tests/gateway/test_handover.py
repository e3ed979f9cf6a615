"""Diffs, trades and aggregate trades of a symbol that moves: whoever hears both shards hears all of them once, in every
order that two feeds can have.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise

import pytest

from openbourse.gateway.continuity import Gap
from openbourse.gateway.streams import handover
from openbourse.gateway.streams.handover import Handover, Told, is_ordered

DIFFS, TRADES, AGGREGATES = "btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@aggTrade"


def diff(shard: str, first: int, last: int) -> Told:
    return Told(shard, json.dumps({"U": first, "u": last, "b": [[str(last), "1"]]}), 0)


def trade(shard: str, number: int) -> Told:
    return Told(shard, json.dumps({"t": number}), 0)


def aggregate(shard: str, number: int, first: int, last: int) -> Told:
    return Told(shard, json.dumps({"e": "aggTrade", "s": "BTCUSDT", "a": number, "p": "1", "f": first, "l": last}), 0)


def interleaved(first: list[Told], second: list[Told]) -> Iterator[list[Told]]:
    """Each keeps its own order."""
    for places in combinations(range(len(first) + len(second)), len(first)):
        ones, others = iter(first), iter(second)
        yield [next(ones if place in places else others) for place in range(len(first) + len(second))]


def told(stream: str, messages: Iterable[Told]) -> list[dict[str, object]]:
    """What a hearer gets."""
    hands = Handover()
    found = [json.loads(each.payload) for message in messages for each in hands.tell(stream, message)]
    assert not hands.waits(stream)
    return found


def test_diffs_of_a_symbol_that_moves_there_and_back_have_no_gap_in_any_order_of_the_feeds() -> None:
    main = [diff("main", 1, 4), diff("main", 5, 5), diff("main", 6, 9), diff("main", 21, 22)]
    second = [diff("second", 10, 15), diff("second", 16, 20)]
    orders = 0
    for messages in interleaved(main[1:], second):
        heard = told(DIFFS, [main[0], *messages])
        assert heard[-1]["u"] == 22
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(heard)), messages  # type: ignore[operator]
        orders += 1
    assert orders == 10


def test_trades_of_a_symbol_that_moves_come_in_their_order_and_once() -> None:
    main = [trade("main", number) for number in (1, 2, 3)]
    second = [trade("second", number) for number in (4, 5)]
    for messages in interleaved(main[1:], second):
        assert [each["t"] for each in told(TRADES, [main[0], *messages])] == [1, 2, 3, 4, 5]


def test_aggregate_trades_of_a_symbol_that_moves_come_in_the_order_of_their_trades() -> None:
    main = [aggregate("main", *ids) for ids in ((1, 1, 1), (2, 2, 4), (3, 5, 5))]
    second = [aggregate("second", *ids) for ids in ((6, 6, 6), (7, 7, 9))]
    back = [aggregate("main", 10, 10, 10)]
    for messages in interleaved([*main[1:], *back], second):
        heard = told(AGGREGATES, [main[0], *messages])
        assert [each["a"] for each in heard] == [1, 2, 3, 6, 7, 10]


def test_what_the_shard_before_tells_again_is_not_told_again() -> None:
    heard = told(DIFFS, [diff("main", 1, 9), diff("second", 10, 12), diff("main", 8, 9), diff("second", 13, 13)])
    assert [(each["U"], each["u"]) for each in heard] == [(1, 9), (10, 12), (13, 13)]


def test_what_waits_in_vain_is_given_up_and_the_stream_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Handover()
    hands.tell(DIFFS, diff("main", 1, 5))
    assert hands.tell(DIFFS, diff("second", 10, 12)) == []
    assert hands.waits(DIFFS)
    assert hands.told_by(DIFFS) == "main"
    hands.give_up(DIFFS)
    assert (hands.waits(DIFFS), hands.told_by(DIFFS)) == (False, "second")
    after = diff("second", 13, 13)
    assert hands.tell(DIFFS, after) == [after]

    monkeypatch.setattr(handover, "WAITING_MOST", 2)
    for last in (21, 22):
        hands.tell(DIFFS, diff("third", last, last))
    with pytest.raises(Gap, match="told by third, and second has not told what is before it"):
        hands.tell(DIFFS, diff("third", 23, 23))


def test_streams_of_a_feed_that_begins_anew_begin_anew() -> None:
    hands = Handover()
    for stream, shard in ((DIFFS, "main"), ("ethusdt@depth", "second")):
        hands.tell(stream, diff(shard, 1, 5))
    hands.forget("main")
    assert (hands.told_by(DIFFS), hands.told_by("ethusdt@depth")) == (None, "second")
    anew = diff("main", 100, 101)
    assert hands.tell(DIFFS, anew) == [anew]


@pytest.mark.parametrize(
    ("stream", "ordered"),
    [
        (DIFFS, True),
        ("btcusdt@depth", True),
        (TRADES, True),
        (AGGREGATES, True),
        ("btcusdt@bookTicker", False),
        ("btcusdt@depth5", False),
        ("btcusdt@kline_1m", False),
        ("!ticker@arr", False),
    ],
)
def test_which_streams_are_put_in_order(stream: str, ordered: bool) -> None:
    assert is_ordered(stream) is ordered
