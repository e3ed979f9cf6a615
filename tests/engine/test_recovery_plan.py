"""Whether a shard may be recovered, decided from what its members and its record say."""

import pytest

from openbourse.cli.recovery_plan import Heard, Nothing, Plan, Refusal, decide
from openbourse.contracts import v1
from openbourse.engine.replication.record import Record, Session

A, B = "127.0.0.1:7002", "127.0.0.1:7012"
LEADER = Session("a", "1")
NOBODY: frozenset[str] = frozenset()


def said(
    place: str, member: str, *, state: str = "unknown", epochs: tuple[int, int] = (3, 3), length: int = 9
) -> Heard:
    """`epochs`: promised, and of the last entry."""
    testimony = v1.Testimony(
        place=place,
        member=member,
        state=state,
        promised=epochs[0],
        last_epoch=epochs[1],
        length=length,
        places=[A if place == B else B],
    )
    return Heard(place, testimony)


def record(*in_sync: str, epoch: int = 3, leader: Session | None = LEADER) -> Record:
    return Record(epoch, leader, frozenset(in_sync))


def test_the_epoch_is_above_all_that_anybody_knows_and_the_richest_is_named() -> None:
    heard = [said(A, "a", epochs=(3, 2), length=20), said(B, "b", epochs=(7, 3), length=4)]
    assert decide(heard, None, NOBODY) == Plan(8, frozenset({"a", "b"}), NOBODY, "b")
    with_record = decide(heard, record("x", epoch=11), frozenset({"x"}))
    assert with_record == Plan(12, frozenset({"a", "b", "x"}), frozenset({"x"}), "b")


@pytest.mark.parametrize("silent", [[], [Heard(B, None, "refused")]], ids=["not named", "does not answer"])
def test_a_place_that_only_the_others_know_of_has_to_be_heard_or_given_up(silent: list[Heard]) -> None:
    heard = [said(A, "a"), *silent]
    refused = decide(heard, None, NOBODY)
    assert isinstance(refused, Refusal)
    assert f"--gone {B}" in refused.why
    assert decide(heard, None, frozenset({B})) == Plan(4, frozenset({"a", B}), frozenset({B}), "a")


def test_a_member_of_the_set_whose_place_answers_with_an_empty_volume_has_to_be_given_up() -> None:
    heard = [said(A, "new", epochs=(0, 0), length=0), said(B, "b")]
    refused = decide(heard, record("a"), NOBODY)
    assert isinstance(refused, Refusal)
    assert "nobody else has: a." in refused.why
    plan = decide(heard, record("a"), frozenset({"a"}))
    assert plan == Plan(4, frozenset({"new", "a", "b"}), frozenset({"a"}), "b")


@pytest.mark.parametrize(
    "first",
    [
        said(A, "a", state="leader"),
        said(A, "a", state="standby in sync"),
        # Named by a recovery that was interrupted right after.
        said(A, "a", state="sealed"),
    ],
    ids=["it is led", "a member of the set is there", "it is recovered already"],
)
def test_a_shard_that_helps_itself_is_left_alone(first: Heard) -> None:
    assert isinstance(decide([first, said(B, "b")], record("a"), NOBODY), Nothing)


@pytest.mark.parametrize("state", ["stopped", "sealed"])
def test_a_member_of_the_set_that_waits_for_a_person_does_not_help_itself(state: str) -> None:
    heard = [said(A, "a", state=state, epochs=(4, 3)), said(B, "b")]
    assert isinstance(decide(heard, record("a"), NOBODY), Plan)


@pytest.mark.parametrize(
    ("heard", "gone", "why"),
    [
        ([Heard(A, None, "refused")], NOBODY, "no member answers"),
        ([said(A, "a"), said(B, "a")], NOBODY, "one volume is a copy"),
        ([said(A, "a"), said(B, "b")], frozenset({"c"}), "--gone c is no member"),
        ([said(A, "a"), said(B, "b")], frozenset({"b"}), "--gone b, which answers"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(heard: list[Heard], gone: frozenset[str], why: str) -> None:
    refused = decide(heard, None, gone)
    assert isinstance(refused, Refusal)
    assert why in refused.why
