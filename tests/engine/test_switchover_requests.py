"""What a leader makes of a request for a switchover: carried out once, and answered by whoever leads last."""

import itertools

import pytest

from openbourse.contracts.switchovers import ANNOTATION, SwitchoverRequest, asking, request_of
from openbourse.engine.switchovers import Answer, HandOver, decide

PODS = ("pod-0", "pod-1", "pod-2")
LAST = 6


def carried_out(request: SwitchoverRequest, leaders: dict[int, str], *, refuses: bool) -> tuple[list[HandOver], str]:
    """All epochs, one after the other, each leader looking three times: the hand-overs, and the answers in the end."""
    asked, answered, outcome = [], "", ""
    epoch = 1
    while epoch <= LAST:
        following = epoch + 1
        for _ in range(3):
            match decide(request, answered, leaders[epoch], epoch):
                case HandOver() as hand_over:
                    asked.append(hand_over)
                    if not refuses:
                        break
                    answered, outcome = request.id, "Refused"
                case Answer(outcome=outcome):
                    answered = request.id
                case None:
                    pass
        epoch = following
    return asked, outcome


@pytest.mark.parametrize("refuses", [False, True])
def test_in_every_history_a_request_is_carried_out_at_most_once_and_answered(refuses: bool) -> None:
    histories = 0
    for at, to in itertools.product(range(1, LAST), PODS):
        request = SwitchoverRequest(id="a", epoch=at, to=to)
        for others in itertools.product(PODS, repeat=LAST):
            leaders = dict(enumerate(others, 1))
            if not refuses and leaders[at] != to:
                # It is carried out.
                leaders[at + 1] = to
            histories += 1
            asked, outcome = carried_out(request, leaders, refuses=refuses)
            assert len(asked) <= 1
            if leaders[at] == to:
                assert (asked, outcome) == ([], "Refused")
            else:
                assert asked == [HandOver(to)]
                assert outcome == ("Refused" if refuses else "Done")
    assert histories == 5 * 3 * 3**6


def test_a_leader_that_others_have_overtaken_says_so_and_touches_nothing() -> None:
    request = SwitchoverRequest(id="a", epoch=3, to="pod-1")
    said = decide(request, "", "pod-2", 5)
    assert said == Answer("Overtaken", "it was for the leader of epoch 3, and epoch 5 has begun since")
    assert decide(request, "a", "pod-2", 5) is None
    assert decide(request, "", "pod-0", 2) is None, "an old leader that does not know of epoch 3"


def test_a_request_is_what_was_asked_and_what_is_none_is_said_with_what_is_wrong() -> None:
    request = SwitchoverRequest(id="a1", epoch=3, to="demo-engine-main-1")
    assert request_of(asking("trading", "main", "uid", request)) == request
    assert request_of({"metadata": {}}) is None
    for text, what in (
        ("now", "Invalid JSON"),
        ('{"id": "a", "epoch": 0, "to": "x"}', "epoch: Input should be greater than or equal to 1"),
        ('{"id": "a", "epoch": 1, "to": "x", "why": "y"}', "why: Extra inputs are not permitted"),
    ):
        with pytest.raises(ValueError, match="is no request") as raised:
            request_of({"metadata": {"annotations": {ANNOTATION: text}}})
        assert what in str(raised.value)
