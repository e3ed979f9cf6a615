"""The life of a shard by seed: orders, kills, torn tails, resends. Money is conserved and answers never change.

`SIMULATION_SEEDS` says how many lives; a failure names its seed.
"""

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

from fixtures.commands import BTC, USDT, buy, cancel, credit, sell
from fixtures.engines import LISTINGS
from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, encode
from openbourse.contracts.listings import Listings
from openbourse.engine import _core
from openbourse.engine.journal import wal

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "25"))
TURNS = 60
GATEWAY, LEDGER = 1, 2
ACCOUNTS = range(1001, 1006)


class Life:
    """One shard on one folder, through all its boots."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)  # noqa: S311 (the seed is the reproduction)
        self.folder = folder
        self.sent: dict[bytes, tuple[int, v1.Command]] = {}
        self.replies: dict[bytes, v1.Reply] = {}
        self.hashes: dict[int, bytes] = {}
        self.epoch = 0
        self.now_us = 1_000_000
        self.boot()
        for definition in Listings.model_validate(LISTINGS).definitions():
            command = v1.Command(command_id=self.dice.randbytes(16))
            if isinstance(definition, v1.DefineAsset):
                command.define_asset.CopyFrom(definition)
            else:
                command.define_symbol.CopyFrom(definition)
            self.say(_core.ITSELF, command)
        for account in ACCOUNTS:
            self.say(LEDGER, credit(account, "BTC", 10 * BTC))
            self.say(LEDGER, credit(account, "USDT", 300_000 * USDT))
        self.turn()

    def boot(self) -> None:
        self.core = _core.Engine(self.folder, "main")
        self.epoch = max(self.epoch, self.core.last_epoch) + 1
        self.core.lead(self.epoch)
        self.core.commit(self.core.durable_seq())
        self.core.welcome()
        for connection, component in ((GATEWAY, "gateway"), (LEDGER, "ledger")):
            self.core.connect(connection, component)
            self.core.receive(connection, encode(v1.ClientFrame(hello=v1.Hello(shard="main"))))

    def say(self, connection: int, command: v1.Command) -> None:
        self.sent[command.command_id] = (connection, command)
        assert self.core.receive(connection, encode(v1.ClientFrame(command=command))) is None

    def turn(self) -> list[v1.Answer]:
        """One batch, until it is durable."""
        self.now_us += self.dice.randrange(-5_000, 20_000)
        begun = self.core.begin(self.now_us)
        frames = None
        while begun and frames is None:
            self.core.commit(self.core.durable_seq())
            frames = self.core.collect()
        answers = []
        for _, data in frames or ():
            for message in map(v1.ServerFrame.FromString, Decoder().feed(data)):
                if message.WhichOneof("frame") == "answer":
                    answers.append(message.answer)
                    continue
                first = self.replies.setdefault(message.reply.command_id, message.reply)
                assert first == message.reply, "a resend got another answer"
        seq, state_hash = self.core.state_hash()
        assert self.hashes.setdefault(seq, state_hash) == state_hash
        return answers

    def trade(self) -> None:
        for _ in range(self.dice.randrange(1, 12)):
            account = self.dice.choice(ACCOUNTS)
            price_ticks = 30_000_00 + self.dice.randrange(-5, 6)
            if self.dice.random() < 0.25 and self.replies:
                order = self.dice.choice(list(self.replies.values())).order.order
                command = cancel(order.account or account, order.order_id or 1)
            else:
                make = self.dice.choice((buy, sell))
                command = make(price_ticks, self.dice.randrange(1, 200_000), account)
            command.command_id = self.dice.randbytes(16)
            self.say(GATEWAY, command)
        for command_id in self.dice.sample(list(self.sent), k=2):
            self.say(*self.sent[command_id])
        self.turn()

    def crash(self) -> None:
        """A kill with a batch on its way, of which the disk has some sectors, then a boot, all resent."""
        committed_seq = self.core.committed_seq
        before = {segment: len(segment.read_bytes().rstrip(b"\0")) for segment in self.segments()}
        for _ in range(self.dice.randrange(1, 6)):
            order = sell(30_000_00, self.dice.randrange(1, 1000), self.dice.choice(ACCOUNTS))
            order.command_id = self.dice.randbytes(16)
            self.say(GATEWAY, order)
        self.core.begin(self.now_us)
        # The writer finishes its batch; what the crash took of it is taken below.
        del self.core
        last = self.segments()[-1]
        content = bytearray(last.read_bytes())
        start, end = before.get(last, 4096), len(content.rstrip(b"\0"))
        lost = [sector for sector in range(start // 512, end // 512 + 1) if self.dice.random() < 0.4]
        for sector in lost:
            from_byte, to_byte = max(sector * 512, start), min((sector + 1) * 512, end)
            content[from_byte:to_byte] = bytes(max(0, to_byte - from_byte))
        last.write_bytes(content)
        assert wal.verify(self.folder).damaged is None
        self.boot()
        assert self.core.committed_seq >= committed_seq
        for connection, command in self.sent.values():
            assert self.core.receive(connection, encode(v1.ClientFrame(command=command))) is None
        while not self.core.is_idle:
            self.turn()

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.wal"))

    def check_money(self) -> None:
        """Every asset sums to zero over all accounts, and no trader is below zero."""
        query = v1.Query(query_id=1, balances=v1.BalancesQuery())
        self.core.receive(GATEWAY, encode(v1.ClientFrame(query=query)))
        (answer,) = self.turn()
        sums: dict[str, int] = defaultdict(int)
        for balance in answer.balances.balances:
            sums[balance.asset] += balance.available + balance.hold
            if balance.account >= ACCOUNTS.start:
                assert balance.available >= 0, balance
                assert balance.hold >= 0, balance
        assert set(sums.values()) == {0}, sums


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_shard_keeps_its_word_and_its_money(seed: int, tmp_path: Path) -> None:
    life = Life(seed, tmp_path)
    for _ in range(TURNS):
        life.trade()
        if life.dice.random() < 0.1:
            life.crash()
        life.check_money()
    rejected = sum(reply.WhichOneof("result") == "rejection" for reply in life.replies.values())
    traded = sum(len(reply.order.fills) for reply in life.replies.values())
    assert 0 < rejected < len(life.replies)
    assert traded > 10
    seq, state_hash = life.core.state_hash()
    replay = _core.Replay(tmp_path, "main", life.epoch, 1)
    while replay.next_seq <= seq:
        replay.step(seq, 1000, 1 << 20)
    assert replay.state_hash() == (seq, state_hash)
