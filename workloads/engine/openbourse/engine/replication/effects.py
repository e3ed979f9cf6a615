"""What a member wants done, as one value. The order of its fields is the order of carrying them out."""

from dataclasses import dataclass

from openbourse.engine.replication.messages import Message
from openbourse.engine.replication.record import Ask


@dataclass(frozen=True, slots=True)
class Write:
    """Append the entries `first` to `last` to the log and begin to make them durable."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Send:
    place: str
    message: Message


@dataclass(frozen=True, slots=True)
class Effects:
    """Nothing in here waits for anything else in here to be durable: what must, comes with the notice of it.

    1. `promise`: write it down; PromiseIsDurable follows
    2. `cut`: cut the log behind that index; CutIsDurable follows
    3. `sync`: what the boot read may be in the page cache only; LogIsDurable follows
    4. `write`: hand the entries to the log's writer; LogIsDurable follows
    5. `send`: in this order, each on the link to its place; without a link it is dropped
    6. `ask`: of the record, in place of what was asked before: an older Read is dropped, an older write abandoned
    7. `commit`: everything through that index may be released (leader) or stepped (standby)
    8. `sealed`: the promise that a recovery asked for is durable; its statement
    9. `renew`: the snapshot at that index, and a new id, take the place of the volume's log and id in one durable step,
       the promise is kept, and the process begins again
    10. `said`: the sentences of the decisions that were taken: log lines, events, conditions
    """

    promise: int | None = None
    cut: int | None = None
    sync: bool = False
    write: Write | None = None
    send: tuple[Send, ...] = ()
    ask: Ask | None = None
    commit: int | None = None
    sealed: "Statement | None" = None
    renew: int | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sealed volume holds durably. It says nothing else until the record is recovered."""

    member: str
    below: int
    last_epoch: int
    length: int


NOTHING = Effects()
