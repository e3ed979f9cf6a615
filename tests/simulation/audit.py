"""What a simulated shard has promised, and whether it kept it. It sees all ends at once, as nobody in the world can.

- a command that is answered is in the committed stream at the seq of its answer, for everybody and for ever
- one id has one answer, however often it is sent
- the stream has no gap and no repeat, and one content for each seq, for all consumers
- no consumer hears a session of an older epoch than it has heard
- the state at a seq is one state, on every member
- money is neither made nor lost
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

from openbourse.contracts import v1


class Broken(AssertionError):
    """A promise is not kept."""


class Audit:
    def __init__(self) -> None:
        self.commands: dict[bytes, v1.Command] = {}
        self.replies: dict[bytes, v1.Reply] = {}
        # The events of each seq, as bytes, and whose command they are of.
        self.content: dict[int, bytes] = {}
        self.hashes: dict[int, bytes] = {}
        self.broken: list[str] = []
        self.on_answer: Callable[[], object] = lambda: None
        self._at: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._by_seq: dict[int, bytes] = {}
        self._correlation: dict[int, str] = {}

    def wrong(self, what: str) -> None:
        """Remembered, and raised where the life is driven: in a task of a process it might be taken for its own."""
        self.broken.append(what)

    def check(self) -> None:
        if self.broken:
            raise Broken(self.broken[0])

    def sent(self, command: v1.Command) -> None:
        self.commands[command.command_id] = command

    def answered(self, command: v1.Command, reply: v1.Reply) -> None:
        self.on_answer()
        first = self.replies.setdefault(command.command_id, reply)
        if first != reply:
            self.wrong(f"one id has two answers: {_line(first)} and {_line(reply)}")
        other = self._by_seq.setdefault(reply.seq, reply.command_id)
        if other != reply.command_id:
            self.wrong(f"seq {reply.seq} is the answer to two commands")
        self._agree(reply.seq)

    def _agree(self, seq: int) -> None:
        """The stream has at this seq what was answered."""
        command_id, told = self._by_seq.get(seq), self._correlation.get(seq)
        if command_id is not None and told is not None and told != command_id.hex():
            self.wrong(f"seq {seq} was answered to {command_id.hex()}, and the stream has {told or 'another command'}")

    def delivered(self, consumer: str, events: v1.Events) -> None:
        last_seq, epoch = self._at[consumer]
        if events.first_seq != last_seq + 1:
            self.wrong(f"{consumer} hears of seq {events.first_seq} after {last_seq}")
        if events.epoch < epoch:
            self.wrong(f"{consumer} hears a leader of epoch {events.epoch} after one of epoch {epoch}")
        self._at[consumer] = (events.last_seq, max(epoch, events.epoch))
        content: dict[int, bytes] = dict.fromkeys(range(events.first_seq, events.last_seq + 1), b"")
        for event in events.events:
            content[event.seq] += event.SerializeToString(deterministic=True)
            self._correlation.setdefault(event.seq, event.correlation_id)
        for seq, said in content.items():
            if self.content.setdefault(seq, said) != said:
                self.wrong(f"seq {seq} has two contents")
            self._agree(seq)

    def consumer_restarted(self, consumer: str, seq: int, epoch: int) -> None:
        self._at[consumer] = (seq, epoch)

    def heard(self, consumer: str) -> int:
        return self._at[consumer][0]

    def settled(self, epoch: int, balances: Mapping[tuple[int, str], list[int]]) -> None:
        sums: dict[str, int] = defaultdict(int)
        for (account, asset), (available, hold) in balances.items():
            sums[asset] += available + hold
            if account >= 1000 and (available < 0 or hold < 0):
                self.wrong(f"account {account} has {available} and {hold} of {asset}")
        if any(sums.values()):
            self.wrong(f"money is made or lost: {dict(sums)}")

    def state(self, who: str, seq: int, state_hash: bytes) -> None:
        if self.hashes.setdefault(seq, state_hash) != state_hash:
            self.wrong(f"{who} has another state at seq {seq}")

    @property
    def unanswered(self) -> list[v1.Command]:
        return [command for key, command in self.commands.items() if key not in self.replies]


def _line(message: v1.Reply) -> str:
    return " ".join(str(message).split())[:300]
