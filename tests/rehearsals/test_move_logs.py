"""Logs of two real engines between which a symbol moves: what their audits say together, and a move that went wrong."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fixtures.commands import TIMEOUT_S, buy, sell
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine, fund
from openbourse.cli.wal_audit import audit
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.engine.journal import wal
from openbourse.operator.rehearsals.acknowledgements import compared, compared_together
from openbourse.operator.rehearsals.facts import LogFacts
from openbourse.operator.rehearsals.whereabouts import Stay, id_problems, moved, problems

pytestmark = pytest.mark.server

SYMBOL, MAIN, SECOND = "BTCUSDT", "main", "second"


@dataclass
class Two:
    """Shards, of which the first one lists the symbol at the beginning."""

    engines: dict[str, RunningEngine]
    # With a ledger's rights, which moves take, and with a gateway's.
    ledgers: dict[str, EngineSession]
    gateways: dict[str, EngineSession]
    told: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def trade(self, shard: str, count: int) -> None:
        """Some of the orders trade, and some rest."""
        for number in itertools.islice(self._numbers, count):
            price = 30_000_00 + number * 3 % 5
            command = buy(price, 2) if (number * 7) % 11 % 2 else sell(price, 2)
            command.place_order.client_order_id = name = f"r-{number}"
            reply = await self.gateways[shard].command(command, TIMEOUT_S)
            assert reply.HasField("order"), reply
            self.told[name] = reply.order.order.order_id

    async def freeze(self, source: str, target: str) -> bytes:
        move_id = uuid.uuid4().bytes
        frozen = v1.FreezeSymbol(move_id=move_id, symbol=SYMBOL, to_shard=target)
        await self.carry_out(source, freeze_symbol=frozen)
        return move_id

    async def bring(self, move_id: bytes, source: str, target: str) -> None:
        part, parts = 0, 1
        while part < parts:
            query = v1.Query(symbol_record=v1.SymbolRecordQuery(move_id=move_id, part=part))
            asked = (await self.ledgers[source].query(query, TIMEOUT_S)).symbol_record
            arriving = v1.ImportSymbol(move_id=move_id, from_shard=source, part=part, parts=asked.parts)
            arriving.record, arriving.record_sha256 = asked.record.SerializeToString(), asked.record_sha256
            await self.carry_out(target, import_symbol=arriving)
            part, parts = part + 1, asked.parts

    async def move(self, source: str, target: str) -> None:
        move_id = await self.freeze(source, target)
        await self.bring(move_id, source, target)
        await self.carry_out(source, complete_move=v1.CompleteMove(move_id=move_id))

    async def carry_out(self, shard: str, **body: Any) -> None:
        reply = await self.ledgers[shard].command(v1.Command(command_id=uuid.uuid4().bytes, **body), TIMEOUT_S)
        assert reply.HasField("done"), reply

    async def seq(self, shard: str) -> int:
        status = await asyncio.to_thread(self.engines[shard].status)
        return int(status["committed_seq"])

    async def audits(self, *, from_seq: int = 1) -> dict[str, dict[str, Any]]:
        """As the pods that read logs print them."""

        def read(engine: RunningEngine) -> dict[str, Any]:
            report = wal.verify(engine.wal)
            said: dict[str, Any] = json.loads(json.dumps(audit(engine.wal, report, from_seq, "r-", SYMBOL)))
            return said

        return {shard: await asyncio.to_thread(read, engine) for shard, engine in self.engines.items()}


@asynccontextmanager
async def two_shards(engine_factory: EngineFactory) -> AsyncIterator[Two]:
    engines = {shard: engine_factory(shard=shard) for shard in (MAIN, SECOND)}
    others = [listed for listed in LISTINGS["symbols"] if listed["symbol"] != SYMBOL]
    engines[SECOND].listings.write_text(json.dumps({**LISTINGS, "symbols": others}))
    async with AsyncExitStack() as stack:
        ledgers, gateways = {}, {}
        for shard, engine in engines.items():
            await asyncio.to_thread(engine.start)
            ledgers[shard] = await stack.enter_async_context(engine.session(Component.LEDGER))
            gateways[shard] = await stack.enter_async_context(engine.session(Component.GATEWAY))
            await fund(ledgers[shard])
        yield Two(engines, ledgers, gateways)


def read(audits: dict[str, dict[str, Any]], begun: dict[str, int]) -> tuple[list[LogFacts], list[Stay]]:
    logs = [compared(shard, said, {}) for shard, said in audits.items()]
    stays = [Stay(log.pod, begun[log.pod], log.whereabouts) for log in logs if log.whereabouts is not None]
    assert len(stays) == 2
    return logs, stays


async def test_logs_of_two_engines_say_that_a_symbol_went_away_and_came_back_with_all_that_it_had(
    engine_factory: EngineFactory,
) -> None:
    async with two_shards(engine_factory) as two:
        await two.trade(MAIN, 40)
        begun = {shard: await two.seq(shard) for shard in two.engines}
        await two.trade(MAIN, 40)
        await two.move(MAIN, SECOND)
        await two.trade(SECOND, 60)
        await two.move(SECOND, MAIN)
        await two.trade(MAIN, 40)
        audits = await two.audits()
        late = await two.audits(from_seq=min(begun.values()))
    for told in (audits, late):
        logs, stays = read(told, begun)
        assert (problems(stays), id_problems(stays)) == ((), ())
        assert [(each.from_shard, each.to_shard) for each in moved(stays)] == [(MAIN, SECOND), (SECOND, MAIN)]
        assert all(each.left.open_orders > 5 and each.left.trade_id > 5 for each in moved(stays))
        for log in logs:
            assert log.updates > 10
            assert (log.damaged, log.update_gaps, log.crossed) == ("", (), ())
    together = compared_together(audits, two.told)
    assert (together.compared, together.lost, together.repeated) == (180, 0, 0)
    # One of them alone has not all: an order is in the log of the shard that accepted it.
    assert 0 < compared(MAIN, audits[MAIN], two.told).lost < 180
    # Planted: an order that did not come along, and one that the second shard carried out as well.
    came = next(each for each in audits[SECOND]["whereabouts"]["passages"] if each["what"] == "Imported")
    order_id, left = came["open"].popitem()
    lost = compared_together(audits, two.told)
    assert lost.lost_first == (f"{left[0]}: left main as order {order_id}, came to second nowhere",)
    assert "open orders" in problems(read(audits, begun)[1])[0]
    audits[SECOND]["orders"]["r-3"] = [two.told["r-3"]]
    assert compared_together(audits, two.told).repeated_first == (f"r-3: {[two.told['r-3']] * 2}",)


async def test_a_symbol_that_trades_in_both_shards_is_found_in_their_logs(engine_factory: EngineFactory) -> None:
    """Nobody but the ledgers keeps it from that: here the source is told that the target will never have it."""
    async with two_shards(engine_factory) as two:
        await two.trade(MAIN, 20)
        begun = {shard: await two.seq(shard) for shard in two.engines}
        move_id = await two.freeze(MAIN, SECOND)
        await two.bring(move_id, MAIN, SECOND)
        await two.carry_out(MAIN, undo_freeze=v1.UndoFreeze(move_id=move_id))
        await two.trade(MAIN, 5)
        await two.trade(SECOND, 5)
        _, stays = read(await two.audits(), begun)
    found = problems(stays)
    assert "in the end it was open in 2 shards" in found
    assert any("main opened it again: it was open in both" in each for each in found)


async def test_a_symbol_that_was_asked_back_before_it_came_was_in_one_shard_all_the_time(
    engine_factory: EngineFactory,
) -> None:
    async with two_shards(engine_factory) as two:
        await two.trade(MAIN, 20)
        begun = {shard: await two.seq(shard) for shard in two.engines}
        move_id = await two.freeze(MAIN, SECOND)
        await two.carry_out(SECOND, abandon_import=v1.AbandonImport(move_id=move_id))
        await two.carry_out(MAIN, undo_freeze=v1.UndoFreeze(move_id=move_id))
        await two.trade(MAIN, 20)
        audits = await two.audits()
        logs, stays = read(audits, begun)
    assert (problems(stays), moved(stays)) == ((), ())
    assert (logs[0].update_gaps, logs[0].crossed) == ((), ())
    together = compared_together(audits, two.told)
    assert (together.lost, together.repeated) == (0, 0)
