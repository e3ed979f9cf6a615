"""What an engine commits in one life, by its dice, and the streams of it: honest ones and such as lie."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from simulation.ledger.tables import Transfer

from fixtures.reference_ledger import Reference
from fixtures.streams import deliveries, joined, transfer_id
from openbourse.contracts import v1
from openbourse.ledger.settlement import Watermark

LISTED = ("asset USDT 2", "asset BTC 8", "symbol BTC USDT")
TRADERS = (1000, 1001, 1002)
LENGTH = (24, 60)
LIES = ("gap", "forged", "forged", "foreign", "back")
PAUSE_S = (0.0, 0.12)


class Script:
    """The truth: a line a seq, what everybody has after each, and which transfers were asked for before."""

    def __init__(self, dice: random.Random) -> None:
        self.reference = reference = Reference()
        self.transfers: dict[uuid.UUID, Transfer] = {}
        for line in LISTED:
            reference.happen(line)
        for account in TRADERS:
            for asset in ("USDT", "BTC"):
                self._credit(account, asset, 60)
        length = dice.randint(*LENGTH)
        while len(reference.lines) < length:
            self._go_on(dice)
        self.length = len(reference.lines)

    def _credit(self, account: int, asset: str, amount: int) -> None:
        line = f"credit {account} {asset} {amount}"
        seq = self.reference.happen(line, (2, asset, -amount, 0), (account, asset, amount, 0))
        self.transfers[transfer_id(seq)] = Transfer("deposit", account, asset, amount, "pending")

    def _debit(self, account: int, asset: str, amount: int) -> None:
        if self.reference.has(account, asset)[0] < amount:
            seq = self.reference.happen(f"refuse {account} {asset} {amount}")
        else:
            line = f"debit {account} {asset} {amount}"
            seq = self.reference.happen(line, (2, asset, amount, 0), (account, asset, -amount, 0))
        self.transfers[transfer_id(seq)] = Transfer("withdrawal", account, asset, amount, "pending")

    def _go_on(self, dice: random.Random) -> None:
        reference, account, asset = self.reference, dice.choice(TRADERS), dice.choice(("USDT", "BTC"))
        amount = dice.randint(1, 50)
        match dice.randrange(10):
            case 0:
                self._credit(account, asset, amount)
            case 1:
                self._debit(account, asset, amount)
            case 2:
                reference.happen(dice.choice(("nothing", "asset USDT 2", "checkpoint abcd")))
            case 3 | 4:
                reference.hold(account, asset, amount)
            case 5:
                reference.give_back(account, asset, amount, dice.choice(("release", "expire", "amend")))
            case _:
                seller, buyer = dice.sample(TRADERS, 2)
                reference.hold(seller, "BTC", amount)
                reference.hold(buyer, "USDT", amount)
                reference.fill(seller, buyer, amount, amount, (dice.randint(0, 2), dice.randint(0, 2)))


@dataclass
class Engine:
    """One leader of a shard, as a consumer of its stream sees it. It may lie, once."""

    script: Script
    dice: random.Random
    epoch: int
    # As far as it is committed at all; an old leader does not hear of more.
    committed: int = 0
    # What it will say wrongly, once. `lied_after`: all that it said before was good through this seq.
    lie: str = ""
    lied_after: int | None = None

    async def stream(self, watermark: Watermark) -> AsyncIterator[v1.Events]:
        """From some seq that is not beyond the next, and never ending."""
        next_seq = max(1, watermark.seq + 1 - self.dice.choice((0, 0, 0, 1, 5)))
        said = next_seq - 1
        while True:
            if self.lie and self.lied_after is None and said > 9 and self.dice.random() < 0.3:
                lie = self._lie(said)
                if lie is not None:
                    self.lied_after = said
                    # At the head of a batch, or somewhere in it.
                    await asyncio.sleep(self.dice.choice((0.0, 0.5)))
                    yield lie
                    said = lie.last_seq
            if said < self.committed:
                last = min(self.committed, said + self.dice.choice((1, 1, 2, 6)))
                yield self.part(said + 1, last)
                said = last
                await asyncio.sleep(self.dice.choice((0.0, 0.0, self.dice.uniform(*PAUSE_S))))
            else:
                await asyncio.sleep(0.05)

    def part(self, first: int, last: int) -> v1.Events:
        parts = deliveries("\n".join(self.script.reference.lines[first - 1 : last]), first_seq=first)
        part = joined(parts)
        part.epoch = self.epoch
        return part

    def _lie(self, said: int) -> v1.Events | None:
        match self.lie:
            case "gap":
                return self.part(said + 2, said + 2) if said + 2 <= self.committed else None
            case "back":
                # The truth, but not in its order: forgiven where it is a repeat, and else stopped at.
                return self.part(said - 2, said)
            case "foreign":
                if said + 1 > self.committed:
                    return None
                part = self.part(said + 1, said + 1)
                for event in part.events:
                    event.shard = "another"
                return part if part.events else None
            case _:
                return self._forged(said)

    def _forged(self, said: int) -> v1.Events | None:
        """A seq that was said before, as something else."""
        part = self.part(said, said)
        if not part.events or not part.events[0].movements:
            return None
        part.events[0].movements[0].asset = "BTC" if part.events[0].movements[0].asset == "USDT" else "USDT"
        part.events[0].correlation_id += "-forged"
        if len(part.events[0].movements) > 1:
            part.events[0].movements[0].asset = self.part(said, said).events[0].movements[0].asset
        return part
