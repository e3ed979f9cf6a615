"""The asker over an arbiter that does what a script says, in no time at all: only answers of asks that were made."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import instant
from openbourse.engine.arbiters.arbiter import NotAllowed, NotUnderstood, Unreachable
from openbourse.engine.arbiters.asking import Asker, Outcome, Pace, Trouble
from openbourse.engine.replication.inputs import Conflicted, Seen, Succeeded, Unsettled
from openbourse.engine.replication.record import Ask, CompareAndSet, Held, Read, Record

PACE = Pace(timeout_s=2.0, abandoned_s=10.0, backoff_min_s=0.02, backoff_max_s=2.0, calm_s=30.0)
HELD = Held(Record(1, None, frozenset("a")), "v1")

Does = Literal["answers", "conflicts", "is away", "is not understood", "is not allowed"]
AWAY: tuple[float, Does] = (0.0, "is away")
CONFLICTS: tuple[float, Does] = (0.0, "conflicts")
REFUSALS = {"is not understood", "is not allowed"}


def change(number: int) -> CompareAndSet:
    return CompareAndSet("v1", Record(number, None, frozenset("a")))


@dataclass(frozen=True, slots=True)
class Called:
    at_s: float
    ask: Ask
    does: Does


@dataclass
class Scripted:
    """Takes from the script how long the next call takes and how it ends; a script that is over answers at once."""

    script: Iterator[tuple[float, Does]]
    calls: list[Called] = field(default_factory=list)
    landed: list[CompareAndSet] = field(default_factory=list)

    async def read(self) -> Held | None:
        await self._called(Read())
        return HELD

    async def compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        if await self._called(ask) == "conflicts":
            return Conflicted(ask)
        self.landed.append(ask)
        return Succeeded(ask, f"v{len(self.landed) + 1}")

    async def _called(self, ask: Ask) -> Does:
        takes_s, does = next(self.script, (0.0, "answers"))
        self.calls.append(Called(asyncio.get_running_loop().time(), ask, does))
        await asyncio.sleep(takes_s)
        match does:
            case "is away":
                raise Unreachable("it is away")
            case "is not understood":
                raise NotUnderstood("a field is odd", "v0")
            case "is not allowed":
                raise NotAllowed("not for you")
        return does


@dataclass
class Stage:
    arbiter: Scripted
    asker: Asker
    heard: list[tuple[float, Outcome]]

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, outcome in self.heard]


@contextlib.asynccontextmanager
async def stage(
    *script: tuple[float, Does], jitter: float = 0.0, then: Callable[[Asker, Outcome], None] | None = None
) -> AsyncIterator[Stage]:
    heard: list[tuple[float, Outcome]] = []

    def hear(outcome: Outcome) -> None:
        heard.append((asyncio.get_running_loop().time(), outcome))
        if then is not None:
            then(asker, outcome)

    arbiter = Scripted(iter(script))
    asker = Asker(arbiter, hear, pace=PACE, jitter=lambda: jitter)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(asker.run())
        yield Stage(arbiter, asker, heard)
        running.cancel()


def test_each_outcome_is_handed_in_once() -> None:
    async def main() -> None:
        async with stage((0.1, "answers"), (0.1, "answers"), (0.1, "conflicts")) as on:
            for ask in (Read(), change(1), change(2)):
                on.asker.ask(ask)
                await asyncio.sleep(1)
            await asyncio.sleep(100)
            assert on.outcomes == [Seen(HELD), Succeeded(change(1), "v2"), Conflicted(change(2))]
            assert len(on.arbiter.calls) == 3

    instant.run(main())


def test_a_read_is_tried_until_it_is_answered_and_waits_longer_each_time() -> None:
    async def main() -> None:
        async with stage(*12 * [AWAY]) as on:
            on.asker.ask(Read())
            await asyncio.sleep(30)
            assert on.outcomes == [Seen(HELD)]
            at_s = [call.at_s for call in on.arbiter.calls]
            waited = [round(after - before, 6) for before, after in itertools.pairwise(at_s)]
            assert waited == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0, 2.0, 2.0, 2.0, 2.0]

    instant.run(main())


@pytest.mark.parametrize(("jitter", "waits_s"), [(0.0, 0.02), (0.5, 0.015), (0.999999, 0.01)])
def test_chance_takes_up_to_half_of_the_wait(jitter: float, waits_s: float) -> None:
    async def main() -> None:
        async with stage((0.0, "is away"), jitter=jitter) as on:
            on.asker.ask(Read())
            await asyncio.sleep(1)
            assert on.arbiter.calls[1].at_s == pytest.approx(waits_s, abs=1e-6)

    instant.run(main())


def test_a_read_that_hangs_is_tried_again() -> None:
    async def main() -> None:
        async with stage((1e6, "answers")) as on:
            on.asker.ask(Read())
            await asyncio.sleep(10)
            assert [call.at_s for call in on.arbiter.calls] == [0.0, 2.02]
            assert on.outcomes == [Seen(HELD)]

    instant.run(main())


@pytest.mark.parametrize(
    ("does", "outcome"),
    [
        ("is away", Unsettled),
        ("conflicts", Conflicted),
        ("is not understood", Conflicted),
        ("is not allowed", Conflicted),
    ],
)
def test_a_failed_write_is_not_tried_again_by_itself_but_the_next_one_waits(
    does: Does, outcome: type[Unsettled | Conflicted]
) -> None:
    async def main() -> None:
        async with stage((0.0, does), (0.0, does)) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(0.001)
            assert on.outcomes == [outcome(change(1))]
            # A read does not wait for what became of writes.
            on.asker.ask(Read())
            await asyncio.sleep(0.001)
            on.asker.ask(change(1))
            await asyncio.sleep(1)
            on.asker.ask(change(2))
            await asyncio.sleep(100)
            assert [round(call.at_s, 6) for call in on.arbiter.calls] == [0.0, 0.001, 0.02, 1.002]

    instant.run(main())


def test_failures_do_not_delay_an_ask_that_comes_later_anyway_and_are_forgotten() -> None:
    async def main() -> None:
        async with stage(*11 * [CONFLICTS]) as on:
            for _ in range(10):
                on.asker.ask(change(1))
                await asyncio.sleep(5)
            begins = len(on.arbiter.calls)
            assert begins == 10
            await asyncio.sleep(100)
            for _ in range(2):
                on.asker.ask(change(1))
                await asyncio.sleep(0.001)
            await asyncio.sleep(5)
            first, second = on.arbiter.calls[begins:]
            assert (first.at_s, round(second.at_s, 6)) == (150.0, 150.02)

    instant.run(main())


def test_a_write_without_an_answer_is_unsettled_and_its_success_still_handed_in() -> None:
    async def main() -> None:
        async with stage((5.0, "answers")) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(20)
            assert on.heard == [(2.0, Unsettled(change(1))), (5.0, Succeeded(change(1), "v2"))]

    instant.run(main())


@pytest.mark.parametrize("does", ["conflicts", "is away", "is not understood"])
def test_of_a_write_that_was_replaced_no_failure_is_handed_in(does: Does) -> None:
    """The second try is asked with the same value, so the member could not tell whose failure it is."""

    async def main() -> None:
        async with stage((1.0, does), (1.5, "answers"), (1.0, "answers")) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(0.1)
            on.asker.ask(Read())
            await asyncio.sleep(0.1)
            on.asker.ask(change(1))
            await asyncio.sleep(20)
            assert on.outcomes == [Succeeded(change(1), "v2")]

    instant.run(main())


def test_a_write_that_is_asked_again_is_answered_by_the_try_that_lands() -> None:
    """The second try then conflicts with the first, which is no news to anybody."""

    async def main() -> None:
        async with stage((1.0, "answers"), (1.5, "conflicts")) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(0.1)
            on.asker.ask(change(1))
            await asyncio.sleep(20)
            assert on.heard == [(1.0, Succeeded(change(1), "v2"))]

    instant.run(main())


def test_the_answer_of_a_read_that_was_replaced_is_dropped() -> None:
    async def main() -> None:
        async with stage((1.0, "answers"), (0.0, "conflicts")) as on:
            on.asker.ask(Read())
            await asyncio.sleep(0.5)
            on.asker.ask(change(1))
            await asyncio.sleep(20)
            assert on.outcomes == [Conflicted(change(1))]

    instant.run(main())


def test_a_write_that_was_replaced_before_it_was_sent_is_never_sent() -> None:
    async def main() -> None:
        async with stage((0.0, "conflicts")) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(0.001)
            on.asker.ask(change(2))
            await asyncio.sleep(0.001)
            on.asker.ask(change(3))
            await asyncio.sleep(20)
            assert [call.ask for call in on.arbiter.calls] == [change(1), change(3)]

    instant.run(main())


def test_who_hears_an_outcome_may_ask_at_once() -> None:
    def then(asker: Asker, outcome: Outcome) -> None:
        match outcome:
            case Seen():
                asker.ask(change(1))
            case Conflicted():
                asker.ask(Read())

    async def main() -> None:
        async with stage((0.0, "answers"), (0.0, "conflicts"), then=then) as on:
            on.asker.ask(Read())
            await asyncio.sleep(20)
            assert on.outcomes == [Seen(HELD), Conflicted(change(1)), Seen(HELD), Succeeded(change(1), "v2")]

    instant.run(main())


def test_trouble_says_since_when_and_why_and_is_over_with_an_answer() -> None:
    async def main() -> None:
        async with stage((0.0, "is away"), (0.0, "is not understood")) as on:
            await asyncio.sleep(7)
            on.asker.ask(Read())
            troubles = [on.asker.trouble]
            for wait_s in (0.01, 0.02, 1):
                await asyncio.sleep(wait_s)
                troubles.append(on.asker.trouble)
            assert troubles == [None, Trouble(7.0, "it is away"), Trouble(7.0, "a field is odd"), None]

    instant.run(main())


@pytest.mark.parametrize(("does", "lasts"), [("is away", False), ("is not allowed", True)])
def test_a_record_that_may_be_read_and_not_written_is_trouble(does: Does, lasts: bool) -> None:
    async def main() -> None:
        async with stage((0.0, does)) as on:
            on.asker.ask(change(1))
            await asyncio.sleep(1)
            assert on.asker.trouble is not None
            on.asker.ask(Read())
            await asyncio.sleep(1)
            assert (on.asker.trouble is not None) is lasts
            on.asker.ask(change(1))
            await asyncio.sleep(1)
            assert on.asker.trouble is None

    instant.run(main())


@pytest.mark.parametrize(("does", "lasts"), [("is away", False), ("is not understood", True)])
def test_a_record_that_may_be_written_and_not_read_is_trouble(does: Does, lasts: bool) -> None:
    async def main() -> None:
        async with stage((0.0, does), (0.0, "conflicts")) as on:
            on.asker.ask(Read())
            await asyncio.sleep(0.001)
            assert on.asker.trouble is not None
            on.asker.ask(change(1))
            await asyncio.sleep(0.001)
            assert (on.asker.trouble is not None) is lasts

    instant.run(main())


def test_what_the_hearer_raises_ends_the_run() -> None:
    def then(asker: Asker, outcome: Outcome) -> None:
        raise AssertionError("a broken invariant")

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with stage((5.0, "answers"), then=then) as on:
                on.asker.ask(change(1))
                await asyncio.sleep(20)

    instant.run(main())


STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 2.02, 7.0]), st.sampled_from([None, 1, 2])), min_size=1, max_size=12
)
SCRIPT = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.02, 0.3, 1.9, 2.0, 3.0, 9.0, 20.0]),
        st.sampled_from(["answers", "conflicts", "is away", "is not understood", "is not allowed"]),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(STEPS, SCRIPT, st.floats(0, 0.99))
def test_only_outcomes_of_asks_that_were_made_are_handed_in(
    steps: Iterable[tuple[float, int | None]], script: list[tuple[float, Does]], jitter: float
) -> None:
    asked: list[tuple[float, Ask]] = []

    async def main() -> None:
        def then(asker: Asker, outcome: Outcome) -> None:
            check(on, outcome)

        async with stage(*script, jitter=jitter, then=then) as on:
            for wait_s, number in steps:
                ask = Read() if number is None else change(number)
                asked.append((asyncio.get_running_loop().time(), ask))
                answered.clear()
                on.asker.ask(ask)
                await asyncio.sleep(wait_s)
            # What is wrong passes with the script; a read outlives all of it, a write is answered in any case.
            await asyncio.sleep(400)
            assert len(answered) == 1, "the last ask is answered"
            assert len(on.arbiter.calls) <= len(asked) + len(script)

    answered: list[Outcome] = []

    def check(on: Stage, outcome: Outcome) -> None:
        at_s, last = asked[-1]
        calls = [call for call in on.arbiter.calls if call.ask == last and call.at_s >= at_s]
        match outcome:
            case Seen():
                assert last == Read()
                assert any(call.does in {"answers", "conflicts"} for call in calls)
            case Succeeded(ask):
                assert ask in on.arbiter.landed
                assert any(ask == made for _, made in asked)
                if ask != last or answered:
                    return
            case Conflicted(ask):
                assert ask == last
                assert any(call.does in {"conflicts", *REFUSALS} for call in calls)
            case Unsettled(ask):
                assert ask == last
                assert calls
        assert not answered
        answered.append(outcome)

    instant.run(main())
