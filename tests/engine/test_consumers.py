"""How far consumers are and how old what they have not passed is, as tables and against a list that forgets nothing."""

import random

import pytest

from openbourse.contracts import v1
from openbourse.engine.consumers import (
    COMMITS_MOST,
    FINEST_MS,
    Commits,
    Consumers,
    Lag,
    Needed,
    needed_from,
    worth_reporting,
)

NORMAL, THROTTLED, CANCEL_ONLY, HALT = range(v1.SafetyLevel.SAFETY_LEVEL_NORMAL, v1.SafetyLevel.SAFETY_LEVEL_HALT + 1)


def told(text: str) -> Consumers:
    """`start 5 ledger=3 publisher (marketdata=2)` is who counts, and who reads beside them, at a start at 0 ms.

    Then `ms committed seq` and `ms name seq`.
    """
    first, *lines = [line.split() for line in text.strip().splitlines()]
    named = [word.strip("()").partition("=") for word in first[2:]]
    known = {name: int(seq) for name, _, seq in named if seq}
    readers = {word.strip("()").partition("=")[0] for word in first[2:] if word.startswith("(")}
    counting = [name for name, _, _ in named if name not in readers]
    consumers = Consumers(counting, known, int(first[1]), 0.0, readers)
    for at_ms, what, seq in lines:
        if what == "committed":
            consumers.committed(int(seq), float(at_ms))
        else:
            consumers.passes(what, int(seq), float(at_ms))
    return consumers


LAGS = {
    "nobody counts": ("start 5\n 100 committed 6\n 200 ledger 6", Lag(0, "", at_least=False)),
    "everything is passed": ("start 5 ledger=3\n 200 ledger 5", Lag(0, "ledger", at_least=False)),
    "who was never heard of is where it was, and what was there at the start is as old as the start": (
        "start 5 ledger=3",
        Lag(1000, "ledger", at_least=True),
    ),
    "who was never heard of and is not known has passed nothing": (
        "start 5 ledger\n 900 committed 6",
        Lag(1000, "ledger", at_least=True),
    ),
    "who was at the end and was not heard of may have been further back": (
        "start 5 ledger=5",
        Lag(0, "ledger", at_least=True),
    ),
    "the oldest that is not passed counts": (
        "start 0 ledger\n 100 committed 4\n 200 committed 7\n 300 committed 9\n 400 ledger 4",
        Lag(800, "ledger", at_least=False),
    ),
    "a part of a batch is as old as the batch": (
        "start 0 ledger\n 100 committed 4\n 200 committed 7\n 400 ledger 5",
        Lag(800, "ledger", at_least=False),
    ),
    "the furthest behind counts": (
        "start 0 ledger publisher\n 100 committed 4\n 200 committed 7\n 400 ledger 7\n 500 publisher 4",
        Lag(800, "publisher", at_least=False),
    ),
    "who does not count is not listened to": (
        "start 0 ledger\n 100 committed 4\n 200 ledger 4\n 300 committed 7\n 400 gateway 7",
        Lag(700, "ledger", at_least=False),
    ),
    "what was there at the start is of unknown age until it is passed": (
        "start 5 ledger\n 100 committed 7\n 200 ledger 4",
        Lag(1000, "ledger", at_least=True),
    ),
    "and not any more from then on": (
        "start 5 ledger\n 100 committed 7\n 200 ledger 5",
        Lag(900, "ledger", at_least=False),
    ),
    "a position beyond the log is one at its end": (
        "start 5 ledger=9\n 100 committed 7",
        Lag(900, "ledger", at_least=True),
    ),
    "who goes back, as from a backup, is behind since then at least": (
        "start 0 ledger\n 100 committed 4\n 200 committed 7\n 400 ledger 7\n 600 ledger 2",
        Lag(400, "ledger", at_least=True),
    ),
    "and is believed again when it has caught up": (
        "start 0 ledger\n 100 committed 4\n 400 ledger 4\n 600 ledger 2\n 700 committed 5\n 800 ledger 4",
        Lag(300, "ledger", at_least=False),
    ),
}


