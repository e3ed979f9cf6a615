"""Who is suspected when: silence, a stuck loop, a closed link, and clocks that lie. Times in milliseconds."""

from openbourse.engine.replication.detection import (
    Closed,
    Detection,
    Forget,
    Heartbeat,
    Limits,
    Owes,
    Sign,
    Tick,
    detect,
)
from openbourse.engine.replication.inputs import Suspect, Trust

LIMITS = Limits(silent_ms=400, stuck_ms=1_500, slow_ms=1_000, well_ms=1_000, well_max_ms=8_000)


class Watch:
    """A detection that is fed, and what it said, with the time."""

    def __init__(self) -> None:
        self.detection = Detection(LIMITS, now_ms=0)
        self.said: list[tuple[int, Suspect | Trust]] = []
        self.stamp = 0

    def feed(self, sign: Sign) -> None:
        self.detection, verdicts = detect(self.detection, sign)
        self.said += [(self.detection.now_ms, verdict) for verdict in verdicts]

    def run(self, from_ms: int, to_ms: int, *, heard: bool = True, moves: bool = True) -> None:
        for now_ms in range(from_ms, to_ms, 50):
            if heard:
                self.stamp += moves
                self.feed(Heartbeat("B1", self.stamp, now_ms))
            self.feed(Tick(now_ms))

    def first(self, kind: type[Suspect] | type[Trust]) -> int | None:
        return next((at for at, verdict in self.said if isinstance(verdict, kind)), None)


def test_silence_is_suspected_after_its_threshold_and_again_with_every_tick() -> None:
    watch = Watch()
    watch.run(0, 1_000)
    assert watch.said == []
    watch.run(1_000, 2_000, heard=False)
    assert watch.first(Suspect) == 950 + 450
    assert len(watch.said) == 12


def test_a_closed_link_is_suspected_at_once() -> None:
    watch = Watch()
    watch.run(0, 100)
    watch.feed(Closed("B1", 101))
    assert watch.said == [(101, Suspect("B1"))]


def test_a_loop_that_stands_still_is_seen_through_its_heartbeats() -> None:
    watch = Watch()
    watch.run(0, 1_000)
    watch.run(1_000, 4_000, moves=False)
    assert watch.first(Suspect) == 950 + 1_550


def test_a_member_that_a_commit_waits_for_is_suspected_and_trusted_again_once_it_owes_nothing() -> None:
    watch = Watch()
    watch.run(0, 1_000)
    watch.feed(Owes("B1", 900))
    watch.run(1_000, 3_000)
    assert watch.first(Suspect) == 900 + 1_050
    watch.feed(Owes("B1", None))
    watch.run(3_000, 5_000)
    assert watch.first(Trust) == 4_000


def test_trust_comes_back_after_a_time_of_health_that_doubles() -> None:
    watch = Watch()
    watch.run(0, 100)
    waits = []
    now_ms = 100
    for _ in range(6):
        watch.said.clear()
        watch.feed(Closed("B1", now_ms))
        watch.run(now_ms, now_ms + 10_000)
        trusted = watch.first(Trust)
        assert trusted is not None
        waits.append(trusted - now_ms)
        now_ms += 10_000
    assert waits == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]


def test_a_suspicion_is_forgotten_after_a_long_time_of_health() -> None:
    watch = Watch()
    watch.run(0, 100)
    watch.feed(Closed("B1", 100))
    watch.run(100, 13_000)
    watch.said.clear()
    watch.feed(Closed("B1", 13_000))
    watch.run(13_000, 16_000)
    assert watch.first(Trust) == 14_000


def test_one_that_slept_itself_does_not_suspect_the_others() -> None:
    watch = Watch()
    watch.run(0, 1_000)
    watch.feed(Tick(1_000 + 3_600_000))
    assert watch.said == []
    watch.run(3_601_050, 3_603_000, heard=False)
    assert watch.first(Suspect) is not None


def test_time_that_goes_back_stands_still() -> None:
    watch = Watch()
    watch.run(10_000, 11_000)
    watch.run(0, 5_000)
    assert watch.said == []
    assert watch.detection.now_ms == 10_950


def test_who_was_never_heard_and_who_is_forgotten_is_not_suspected() -> None:
    watch = Watch()
    watch.feed(Closed("C1", 10))
    watch.run(0, 100)
    watch.feed(Forget("B1"))
    watch.run(100, 2_000, heard=False)
    assert watch.said == []
