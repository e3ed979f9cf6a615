"""What was seen in a rehearsal: what a report is made of, and all that a verdict is made of. Values only.

Times are milliseconds since the rehearsal began, by the clock of the process that ran it.
"""

from typing import Literal

from pydantic import Field

from openbourse.contracts.documents import Document
from openbourse.contracts.resources import Scenario


class Bite(Document):
    """What the process on the node saw of its own fault: that it was there, and not only asked for.

    `pod`: of RESTART the StatefulSet, of MOVE the Symbol.
    """

    pod: str
    pid: int
    deed: str
    # KILL, DOWN: the process is gone, or all of them; RESTART: the pods are others.
    gone: bool | None = None
    # FREEZE: how often the process was looked at, and how often it was stopped then.
    looks: int = 0
    stopped: int = 0
    # DOWN, SLOW: at how many of the looks nothing ran there, or the limit was in force.
    seen: int = 0
    # DOWN, RESTART: the pods that it was done to; MOVE: the shards. And how many processes were killed.
    victims: tuple[str, ...] = ()
    kills: int = 0
    # SLOW: writes that the kernel let through meanwhile.
    writes: int = 0
    # CUT, DOWN: packets that were dropped, by side.
    dropped: dict[str, int] = Field(default_factory=dict)
    # What could not be done, in words; empty: everything.
    problem: str = ""
    # Whether it was taken away again; of a kill there is nothing to take away.
    lifted: bool = True


class Under(Document):
    """What was done besides, one bite a node. It was there from `struck_ms` to `lifted_ms`, on all of them."""

    bites: tuple[Bite, ...] = ()
    struck_ms: int | None = None
    lifted_ms: int | None = None


class LeaderAt(Document):
    """The record, when it was seen to have changed."""

    at_ms: int
    epoch: int
    holder: str
    in_sync: int


class Pause(Document):
    """No order was acknowledged in between."""

    from_ms: int
    to_ms: int

    @property
    def lasted_ms(self) -> int:
        return self.to_ms - self.from_ms


class Took(Document):
    """Acknowledgements of one time: how many, and how long after the order was sent."""

    orders: int = 0
    p50_ms: int = 0
    p99_ms: int = 0


class DiskFacts(Document):
    """What the engine said of its own disk at each look: how long its log had been waiting for a sync."""

    looks: int = 0
    # At how many it had waited for WAITED_MS or more, and the longest.
    waited: int = 0
    longest_ms: int = 0


class StatusFacts(Document):
    """What the EngineShard's status said when all was over, and so the operator who writes it."""

    leader: str
    epoch: int


class LoadFacts(Document):
    """What clients were told. `acknowledged_per_bucket`: the timeline."""

    asked: int = 0
    acknowledged: int = 0
    refused: int = 0
    # No answer, by time-out or a broken connection: it may have been carried out.
    unanswered: int = 0
    bucket_ms: int = 100
    acknowledged_per_bucket: tuple[int, ...] = ()
    # The longest ones, in their order.
    pauses: tuple[Pause, ...] = ()
    # After the fault was taken away.
    acknowledged_after: int = 0
    # Sent before the fault was asked for, until it was taken away, and since.
    took_before: Took | None = None
    took_during: Took | None = None
    took_after: Took | None = None


class Passage(Document):
    """A symbol came to a shard or left it."""

    what: Literal["Listed", "Frozen", "Unfrozen", "Departed", "Imported"]
    seq: int
    # By the clock of the engine that led.
    at_us: int
    # The move, and the other shard. Empty of what is no part of one.
    move: str = ""
    shard: str = ""
    # The digest of all that goes along, and of the open orders alone; how many these are.
    record: str = ""
    orders: str = ""
    open_orders: int = 0
    # The last ones; 0 where none was seen.
    update_id: int = 0
    trade_id: int = 0


class Whereabouts(Document):
    """When a shard had the symbol that was traded, as one log says."""

    # Before the first seq.
    here_first: bool
    passages: tuple[Passage, ...] = ()
    # Commands that did something to it while the shard did not have it, some of them.
    away: int = 0
    away_first: tuple[str, ...] = ()
    # Within the times in which it was here, and from where it came with.
    trade_gaps: tuple[str, ...] = ()


class LogFacts(Document):
    """One engine's log, replayed by a kernel that is not the engine's."""

    pod: str
    first_seq: int
    last_seq: int
    # What is wrong with the log itself; empty: every record is good.
    damaged: str = ""
    # Epoch, and the first seq under it, of each run of records.
    epochs: tuple[tuple[int, int], ...] = ()
    # By seq, as text: the chain of records there. And the state hash that the replay came to.
    chains: dict[str, str] = Field(default_factory=dict)
    states: dict[str, str] = Field(default_factory=dict)
    # Of the orders that were acknowledged: held against this log, missing or another order there, some of them. None
    # are where they may be in another shard's log too.
    compared: int = 0
    lost: int = 0
    lost_first: tuple[str, ...] = ()
    # One name that was carried out more than once.
    repeated: int = 0
    repeated_first: tuple[str, ...] = ()
    # Of books, through every update: symbols with a gap in their update ids; crossed after some command.
    update_gaps: tuple[str, ...] = ()
    crossed: tuple[str, ...] = ()
    updates: int = 0
    # None in reports of before it was looked at.
    whereabouts: Whereabouts | None = None


