"""One move in every small world: no money is lost or made, and it is decided at last; each planted bug is found."""

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.figures import Show, Tally
from fixtures.move_worlds import WANTED, as_read, explore
from openbourse.ledger import moves, transfers
from openbourse.ledger.errors import Conflict, Invalid
from openbourse.ledger.moves import Ask, Decide, LegNow, Move
from openbourse.ledger.transfers import Leg, TransferRequest, TransferState

WORLDS_MOST = 200_000
PENDING, POSTED, VOIDED = TransferState.PENDING, TransferState.POSTED, TransferState.VOIDED

_next_step = moves.next_step


def test_in_every_world_no_money_is_lost_or_made_and_the_move_is_decided_at_last(show: Show) -> None:
    explored = explore(WORLDS_MOST)
    assert not explored.broken, "\n".join((explored.broken, *explored.trace))
    ends = {world.state for world in explored.came_from}
    assert ends == {PENDING, POSTED, VOIDED}
    seen = {tuple((leg.value, now.state.value) for leg, now in as_read(w).legs.items()) for w in explored.came_from}
    # None, then each of: pending, voided; posted with a credit that is none, pending, posted; voided with the same.
    assert len(seen) == 1 + 2 + 3 + 3
    show(f"one move, worlds: {len(explored.came_from):,}, transitions {explored.transitions:,}; all end decided")


def _unasked(move: Move) -> Ask | Decide | None:
    """The credit is sent as soon as the debit is."""
    if set(move.legs) == {Leg.DEBIT} and move.legs[Leg.DEBIT].state is PENDING:
        return Ask(WANTED.to_shard, moves.leg_request(WANTED, Leg.CREDIT))
    return _next_step(move)


def _hasty(move: Move) -> Ask | Decide | None:
    """It is given back because there was no answer."""
    if Leg.RETURN not in move.legs and Leg.CREDIT in move.legs and move.legs[Leg.CREDIT].state is PENDING:
        return Ask(WANTED.from_shard, moves.leg_request(WANTED, Leg.RETURN))
    return _next_step(move)


def _posted_when_it_has_left(move: Move) -> Ask | Decide | None:
    if move.state is PENDING and Leg.DEBIT in move.legs and move.legs[Leg.DEBIT].state is POSTED:
        return Decide(WANTED.to_shard, POSTED, "")
    return _next_step(move)


def _nothing_goes_back(move: Move) -> Ask | Decide | None:
    step = _next_step(move)
    return Decide(WANTED.from_shard, VOIDED, "no") if isinstance(step, Ask) and len(move.legs) == 2 else step


def _both_at_once(move: Move) -> Ask | Decide | None:
    """Whoever looks, does it."""
    step = _next_step(move)
    return Ask(WANTED.from_shard, step.leg) if isinstance(step, Ask) and len(move.legs) == 1 else step


def _forgets_the_return(move: Move) -> Ask | Decide | None:
    step = _next_step(move)
    return None if isinstance(step, Ask) and len(move.legs) == 2 else step


def _goes_back_to_the_wrong_shard(wanted: moves.MoveRequest, leg: Leg) -> str:
    return wanted.from_shard if leg is Leg.DEBIT else wanted.to_shard


def _ids_of_their_own() -> Callable[[uuid.UUID, Leg], uuid.UUID]:
    numbers = itertools.cycle((1, 2))
    return lambda _, leg: uuid.UUID(int=list(Leg).index(leg) * 16 + next(numbers))


def _always_voided(_: TransferRequest) -> bool:
    return True


def _as_if_it_had_left(move: Move) -> bool:
    return Leg.DEBIT in move.legs and move.state is PENDING


