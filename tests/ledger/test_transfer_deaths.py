"""A ledger that dies at any await of a transfer: the next sweep finishes it, and the money moved once or never."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable

import pytest

from fixtures.databases import LedgerDatabase
from fixtures.engines import SHARD, RunningEngine
from fixtures.figures import Show
from fixtures.ledger_parts import ACCOUNT, Deaths, Died, Parts, settling
from openbourse.contracts import v1
from openbourse.ledger.coordinate import Coordinator
from openbourse.ledger.progress import Progress
from openbourse.ledger.transfers import Direction, Transfer, TransferRequest, TransferState

pytestmark = pytest.mark.server

HAD = 1_000


def asked_for(direction: Direction, amount: int) -> TransferRequest:
    return TransferRequest(uuid.uuid4(), direction, ACCOUNT, "USDT", amount)


async def decided(parts: Parts, wanted: TransferRequest) -> Transfer:
    transfer = await parts.books.transfer(wanted.transfer_id)
    assert transfer is not None
    return transfer


Begin = Callable[[Parts, Coordinator, TransferRequest], Awaitable[object]]


async def _first(_: Parts, dying: Coordinator, wanted: TransferRequest) -> None:
    await dying.transfer(wanted, "test")


async def _swept(parts: Parts, dying: Coordinator, wanted: TransferRequest) -> None:
    await parts.books.record(wanted, "test")
    await dying.sweep(0)


async def _swept_after_it_was_carried_out(parts: Parts, dying: Coordinator, wanted: TransferRequest) -> None:
    """The first one died as the engine's answer came in."""
    unheard = Deaths(4)
    with contextlib.suppress(Died):
        await parts.coordinator(unheard).transfer(wanted, "test")
    assert unheard.moments == 4
    await dying.sweep(0)


@pytest.mark.parametrize("begin", [_first, _swept, _swept_after_it_was_carried_out])
async def test_whenever_it_dies_the_next_sweep_finishes_the_transfer(
    engine: RunningEngine, ledger_database: LedgerDatabase, show: Show, begin: Begin
) -> None:
    deaths = 0
    async with settling(engine, ledger_database) as parts:
        await parts.coordinator(Deaths(0)).transfer(asked_for(Direction.DEPOSIT, HAD), "test")
        expected = await parts.available()
        assert expected == HAD
        for direction, amount, state in (
            (Direction.DEPOSIT, 7, TransferState.POSTED),
            (Direction.WITHDRAWAL, 5, TransferState.POSTED),
            (Direction.WITHDRAWAL, 10**6, TransferState.VOIDED),
            # Of this refusal there is a reply and no event.
            (Direction.DEPOSIT, 2**63 - 1, TransferState.VOIDED),
        ):
            moved = {TransferState.POSTED: amount, TransferState.VOIDED: 0}[state]
            at = 0
            while True:
                at += 1
                assert at < 40
                wanted = asked_for(direction, amount)
                dying = Deaths(at)
                try:
                    await begin(parts, parts.coordinator(dying), wanted)
                    break
                except Died:
                    deaths += 1
                # Nothing was recorded: it is as if nobody had asked, and who asks again with the same id is served.
                if await parts.books.transfer(wanted.transfer_id) is None:
                    await parts.coordinator(Deaths(0)).transfer(wanted, "test")
                await parts.coordinator(Deaths(0)).sweep(0)
                transfer = await decided(parts, wanted)
                assert (transfer.state, bool(transfer.reason)) == (state, state is TransferState.VOIDED), at
                expected += moved if direction is Direction.DEPOSIT else -moved
                assert await parts.available() == expected, at
            assert dying.moments == at - 1 >= 4
            expected += moved if direction is Direction.DEPOSIT else -moved
        assert await parts.books.pending(0, 100) == []
    show(
        f"ledger, deaths at an await of a transfer{begin.__name__.replace('_', ' ')}: {deaths}, moved twice or never: 0"
    )


async def test_nothing_is_sent_again_before_all_that_the_engine_had_committed_is_settled(
    engine: RunningEngine, ledger_database: LedgerDatabase
) -> None:
    async with settling(engine, ledger_database) as parts:
        await parts.coordinator(Deaths(0)).transfer(asked_for(Direction.DEPOSIT, HAD), "test")
        wanted = asked_for(Direction.WITHDRAWAL, 5)
        await parts.books.record(wanted, "test")

        async def committed() -> int:
            return (await parts.session.query(v1.Query(listings=v1.ListingsQuery()), 20)).seq

        before = await committed()
        behind = Coordinator(parts.session, parts.books, Progress(SHARD))
        await behind.sweep(0)
        assert await behind.transfer(wanted, "test") == await decided(parts, wanted)
        assert (await decided(parts, wanted)).state is TransferState.PENDING
        assert await committed() == before
        await parts.coordinator(Deaths(0)).sweep(0)
        assert (await decided(parts, wanted)).state is TransferState.POSTED
