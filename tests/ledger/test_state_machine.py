"""Any life of a ledger against a reference that is a dictionary: after each step the books are what it says.

The reference moves money as an engine does and knows nothing of batches, duplicates, crashes or SQL.
"""

import asyncio
import uuid
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.dying import DyingConnection
from fixtures.figures import Show
from fixtures.reference_ledger import Reference
from fixtures.streams import SHARD, deliveries, joined, record_transfers, transfer_id
from openbourse.ledger import store
from openbourse.ledger.errors import Diverged, Unavailable
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

EXAMPLES, STEPS = 25, 30
LISTED = ("asset USDT 2", "asset BTC 8", "symbol BTC USDT")
TRADERS = (1000, 1001, 1002)

traders = st.sampled_from(TRADERS)
assets = st.sampled_from(["USDT", "BTC"])
amounts = st.integers(1, 60)


class Life(RuleBasedStateMachine):
    server: PostgresServer
    template: str
    counts: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.name = f"life_{uuid.uuid4().hex}"
        self.server.execute(f"CREATE DATABASE {self.name} TEMPLATE {self.template}")
        self.database = LedgerDatabase(self.server, self.name)
        self.reference = Reference()
        self.settled = 0
        self.pending: set[uuid.UUID] = set()

    @initialize()
    def begin(self) -> None:
        self.connection, _ = self.run(store.open_settlement(self.database.application, SHARD))
        self.killer = self.run(asyncpg.connect(self.database.owner))
        for line in LISTED:
            self.reference.happen(line)
        self.settle_through(len(LISTED))
        for account in TRADERS:
            for asset in ("USDT", "BTC"):
                self.deposit(account=account, asset=asset, amount=50)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        for connection in (self.connection, self.killer):
            connection.terminate()
        self.run(asyncio.sleep(0))
        self.runner.close()
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    def settle_through(self, last: int, *, overlap: int = 0, whole: bool = False) -> None:
        first = max(1, self.settled + 1 - overlap)
        if first > last:
            return
        parts = self.reference.stream(first, last)
        done = self.run(store.settle(self.connection, SHARD, [joined(parts)] if whole else parts))
        assert done.watermark == Watermark(1, max(self.settled, last))
        self.settled = max(self.settled, last)

    def asked(self, line: str) -> None:
        """What a transfer's request leaves before the engine hears of it."""
        seq = len(self.reference.lines) + 1
        self.run(record_transfers(self.killer, deliveries(line, first_seq=seq)))
        self.pending.add(transfer_id(seq))

    @rule(account=traders, asset=assets, amount=amounts)
    def deposit(self, account: int, asset: str, amount: int) -> None:
        line = f"credit {account} {asset} {amount}"
        self.asked(line)
        self.reference.happen(line, (2, asset, -amount, 0), (account, asset, amount, 0), decides="posted")

    @rule(account=traders, asset=assets, amount=amounts)
    def withdraw(self, account: int, asset: str, amount: int) -> None:
        if self.reference.has(account, asset)[0] < amount:
            line = f"refuse {account} {asset} {amount}"
            self.asked(line)
            self.reference.happen(line, decides="voided")
            return
        line = f"debit {account} {asset} {amount}"
        self.asked(line)
        self.reference.happen(line, (2, asset, amount, 0), (account, asset, -amount, 0), decides="posted")

    @rule(
        seller=traders,
        buyer=traders,
        lots=amounts,
        quote=amounts,
        fees=st.tuples(*[st.integers(0, 3)] * 2),
        left=st.sampled_from(["release", "expire", "amend"]),
    )
    def trade(self, seller: int, buyer: int, lots: int, quote: int, fees: tuple[int, int], left: str) -> None:
        """Two orders, what of them meets, and what becomes of a part of the rest."""
        self.reference.hold(seller, "BTC", lots + 3)
        self.reference.hold(buyer, "USDT", quote + 3)
        self.reference.fill(seller, buyer, lots, quote, fees)
        self.reference.give_back(seller, "BTC", 2, left)
        self.reference.give_back(buyer, "USDT", 1, left)

    @rule(count=st.integers(0, 30), overlap=st.integers(0, 20), whole=st.booleans())
    def settle(self, count: int, overlap: int, whole: bool) -> None:
        self.counts["settled"] += 1
        last = min(len(self.reference.lines), self.settled + count)
        self.settle_through(last, overlap=overlap, whole=whole)

    @rule(count=st.integers(1, 30), overlap=st.integers(0, 20), at=st.integers(1, 16), lost_answer=st.booleans())
    def crash(self, count: int, overlap: int, at: int, lost_answer: bool) -> None:
        """The server process of the session ends before the statement of that number, or after the last."""
        first = max(1, self.settled + 1 - overlap)
        last = min(len(self.reference.lines), self.settled + count)
        if first > last:
            return
        parts = self.reference.stream(first, last)
        dying = DyingConnection(self.connection, self.killer, 0 if lost_answer else at)
        try:
            self.run(store.settle(dying, SHARD, parts))  # type: ignore[arg-type]
            self.settled = max(self.settled, last)
        except Unavailable:
            self.counts["died"] += 1
        self.connection.terminate()
        self.connection, watermark = self.run(store.open_settlement(self.database.application, SHARD))
        assert watermark.seq == self.settled

    @precondition(lambda self: self.settled > len(LISTED))
    @rule(back=st.integers(0, 20), more=st.integers(0, 3))
    def other_content(self, back: int, more: int) -> None:
        """One seq that was settled comes again as something else; what follows it is not settled either."""
        seq = max(len(LISTED) + 1, self.settled - back)
        if self.reference.lines[seq - 1].startswith("refuse"):
            return
        last = min(len(self.reference.lines), self.settled + more)
        line = "hold 1002 BTC 61" if self.reference.lines[seq - 1] != "hold 1002 BTC 61" else "hold 1002 BTC 62"
        parts = [*deliveries(line, first_seq=seq), *self.reference.stream(seq + 1, last)]
        with pytest.raises(Diverged, match=f"a duplicate with other content: seq {seq} "):
            self.run(store.settle(self.connection, SHARD, parts))
        self.counts["contradicted"] += 1

    @rule(account=traders, asset=assets, direction=st.sampled_from(["gap", "credit", "debit"]))
    def cannot_be_true(self, account: int, asset: str, direction: str) -> None:
        """A seq is left out; or funds come or go without a pending transfer, as what happens next."""
        if direction == "gap":
            parts = deliveries("nothing", first_seq=self.settled + 2)
        else:
            parts = deliveries(f"{direction} {account} {asset} 1", first_seq=self.settled + 1)
            getattr(parts[0].events[0], f"funds_{direction}ed").transfer_id = str(uuid.uuid4())
        with pytest.raises(Diverged):
            self.run(store.settle(self.connection, SHARD, parts))

    @invariant()
    def the_books_are_what_the_reference_says(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        query = "SELECT account, asset, available, hold FROM ledger.balances"
        rebuilt = "SELECT account, asset, sum(available)::bigint, sum(hold)::bigint FROM ledger.legs GROUP BY 1, 2"
        kept = {(row[0], row[1]): [row[2], row[3]] for row in await self.killer.fetch(query)}
        entries = {(row[0], row[1]): [row[2], row[3]] for row in await self.killer.fetch(rebuilt)}
        expected = {key: balance for key, balance in self.reference.after[self.settled].items() if any(balance)}
        for found in (kept, entries):
            assert {key: balance for key, balance in found.items() if any(balance)} == expected
        assert await self.killer.fetchval("SELECT seq FROM ledger.watermarks") == self.settled
        states = await self.killer.fetch("SELECT transfer_id, state::text FROM ledger.transfers")
        decided = self.reference.decided[self.settled]
        assert dict(map(tuple, states)) == {asked: decided.get(asked, "pending") for asked in self.pending}


def test_any_life_of_a_ledger_leaves_the_books_of_the_reference(
    postgres: PostgresServer, ledger_template: str, show: Show
) -> None:
    class Lives(Life):
        server = postgres
        template = ledger_template
        counts = {"settled": 0, "died": 0, "contradicted": 0}  # noqa: RUF012

    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            # Smaller ones take minutes to find, each step of them in a server.
            phases=[Phase.generate],
        ),
    )
    show(f"ledger, lives against the reference: {EXAMPLES}, {Lives.counts}")
    assert all(Lives.counts.values())
