"""What waits for a client is bounded, and what is merged says the same as what it stands for."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openbourse.gateway.streams.outbox import BYTES_MOST, MERGED_FROM, MESSAGES_MOST, Message, Outbox

DEPTH = "btcusdt@depth@100ms"


def diff(first: int, last: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> Message:
    return Message(
        DEPTH, json.dumps({"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks})
    )


def candle(opened: int, close: str, *, final: bool) -> Message:
    return Message("btcusdt@kline_1m", json.dumps({"e": "kline", "k": {"t": opened, "c": close, "x": final}}))


def trade(number: int) -> Message:
    return Message("btcusdt@trade", json.dumps({"e": "trade", "t": number}))


def taken(box: Outbox) -> list[tuple[str, Any]]:
    found = []
    while (item := box.take()) is not None:
        found.append((item[0], json.loads(item[1])))
    return found


def crowd(box: Outbox) -> None:
    """From here on, messages are merged."""
    for number in range(MERGED_FROM):
        box.put("btcusdt@trade", trade(number))


LEVELS = st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.sampled_from(["0", "5", "7"])), max_size=3)


@given(st.lists(st.tuples(st.integers(1, 4), LEVELS, LEVELS), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_merged_diffs_leave_the_same_book_and_no_gap(steps: list[tuple[int, Any, Any]]) -> None:
    box, first = Outbox(), 1
    crowd(box)
    sent = []
    for length, bids, asks in steps:
        sent.append(diff(first, first + length - 1, bids, asks))
        first += length
        assert box.put(DEPTH, sent[-1])
    read = [document for name, document in taken(box) if name == DEPTH]
    assert len(read) == 1
    assert (read[0]["U"], read[0]["u"]) == (1, first - 1)
    for side in ("b", "a"):
        naive = dict(level for message in sent for level in message.document[side])
        assert dict(read[0][side]) == naive


def test_a_client_that_keeps_up_gets_every_message_as_it_is() -> None:
    box, read = Outbox(), []
    for number in range(500):
        assert box.put(DEPTH, diff(number, number, [("1", str(number))], []))
        read += taken(box)
    assert [(document["U"], document["u"]) for _, document in read] == [(number, number) for number in range(500)]
    assert (len(box), box.bytes, box.merges) == (0, 0, 0)


def test_diffs_that_do_not_follow_each_other_are_not_merged() -> None:
    box = Outbox()
    crowd(box)
    box.put(DEPTH, diff(1, 2, [], []))
    box.put(DEPTH, diff(9, 9, [], []))
    assert [document["U"] for name, document in taken(box) if name == DEPTH] == [1, 9]


def test_the_newest_stands_for_those_before_but_the_last_word_on_a_candle_stays() -> None:
    box = Outbox()
    crowd(box)
    for close, final in (("1", False), ("2", False), ("3", True), ("4", False), ("5", False)):
        box.put("btcusdt@kline_1m", candle(0 if close <= "3" else 60_000, close, final=final))
    for price in ("1", "2"):
        box.put("btcusdt@bookTicker", Message("btcusdt@bookTicker", json.dumps({"b": price})))
    for rows in ([{"s": "A", "c": 1}, {"s": "B", "c": 1}], [{"s": "B", "c": 2}]):
        box.put("!ticker@arr", Message("!ticker@arr", json.dumps(rows)))
    read = taken(box)[MERGED_FROM:]
    assert [(document["k"]["c"], document["k"]["x"]) for name, document in read if "kline" in name] == [
        ("3", True),
        ("5", False),
    ]
    assert ("btcusdt@bookTicker", {"b": "2"}) in read
    assert ("!ticker@arr", [{"s": "A", "c": 1}, {"s": "B", "c": 2}]) in read


def test_trades_are_never_merged_and_too_many_are_too_slow() -> None:
    box = Outbox()
    outcomes = [box.put("btcusdt@trade", trade(number)) for number in range(MESSAGES_MOST + 1)]
    assert outcomes == [True] * MESSAGES_MOST + [False]
    assert [document["t"] for _, document in taken(box)] == list(range(MESSAGES_MOST + 1))


def test_a_client_that_reads_nothing_holds_a_bounded_number_of_bytes() -> None:
    box, number, most = Outbox(), 0, 0
    crowd(box)
    # A book that never has the same level twice: merging saves nothing.
    while box.put(DEPTH, diff(number, number, [(str(number), "1")] * 20, [])):
        number += 1
        most = max(most, box.bytes)
        assert number < 100_000
    assert most <= BYTES_MOST
    assert len(box) == MERGED_FROM + 1


def test_one_message_is_taken_apart_once_for_all_slow_clients() -> None:
    boxes = [Outbox() for _ in range(50)]
    for box in boxes:
        crowd(box)
        box.put(DEPTH, diff(1, 1, [("1", "1")], []))
    message = diff(2, 2, [("2", "2")], [])
    assert "document" not in vars(message)
    boxes[0].put(DEPTH, message)
    document = vars(message)["document"]
    for box in boxes[1:]:
        box.put(DEPTH, message)
    assert vars(message)["document"] is document
