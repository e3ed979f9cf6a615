"""Proves that the engine's balances and the ledger's are equal right after one seq, or says where they are not.

The engine names the seq with its answer. The ledger's balances at that seq are those of one snapshot less what was
settled after it, so neither has to stand still for the other.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession
from openbourse.contracts.unanswered import Unavailable as NoAnswer
from openbourse.ledger.books import Amounts, Books, Snapshot
from openbourse.ledger.differences import Difference
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.progress import Progress

ENGINE_TIMEOUT_S = 10.0
CATCH_UP_TIMEOUT_S = 15.0

_NOTHING = (0, 0)


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared at `seq`, and everything that differs."""

    seq: int
    accounts: int
    balances: int
    # Engine against ledger.
    engine: list[Difference]
    # Kept balances against the sum of all entries.
    entries: list[Difference]
    # Asset -> what all its balances sum to, where that is not zero.
    unbalanced_assets: dict[str, int]

    @property
    def equal(self) -> bool:
        return not (self.engine or self.entries or self.unbalanced_assets)


async def reconcile(session: EngineSession, books: Books, progress: Progress, *, entries: bool = True) -> Report:
    """Compares everything once; without `entries` not their sum.

    Raises Unavailable when a side does not answer or does not catch up in time.
    """
    try:
        answer = await session.query(v1.Query(balances=v1.BalancesQuery()), ENGINE_TIMEOUT_S)
    except (NoAnswer, Busy) as error:
        raise Unavailable(f"engine: {error}") from error
    if answer.WhichOneof("body") != "balances":
        raise Unavailable(f"engine: refused to show its balances: {answer.refused.detail}")
    if not await progress.reached(answer.seq, CATCH_UP_TIMEOUT_S):
        raise Unavailable(
            f"settled through seq {progress.watermark.seq} and not seq {answer.seq} after {CATCH_UP_TIMEOUT_S:g} s"
        )
    snapshot = await books.snapshot(answer.seq, entries=entries)
    if snapshot.watermark.seq < answer.seq:
        # Another server than the one that settles.
        raise Unavailable(f"database: what it shows ends at seq {snapshot.watermark.seq}, before seq {answer.seq}")
    # Of a million balances it takes a second or more, in which settlement must go on.
    return await asyncio.to_thread(compare, answer.seq, answer.balances.balances, snapshot)


def compare(seq: int, engine: Iterable[v1.Balance], ledger: Snapshot) -> Report:
    """The report for the engine's balances right after `seq` and a snapshot at or after it. Pure."""
    # Of what people moved the engine knows nothing.
    ours = _less(_less(ledger.balances, ledger.moved_after), ledger.manual)
    theirs = {(balance.account, balance.asset): (balance.available, balance.hold) for balance in engine}
    totals: dict[str, int] = {}
    for (_, asset), (available, hold) in ledger.balances.items():
        totals[asset] = totals.get(asset, 0) + available + hold
    return Report(
        seq=seq,
        accounts=len({account for account, _ in theirs.keys() | ours.keys()}),
        balances=len(theirs.keys() | ours.keys()),
        engine=_differences(theirs, ours),
        entries=[] if ledger.entries is None else _differences(_less(ledger.balances, ledger.manual), ledger.entries),
        unbalanced_assets={asset: total for asset, total in sorted(totals.items()) if total},
    )


def _less(balances: Amounts, moved: Amounts) -> Amounts:
    result = dict(balances)
    for key, (available, hold) in moved.items():
        before = result.get(key, _NOTHING)
        result[key] = (before[0] - available, before[1] - hold)
    return result


def _differences(left: Amounts, right: Amounts) -> list[Difference]:
    """A balance that one side does not know is zero there."""
    return [
        Difference(*key, left.get(key, _NOTHING), right.get(key, _NOTHING))
        for key in sorted(left.keys() | right.keys())
        if left.get(key, _NOTHING) != right.get(key, _NOTHING)
    ]