class EngineStateFacts(Document):
    """What an engine said of itself when all was over."""

    pod: str
    role: str
    epoch: int
    committed_seq: int
    checkpoint_seq: int
    state_hash: str


class LedgerFacts(Document):
    """What the ledger found when it compared itself with the engine, after everything was settled."""

    equal: bool | None = None
    # At which seq; it counts from `wanted_seq` on.
    equal_seq: int = 0
    wanted_seq: int = 0
    found: str = ""


class StreamFacts(Document):
    """What a client of the market's streams heard."""

    trades: int = 0
    books: int = 0
    # Within one connection.
    trade_gaps: tuple[str, ...] = ()
    book_gaps: tuple[str, ...] = ()
    crossed: tuple[str, ...] = ()
    # Why connections ended: while there is none, nobody listens.
    broken: tuple[str, ...] = ()


class HaltFacts(Document):
    """Orders in a symbol that was halted all the time."""

    symbol: str
    refused_before: int = 0
    refused_during: int = 0
    refused_after: int = 0
    accepted: int = 0
    accepted_first: tuple[str, ...] = ()


class TogetherFacts(Document):
    """The orders of clients, held against one log of each shard together: each has to be in one of them, once."""

    # Of the engines whose logs these are.
    pods: tuple[str, ...]
    compared: int
    # Acknowledged and in none, or as others; or they left a shard and did not come to the other as they were.
    lost: int = 0
    lost_first: tuple[str, ...] = ()
    # One name that was accepted more than once, wherever.
    repeated: int = 0
    repeated_first: tuple[str, ...] = ()


class ShardFacts(Document):
    """Of another shard than the rehearsal's own, which a symbol was moved to: what `Facts` has of that one."""

    shard: str
    # The last seq before the rehearsal began.
    begun_seq: int = 0
    leaders: tuple[LeaderAt, ...] = ()
    members: int = 0
    logs: tuple[LogFacts, ...] = ()
    engines: tuple[EngineStateFacts, ...] = ()
    ledger: LedgerFacts = Field(default_factory=LedgerFacts)
    status: StatusFacts | None = None


class MoveFacts(Document):
    """A move of the symbol that was asked for, and what the Symbol's status made of it."""

    symbol: str
    from_shard: str
    to_shard: str
    # As ledgers and engines know it; empty: nobody took it up.
    move: str = ""
    # Of the status: Completed, or as far as it came.
    state: str = ""
    asked_ms: int = 0
    # When the status was seen to say so; None: never.
    over_ms: int | None = None
    # Traded in neither, by the engines' clocks, and no order acknowledged, as clients saw it.
    paused_ms: int | None = None
    silent_ms: int | None = None


class Step(Document):
    """Of the scenario: when it came to its end, and what was said."""

    name: str
    at_ms: int
    said: str = ""


class Facts(Document):
    """All of it. `aborted`: why it did not come to its end; empty: it did. `blind`: what was not looked at, or not all
    the time."""

    scenario: Scenario
    lasted_ms: int
    steps: tuple[Step, ...] = ()
    aborted: str = ""
    blind: tuple[str, ...] = ()
    # When the fault was asked for, seen to bite, and gone.
    asked_ms: int | None = None
    struck_ms: int | None = None
    lifted_ms: int | None = None
    bite: Bite | None = None
    leaders: tuple[LeaderAt, ...] = ()
    members: int = 0
    load: LoadFacts = Field(default_factory=LoadFacts)
    logs: tuple[LogFacts, ...] = ()
    engines: tuple[EngineStateFacts, ...] = ()
    ledger: LedgerFacts = Field(default_factory=LedgerFacts)
    stream: StreamFacts = Field(default_factory=StreamFacts)
    halt: HaltFacts | None = None
    # Of a scenario that has such a thing. None in reports of before it was looked at, of which it decides nothing.
    under: Under | None = None
    disk_before: DiskFacts | None = None
    disk_during: DiskFacts | None = None
    status: StatusFacts | None = None
    # Of a scenario with more than one shard: the first one's name and where its log began, the others, the moves.
    shard: str = ""
    begun_seq: int = 0
    others: tuple[ShardFacts, ...] = ()
    together: TogetherFacts | None = None
    moves: tuple[MoveFacts, ...] = ()