LAGS_BESIDE_READERS = {
    "a reader makes nobody late": (
        "start 5 ledger=5 (marketdata=2)\n 10 ledger 5\n 100 committed 7\n 200 ledger 7",
        Lag(0, "ledger", at_least=False),
    ),
    "nor one that goes back": (
        "start 0 ledger (marketdata)\n 100 committed 7\n 200 ledger 7\n 300 marketdata 7\n 400 marketdata 0",
        Lag(0, "ledger", at_least=False),
    ),
    "readers alone stop nobody": ("start 5 (marketdata=2)\n 100 committed 7", Lag(0, "", at_least=False)),
}
LAGS |= LAGS_BESIDE_READERS


@pytest.mark.parametrize(("text", "lag"), LAGS.values(), ids=LAGS)
def test_the_lag_after_a_second(text: str, lag: Lag) -> None:
    assert told(text).lag(1000.0) == lag


@pytest.mark.parametrize(
    ("age_ms", "at_least", "level", "level_then", "reported"),
    [
        (100, False, NORMAL, NORMAL, False),
        (9000, False, THROTTLED, THROTTLED, False),
        (9000, False, NORMAL, THROTTLED, True),
        (0, False, HALT, NORMAL, True),
        # Perhaps more than that: enough to stop trading, not to begin it again.
        (9000, True, NORMAL, THROTTLED, True),
        (0, True, HALT, NORMAL, False),
        (9000, True, HALT, CANCEL_ONLY, False),
    ],
)
def test_only_a_report_that_changes_the_level_is_worth_a_command(
    age_ms: int, at_least: bool, level: int, level_then: int, reported: bool
) -> None:
    assert worth_reporting(Lag(age_ms, "ledger", at_least), level, level_then) is reported


NEEDED = {
    "nobody counts": ("start 9", [5, 8], Needed(1, "no consumer counts: the log is kept for whoever comes")),
    "no snapshot": ("start 9 ledger=9", [], Needed(1, "0 of 2 snapshots are made: recovery needs the log")),
    "one snapshot, which may be bad": (
        "start 9 ledger=9",
        [5],
        Needed(1, "1 of 2 snapshots are made: recovery needs the log"),
    ),
    "the ledger is ahead of what recovery needs": (
        "start 9 ledger=9",
        [8, 2, 5],
        Needed(6, "recovery from the snapshot of seq 5"),
    ),
    "the ledger is at what recovery needs": (
        "start 9 ledger=5",
        [2, 5, 8],
        Needed(6, "recovery from the snapshot of seq 5"),
    ),
    "the ledger is behind, and what it needs is made from a snapshot before it": (
        "start 9 ledger=3\n 100 ledger 4",
        [2, 3, 5, 8],
        Needed(4, "ledger has passed seq 4"),
    ),
    "or from the beginning": ("start 9 ledger=3\n 100 ledger 4", [5, 8], Needed(1, "ledger has passed seq 4")),
    "the ledger is silent": (
        "start 9 ledger=3",
        [3, 5, 8],
        Needed(4, "ledger has passed seq 3, and was not heard of since the start"),
    ),
    "somebody is unknown": (
        "start 9 ledger=9 publisher",
        [5, 8],
        Needed(1, "publisher has passed seq 0, and was not heard of since the start"),
    ),
}


@pytest.mark.parametrize(("text", "snapshots", "needed"), NEEDED.values(), ids=NEEDED)
def test_what_of_the_log_must_stay(text: str, snapshots: list[int], needed: Needed) -> None:
    assert needed_from(told(text), snapshots, 2) == needed


