"""Runs of (epoch, last index) say what the whole list of epochs would say."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from openbourse.engine.replication.history import History

# The epoch of each entry: what a History stands for.
logs = st.lists(st.integers(1, 4), max_size=8).map(sorted)


def history(epochs: list[int]) -> History:
    found = History()
    for index, epoch in enumerate(epochs, start=1):
        found = found.extended(epoch, index)
    return found


@given(logs)
def test_a_history_has_the_epoch_of_every_entry(log: list[int]) -> None:
    made = history(log)
    assert made.end == len(log)
    assert made.last_epoch == (log[-1] if log else 0)
    assert [made.epoch_at(index) for index in range(1, len(log) + 1)] == log
    assert made.epoch_at(0) is None
    assert made.epoch_at(len(log) + 1) is None
    assert all(run[0] < after[0] and run[1] < after[1] for run, after in pairwise(made.runs))


@given(logs, st.integers(0, 10))
def test_a_cut_keeps_what_is_before_it(log: list[int], last: int) -> None:
    assert history(log).cut(last) == history(log[:last])


@given(logs, logs)
def test_what_two_histories_share_is_their_longest_equal_prefix(log: list[int], other: list[int]) -> None:
    shared = 0
    while shared < min(len(log), len(other)) and log[shared] == other[shared]:
        shared += 1
    assert history(log).shared(history(other)) == shared
    assert history(other).shared(history(log)) == shared
