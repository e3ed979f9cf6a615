"""The Rust core. Nothing here but Heartbeats touches a socket; all other I/O is the write-ahead log's."""

from collections.abc import Iterator
from os import PathLike

from openbourse.contracts import v1

# The connection of the engine's own commands: it needs no Hello and has no end.
ITSELF: int

class Fatal(Exception):
    """The engine must stop: the log is damaged, in use or of another shard, the disk failed, a replay diverged."""

class Engine:
    """Log, kernel and the protocol of connections. One thread uses it."""

    def __new__(
        cls,
        folder: str | PathLike[str],
        shard: str,
        *,
        batch_requests: int | None = None,
        ring_commands: int | None = None,
        segment_bytes: int | None = None,
    ) -> Engine:
        """Locks the folder, recovers the log and begins with the newest good snapshot. Raises Fatal."""

    def lead(self, epoch: int) -> None:
        """Begins to lead, under an epoch above `last_epoch`: carries out what the log has, committed or not.

        ITSELF may send from here on, others wait for `welcome`. Raises Fatal.
        """

    def welcome(self) -> list[tuple[int, bytes]]:
        """Serves whoever says Hello. Gives what the connections are told that waited for it."""

    def follow(self, records: bytes) -> int:
        """Appends records of the leader, those that are here already excepted. The end of the log. Raises Fatal."""

    def cut(self, last_seq: int) -> None:
        """Cuts the log behind `last_seq`, durably. Raises Fatal, also where more than that is carried out.

        It ends before `last_seq` where the disk did not have all of that yet: see `end_seq`.
        """

    def recent(self, after: int, last: int, bytes_most: int) -> tuple[int, bytes] | None:
        """The records behind `after` in whole batches, through which seq they go; None: memory begins later."""

    def commit(self, seq: int) -> None:
        """Everything through `seq` is committed, so it may be seen."""

    def advance(self, through: int, commands_most: int) -> bool:
        """Carries out so many commands of the log, none beyond `through`. Whether it is there. Raises Fatal."""

    def suspend(self, why: str | None) -> None:
        """Refuses commands for this reason, until there is none."""

    def durable_seq(self) -> int:
        """The log is durable through it. Silences the bell. Raises Fatal when the log's writer has given up."""

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(epoch, last seq) of the records that the log had at the start, or after the last cut."""

    @property
    def end_seq(self) -> int:
        """Of the log, durable or not."""

    @property
    def chain(self) -> bytes:
        """Of the last record."""

    def chain_at(self, seq: int) -> bytes | None:
        """Of that record; None where the log does not say it any more, or not yet. Raises Fatal."""

    def bell(self) -> int:
        """An eventfd that is readable when the disk has news."""

    def connect(self, connection: int, component: str, person: str = "", role: str = "") -> None:
        """A new connection, from a peer whose certificate names `component`; of a `cli` a person, and their role."""

    def disconnect(self, connection: int) -> None:
        """Its replies go nowhere from here on. Unknown ones are ignored."""

    def receive(
        self, connection: int, data: bytes
    ) -> tuple[bytes, int | None, bool, bool, tuple[int, int] | None] | None:
        """Takes bytes of a connection. None: nothing to do. Else: send at once, subscribe from seq, close, pause,
        and the seq that the peer has passed, with its number among its component's replicas."""

    def begin(self, now_us: int) -> int:
        """Makes a batch of what waits. 0: nothing to do, 1: the bell will ring, 2: collect now. Raises Fatal."""

    def collect(self) -> list[tuple[int, bytes]] | None:
        """Frames that may leave, by connection: a committed batch's, and refusals; None without them."""

    def traced(self) -> list[tuple[int, int, str]]:
        """What was collected of commands that are traced, each once: seq, when its batch began in microseconds,
        traceparent. At most 1,000 wait to be asked for; those behind them are lost."""

    def resumed(self) -> list[int]:
        """Paused connections that may be read again, each once."""

    def events(self, from_seq: int, bytes_most: int) -> tuple[int, bytes] | None:
        """A frame of committed events and its last seq; no bytes when there is nothing newer; None when they are
        too old for memory. Raises ValueError beyond the end of the log."""

    @property
    def is_idle(self) -> bool: ...
    @property
    def is_syncing(self) -> bool:
        """A batch is on its way to the disk, or waits for its segment."""

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Why commands are refused now: no_room or not_written, and what the disk said. It is asked again."""

    @property
    def warning(self) -> str | None:
        """Why the next segment could not be made ahead of need."""

    @property
    def shard(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def last_epoch(self) -> int: ...
    @property
    def committed_seq(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def pending_commands(self) -> int: ...
    @property
    def resent_commands(self) -> int:
        """That came again while this engine led, and were answered as the first time."""

    @property
    def kernel_version(self) -> int:
        """In force for the next command."""

    @property
    def next_due_us(self) -> int | None:
        """When a Tick would do something; long ago where it would at once; None: nothing waits for a time."""

    @property
    def segment(self) -> str: ...
    @property
    def snapshot_seq(self) -> int:
        """Of the snapshot that this engine began with; 0 without one."""

    @property
    def bad_snapshots(self) -> list[tuple[str, str]]:
        """Newer ones, which were passed over: the file, and why."""

    @property
    def torn(self) -> str | None:
        """The torn end that recovery cut from the log."""

    def state_hash(self) -> tuple[int, bytes]:
        """A seq, which may not be committed yet, and the hash of the state there."""

    def last_checkpoint(self) -> tuple[int, bytes] | None: ...
    @property
    def safety_configuration(self) -> bytes:
        """In force, as an encoded ConfigureSafety."""

    @property
    def safety_level(self) -> v1.SafetyLevel.ValueType: ...
    def safety_level_at(self, settlement_lag_ms: int, unpublished_commands: int) -> v1.SafetyLevel.ValueType:
        """The level that this report would bring."""

    def halts(self) -> list[tuple[str, int, int, str, list[str], str]]:
        """Each halt in force: its name, the epoch and seq of the command that imposed it, its state, the symbols that
        it names (none: all), and its reason."""

    def markets(self) -> list[tuple[str, str, str, list[str]]]:
        """All symbols that are here, those together that are in one state for one reason: the state, what holds them (a
        halt's name, safety, phase, or nothing in TRADING), the reason, the symbols."""

    def moved(self) -> list[tuple[str, str]]:
        """Symbols that are listed and are in another shard by now, each with that shard."""

class Backlog:
    """The log's records from `from_seq` on, as they lie in the segments. One thread at a time uses it."""

    def __new__(cls, folder: str | PathLike[str], from_seq: int) -> Backlog: ...
    def read(self, durable_seq: int, bytes_most: int) -> tuple[int, bytes]:
        """Some more, none beyond `durable_seq`, and through which seq they go. Raises Fatal."""

class Heartbeats:
    """Heartbeats to and from other members, by UDP, on a thread of their own: no pause of Python delays them.

    Hosts are IP addresses. What is malformed, unknown, forged or replayed is ignored, and counted.
    """

    def __new__(cls, host: str, port: int, interval_ms: int = 50) -> Heartbeats:
        """Begins. Port 0 is a free one. Raises OSError when it cannot be had, and ValueError."""

    @property
    def port(self) -> int: ...
    def watch(self, link_id: bytes, key: bytes, peer_host: str, peer_port: int) -> None:
        """Sends to the peer and listens for it: 16 and 32 random bytes that both ends of one link know, and no other.

        A peer that cannot be reached is counted and tried again. Raises ValueError, for a link that is watched too.
        """

    def forget(self, link_id: bytes) -> None:
        """Unknown ones are ignored."""

    def progress(self) -> None:
        """The loop has gone round once more: its next heartbeats carry another stamp."""

    def heard(self) -> list[tuple[bytes, int, int]]:
        """link_id, ms since its last heartbeat was heard, the stamp in it: of the links that were heard at all."""

    def counts(self) -> dict[str, int]:
        """sent, heard, malformed, unknown, forged, reflected, replayed, send_errors, receive_errors: since it began."""

    def close(self) -> None:
        """Ends the thread, within 100 ms, and frees the port. Again is fine."""

class SimulatedDisk:
    """A disk that lies, for simulations: what was not synced may be gone. Engines open it where it is mounted.

    The log's writer tries nothing before it is let go.
    """

    def __new__(cls) -> SimulatedDisk: ...
    def mount(self, folder: str | PathLike[str]) -> None:
        """Whoever opens this folder from here on gets this disk, for the log and what belongs to it."""

    @staticmethod
    def unmount(folder: str | PathLike[str]) -> None: ...
    @property
    def jobs(self) -> int:
        """What the writer was given and has not done."""

    def let_one_go(self) -> None:
        """The writer tries its job, and the engine's bell rings. There must be a job."""

    def end_after(self, steps: int) -> None:
        """After so many steps more everything is refused, as for a process that is no more."""

    def fail(self, steps: int) -> None:
        """The next steps report an error."""

    def bound(self, bytes_most: int | None) -> None:
        """What all files together may have."""

    def used_bytes(self) -> int: ...
    def misdirect(self, bytes: int) -> None:
        """The next write lands so many bytes behind its place, and is said to be where it should."""

    def spoil(self, file: str, offset: int) -> None:
        """One byte is another one from here on, durably."""

    def files(self) -> dict[str, bytes]: ...
    def after_power_loss(self, seed: int) -> SimulatedDisk:
        """As the next boot finds it: of what was not synced some sectors, by the seed."""

    def after_kill(self) -> SimulatedDisk:
        """As the next boot finds it on a machine that lived on: nothing is lost."""

class Replay:
    """Committed events out of the log, through a kernel of its own. One thread at a time uses it.

    The first step reads the newest snapshot before `from_seq`, which takes as long as that is large.
    """

    def __new__(cls, folder: str | PathLike[str], shard: str, epoch: int, from_seq: int) -> Replay: ...
    def begin(self) -> int:
        """The seq that it begins behind: of the newest good snapshot before `from_seq`, or 0. Raises Fatal."""

    @property
    def next_seq(self) -> int: ...
    @property
    def seq(self) -> int:
        """Of the last command that was stepped, or that the snapshot has."""

    def step(self, committed_seq: int, commands_most: int, bytes_most: int) -> bytes | None:
        """At most so many commands further; a frame of events once there are any wanted. Raises Fatal."""

    def advance(self, last_seq: int, commands_most: int) -> tuple[int, bytes] | None:
        """At most so many commands further, without events; stops behind a checkpoint and returns its seq and state
        hash. Raises Fatal, also where a checkpoint of the log has another state."""

    def answer(self, query: bytes) -> bytes:
        """The encoded Answer of the state that it has come to. Raises ValueError when the bytes are no Query."""

    def state_hash(self) -> tuple[int, bytes]: ...

class Kernel:
    """One shard's kernel without a log or a loop.

    A log begins with version 1. The windows say how many command ids, closed orders and closed orders' client ids are
    remembered; they are part of the state. Raises ValueError for an unknown version.
    """

    def __new__(
        cls,
        shard: str,
        *,
        version: int = 1,
        remembered_commands: int = 100_000,
        remembered_orders: int = 100_000,
        remembered_client_order_ids: int = 2_000_000,
    ) -> Kernel: ...
    @property
    def version(self) -> int:
        """In force for the next command."""

    @property
    def next_due_us(self) -> int | None:
        """When a Tick would do something; long ago where it would at once."""

    def step(self, seq: int, epoch: int, time_us: int, command: bytes) -> tuple[bytes, bytes]:
        """The encoded Reply, and the events as field 4 of an encoded Events.

        Raises ValueError when seq is not the next one, RuntimeError at a checkpoint of another state.
        """

    def answer(self, epoch: int, query: bytes) -> bytes:
        """The encoded Answer. Raises ValueError when the bytes are no Query."""

    def state_hash(self) -> bytes: ...

class Verified:
    """How far a log is good. A place is a file, an offset, the seq that must be there, and what is wrong."""

    @property
    def shard(self) -> str: ...
    @property
    def segments(self) -> list[str]: ...
    @property
    def first_seq(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def last_seq(self) -> int: ...
    @property
    def first_epoch(self) -> int: ...
    @property
    def last_epoch(self) -> int: ...
    @property
    def chain(self) -> bytes: ...
    @property
    def torn(self) -> tuple[str, int, int, str] | None: ...
    @property
    def damaged(self) -> tuple[str, int, int, str] | None: ...

def verify(folder: str | PathLike[str], shard: str | None = None) -> Verified:
    """Reads the whole log and changes nothing. Raises Fatal when it cannot be read."""

def segment_root(
    folder: str | PathLike[str], segment: str
) -> tuple[str, int, int, int, int, int, bytes, bytes, int, bytes]:
    """Of a finished segment: shard, first and last seq, first and last epoch, records, chain before it and at its end,
    bytes in use and their SHA-256. Raises Fatal when a record of it is not good."""

def make_snapshot(
    folder: str | PathLike[str], shard: str, seq: int, keep: int, behind: int
) -> tuple[str, int, int, int, list[tuple[str, str]], int]:
    """Makes the snapshot of a committed seq from an older one and the log, beside an engine or without one.

    Keeps the newest `keep`, and the newest of a seq up to `behind`. Returns file, seq, bytes, the seq the replay began
    behind, bad ones and why, oldest seq kept. Raises Fatal. One process at a time.
    """

def begin_log(folder: str | PathLike[str], shard: str, seq: int, *, segment_bytes: int | None = None) -> None:
    """Checks the snapshot of `seq`, the only thing in the folder, and begins a log behind it. Raises Fatal."""

def retain(folder: str | PathLike[str], needed_from: int) -> list[str]:
    """Recycles the signed segments that hold nothing from `needed_from` on, never the newest, beside the engine that
    writes the log. Raises Fatal."""

class Records:
    """seq, epoch, time_us, batch_first_seq, chain, command: of each record from `from_seq` up to `last_seq`.

    Raises Fatal.
    """

    def __new__(cls, folder: str | PathLike[str], from_seq: int, last_seq: int) -> Records: ...
    def __iter__(self) -> Iterator[tuple[int, int, int, int, bytes, bytes]]: ...
    def __next__(self) -> tuple[int, int, int, int, bytes, bytes]: ...