PLANTED: dict[str, tuple[object, str, Callable[[], Any]]] = {
    "the credit does not wait for the debit": (moves, "next_step", lambda: _unasked),
    "no answer is taken for a refusal": (moves, "next_step", lambda: _hasty),
    "posted as soon as the money has left": (moves, "next_step", lambda: _posted_when_it_has_left),
    "voided, and nothing goes back": (moves, "next_step", lambda: _nothing_goes_back),
    "the other shard's work": (moves, "next_step", lambda: _both_at_once),
    "the return is forgotten": (moves, "next_step", lambda: _forgets_the_return),
    "the return goes to the shard that refused": (moves, "shard_of", lambda: _goes_back_to_the_wrong_shard),
    "a new id each time": (moves, "leg_id", _ids_of_their_own),
    "what goes back is voided": (transfers, "is_voided_by_a_refusal", lambda: _always_voided),
    "in transit before it has left": (moves, "in_transit", lambda: _as_if_it_had_left),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> None:
    tally("planted bugs of moves found")
    module, name, wrong = PLANTED[bug]
    monkeypatch.setattr(module, name, wrong())
    explored = explore(WORLDS_MOST)
    assert explored.broken, bug


def move(legs: dict[Leg, TransferState], state: TransferState = PENDING) -> Move:
    return Move(WANTED, state, "", "test", {leg: LegNow(became, "no", None) for leg, became in legs.items()})


def test_every_state_says_where_the_money_is() -> None:
    said = {
        moves.where(move(dict(zip(Leg, became, strict=False)))): moves.in_transit(
            move(dict(zip(Leg, became, strict=False)))
        )
        for became in (
            *((), (PENDING,), (VOIDED,), (POSTED,), (POSTED, PENDING), (POSTED, POSTED), (POSTED, VOIDED)),
            *((POSTED, VOIDED, PENDING), (POSTED, VOIDED, POSTED)),
        )
    }
    assert said == {
        "in main: it never left": False,
        "in main, which is asked for it": False,
        "in transit: out of main, second is not asked yet": True,
        "in transit: second is asked to take it": True,
        "in second": False,
        "in transit: second refused it (no), it goes back to main": True,
        "in main again: second refused it": False,
    }


SCALES = {"main": {"USDT": 8, "BTC": 8}, "second": {"USDT": 8, "BTC": 6}}


def request(account: int = 1000, asset: str = "USDT", amount: str = "1.5", to: str = "second", of: str = "main") -> Any:
    return moves.request(account, asset, amount, move_id=WANTED.move_id, shards=(of, to), here="main", scales=SCALES)


def test_a_request_that_may_not_be_says_what_is_allowed() -> None:
    assert request().amount == 150_000_000
    for wanted, said in (
        ({"account": 2}, "account 2 is not a trader's: those are 1000 to"),
        (
            {"of": "second", "to": "main"},
            "this is the ledger of shard 'main': ask that of shard 'second', which it leaves",
        ),
        ({"to": "main"}, "from and to are both shard 'main'"),
        (
            {"to": "far"},
            r"shard 'far' has no books in this database \(there are: main, second\): between two databases",
        ),
        ({"asset": "DOGE"}, r"shard 'main': asset 'DOGE' is not listed \(listed: BTC, USDT\)"),
        ({"asset": "BTC"}, "BTC has 8 decimals in shard 'main' and 6 in shard 'second'"),
        ({"amount": "0"}, "amount must be greater than 0"),
        ({"amount": "0.000000001"}, "has 9 decimals, at most 8 are allowed"),
    ):
        with pytest.raises(Invalid, match=said):
            request(**wanted)


def test_an_id_is_of_one_move() -> None:
    existing = move({})
    assert moves.resume(existing, WANTED) is existing
    with pytest.raises(Conflict, match="exists with another account, asset, amount or shards"):
        moves.resume(existing, request())


def test_a_leg_is_the_same_command_whoever_asks_for_it_and_is_found_by_its_move() -> None:
    for leg in Leg:
        first, again = (transfers.command(moves.leg_request(WANTED, leg)) for _ in range(2))
        assert first.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
        assert first.command_id == moves.leg_id(WANTED.move_id, leg).bytes
        assert first.correlation_id == str(WANTED.move_id)
    assert len({moves.leg_id(WANTED.move_id, leg) for leg in Leg}) == len(Leg)
