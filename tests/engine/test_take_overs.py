"""What a member says of its own take-over: the phases, in their order, and only of one that it finished."""

from openbourse.engine.member.take_overs import TakeOvers

AT = "2026-01-01T00:00:00.250Z"
WHICH = {"at": AT, "epoch": 4, "planned": False}


class Told:
    """Take-overs with a clock that the test moves, and the phases that were told."""

    def __init__(self) -> None:
        self.now_s = 10.0
        self.phases: list[tuple[str, float]] = []
        self.take_overs = TakeOvers(lambda: self.now_s)
        self.take_overs.on_phase.append(lambda phase, seconds: self.phases.append((phase, round(seconds, 3))))

    def after(self, seconds: float) -> TakeOvers:
        self.now_s += seconds
        return self.take_overs


def test_a_take_over_has_its_phases_since_the_suspicion_and_what_was_in_flight() -> None:
    told = Told()
    told.take_overs.suspected(9.6, known_seq=100, at=AT)
    told.after(0.02).led(end_seq=107, epoch=4)
    told.after(0.01).committed()
    told.after(0.005).acknowledged()
    document = WHICH | {
        "at": AT,
        "epoch": 4,
        "detect_ms": 400,
        "led_ms": 20,
        "committed_ms": 30,
        "acknowledged_ms": 35,
        "in_flight": 7,
    }
    assert told.take_overs.last.document() == document
    assert told.phases == [("detect", 0.4), ("lead", 0.02), ("commit", 0.03), ("acknowledge", 0.035)]


def test_a_suspicion_that_is_repeated_counts_from_the_first_and_later_commits_say_nothing() -> None:
    told = Told()
    told.take_overs.suspected(None, known_seq=5, at=AT)
    told.after(1).suspected(10.9, known_seq=9, at="later")
    told.after(1).led(end_seq=9, epoch=4)
    told.after(1).committed()
    told.after(1).committed()
    assert told.take_overs.last.document() == WHICH | {
        "at": AT,
        "epoch": 4,
        "detect_ms": 0,
        "led_ms": 2000,
        "committed_ms": 3000,
        "in_flight": 4,
    }
    assert told.phases == [("lead", 2.0), ("commit", 3.0)]


def test_a_suspicion_that_came_to_nothing_is_forgotten_and_a_take_over_is_not() -> None:
    told = Told()
    told.take_overs.suspected(10.0, known_seq=1, at=AT)
    told.take_overs.over()
    told.after(60).suspected(70.0, known_seq=2, at=AT)
    told.after(0.1).led(end_seq=2, epoch=4)
    told.take_overs.over()
    assert told.take_overs.last.document() == WHICH | {"detect_ms": 0, "led_ms": 100, "in_flight": 0}


def test_a_leader_that_suspected_nobody_has_not_taken_over() -> None:
    told = Told()
    told.take_overs.led(end_seq=3, epoch=4)
    told.take_overs.committed()
    told.take_overs.acknowledged()
    assert told.take_overs.last.document() is None
    assert told.phases == []


def test_a_take_over_that_the_leader_asked_for_is_told_apart() -> None:
    told = Told()
    told.take_overs.suspected(10.0, known_seq=1, at=AT, planned=True)
    told.after(0.1).led(end_seq=1, epoch=4)
    document = told.take_overs.last.document()
    assert document is not None
    assert document["planned"] is True