def test_the_log_waits_for_a_reader_while_there_is_room_and_for_the_ledger_always() -> None:
    consumers = told("start 9 ledger=9 (marketdata=4)\n 100 marketdata 4")
    assert needed_from(consumers, [3, 5, 8], 2) == Needed(4, "marketdata has passed seq 4")
    recovery = Needed(6, "recovery from the snapshot of seq 5")
    assert needed_from(consumers, [3, 5, 8], 2, has_room=False) == recovery
    consumers.passes("marketdata", 9, 200.0)
    assert needed_from(consumers, [3, 5, 8], 2) == recovery
    consumers.passes("ledger", 4, 300.0)
    assert needed_from(consumers, [3, 5, 8], 2, has_room=False) == Needed(4, "ledger has passed seq 4")
    nobody = Needed(1, "no consumer counts: the log is kept for whoever comes")
    assert needed_from(told("start 9 (marketdata=9)"), [5, 8], 2) == nobody


def test_how_far_each_is_behind_is_told_also_of_a_reader_that_is_away() -> None:
    text = "start 0 ledger (marketdata)\n 100 committed 4\n 200 ledger 4\n 300 committed 9\n 500 marketdata 2"
    assert told(text).behind(1000.0) == {"ledger": (5, 700), "marketdata": (7, 900)}
    long_gone = told("start 0 ledger (marketdata)")
    for seq in range(1, 30_000):
        long_gone.committed(seq, seq * 20.0)
        long_gone.passes("ledger", seq, seq * 20.0)
    assert long_gone.behind(600_000.0)["marketdata"] == (29_999, 599_980)
    # And the ledger is measured as finely as ever.
    long_gone.committed(30_000, 600_000.0)
    assert long_gone.lag(600_030.0) == Lag(30, "ledger", at_least=False)


@pytest.mark.parametrize("seed", range(20))
def test_ages_are_bounded_in_memory_never_too_low_and_hardly_too_high(seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311
    commits, everything = Commits(), []
    now_ms, seq, passed, lag_most_ms = 0.0, 0, 0, 0.0
    for _ in range(20_000):
        now_ms += random_.choice((0.3, 1.0, 40.0, 500.0))
        seq += random_.randint(1, 9)
        commits.committed(seq, now_ms)
        everything.append((seq, now_ms))
        assert len(commits) < COMMITS_MOST
        if random_.random() < 0.001:
            passed = random_.randint(passed, seq)
            commits.forget(passed)
            everything = [(last, at_ms) for last, at_ms in everything if last > passed]
        if not everything:
            assert commits.oldest_ms(passed) is None
            continue
        true_ms = now_ms - everything[0][1]
        lag_most_ms = max(lag_most_ms, true_ms)
        measured_ms = commits.oldest_ms(passed)
        assert measured_ms is not None
        assert 0 <= now_ms - measured_ms - true_ms <= FINEST_MS + lag_most_ms / 1000


def test_after_a_long_lag_ages_are_fine_again() -> None:
    commits = Commits()
    for seq in range(1, 3_000_000, 7):
        commits.committed(seq, seq * 3.0)
    commits.forget(2_999_000)
    for seq in range(3_000_000, 3_100_000):
        commits.committed(seq, seq * 3.0)
        commits.forget(seq - 2)
    oldest_ms = commits.oldest_ms(3_099_998)
    assert oldest_ms is not None
    assert 3_099_999 * 3.0 - oldest_ms <= FINEST_MS


def test_what_a_leader_told_a_standby_is_known_and_nobody_was_heard_of() -> None:
    consumers = told("start 0 ledger publisher")
    consumers.told({"ledger": 90, "somebody": 70})
    assert consumers.passed == {"ledger": 90, "publisher": 0}
    assert consumers.unheard == {"ledger", "publisher"}
    consumers.told({"publisher": 60})
    # It leads, and its log has less than the leader was told that the ledger had.
    consumers.begin(80, 1_000.0)
    assert consumers.passed == {"ledger": 80, "publisher": 60}
    assert consumers.lag(1_500.0) == Lag(500, "publisher", at_least=True)
