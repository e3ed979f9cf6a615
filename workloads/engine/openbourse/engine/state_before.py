"""The state before the oldest events that are kept, for a subscriber that knows nothing yet. Blocks; knows no socket.

It is asked of a kernel of its own, made of the newest snapshot before: trading does not wait.
"""

from collections.abc import Iterator

from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.engine._core import Replay

ADVANCE_COMMANDS = 2000
PIECE_BYTES = 1024 * 1024


def pieces(replay: Replay, epoch: int, seq: int) -> Iterator[bytes]:
    """Frames of the state right after `seq`, about PIECE_BYTES each. Raises Fatal."""
    replay.begin()
    while replay.seq < seq:
        replay.advance(seq, ADVANCE_COMMANDS)
    piece, size = v1.StateBefore(epoch=epoch, seq=seq), 0
    for answer in _answers(replay):
        piece.answers.append(answer)
        size += answer.ByteSize()
        if size >= PIECE_BYTES:
            yield encode(v1.ServerFrame(state_before=piece))
            piece, size = v1.StateBefore(epoch=epoch, seq=seq), 0
    piece.last = True
    yield encode(v1.ServerFrame(state_before=piece))


def _answers(replay: Replay) -> Iterator[v1.Answer]:
    def ask(query: v1.Query) -> v1.Answer:
        return v1.Answer.FromString(replay.answer(query.SerializeToString()))

    listings = ask(v1.Query(listings=v1.ListingsQuery()))
    balances = ask(v1.Query(balances=v1.BalancesQuery()))
    yield listings
    yield balances
    for listing in listings.listings.symbols:
        yield ask(v1.Query(depth=v1.DepthQuery(symbol=listing.definition.symbol, limit=1)))
    # An open order holds something.
    for account in dict.fromkeys(balance.account for balance in balances.balances.balances if balance.hold):
        yield ask(v1.Query(open_orders=v1.OpenOrdersQuery(account=account)))
