"""What members say to each other, as frames of a link and back: `replication.messages`, `v1.LinkFrame`. No sockets."""

from collections.abc import Iterable
from typing import assert_never

from openbourse.contracts import v1
from openbourse.engine.replication.history import History
from openbourse.engine.replication.messages import (
    Ack,
    Append,
    Differs,
    Joined,
    Message,
    Offer,
    Refuse,
    Release,
    Snapshot,
)
from openbourse.engine.replication.record import Session


def frame(message: Message, records: bytes = b"", chain: bytes = b"") -> v1.LinkFrame:
    """`records` are those of an Append, as they lie in a segment; `chain` is that of the log at Joined.matched."""
    match message:
        case Offer(epoch, leader, base):
            offer = v1.Offer(epoch=epoch, member=leader.member, boot=leader.boot, base=runs(base))
            return v1.LinkFrame(offer=offer)
        case Joined(epoch, member, matched):
            return v1.LinkFrame(joined=v1.Joined(epoch=epoch, member=member, matched=matched, chain=chain))
        case Append(epoch, after, last, commit):
            append = v1.Append(epoch=epoch, after=after, last=last, commit=commit, records=records)
            return v1.LinkFrame(append=append)
        case Ack(epoch, member, matched):
            return v1.LinkFrame(ack=v1.Ack(epoch=epoch, member=member, matched=matched))
        case Refuse(epoch, promise):
            return v1.LinkFrame(refuse=v1.RefuseSession(epoch=epoch, promise=promise))
        case Differs(epoch, matched):
            return v1.LinkFrame(differs=v1.ChainDiffers(epoch=epoch, matched=matched))
        case Release(epoch, last, in_sync, version):
            release = v1.Release(epoch=epoch, last=last, in_sync=sorted(in_sync), version=version)
            return v1.LinkFrame(release=release)
        case Snapshot():
            raise AssertionError("a snapshot comes in pieces, and is handed in when it is whole")
        case _ as never:
            assert_never(never)


def message(frame: v1.LinkFrame) -> Message | None:
    """None: nothing that members decide by: a Hello, a piece of a snapshot, or what this version does not know."""
    match frame.WhichOneof("frame"):
        case "offer":
            offer = frame.offer
            return Offer(offer.epoch, Session(offer.member, offer.boot), history(offer.base))
        case "joined":
            return Joined(frame.joined.epoch, frame.joined.member, frame.joined.matched)
        case "append":
            append = frame.append
            return Append(append.epoch, append.after, append.last, append.commit)
        case "ack":
            return Ack(frame.ack.epoch, frame.ack.member, frame.ack.matched)
        case "refuse":
            return Refuse(frame.refuse.epoch, frame.refuse.promise)
        case "differs":
            return Differs(frame.differs.epoch, frame.differs.matched)
        case "release":
            release = frame.release
            return Release(release.epoch, release.last, frozenset(release.in_sync), release.version)
        case _:
            return None


def runs(history: History) -> list[v1.Run]:
    return [v1.Run(epoch=epoch, last=last) for epoch, last in history.runs]


def history(runs: Iterable[v1.Run]) -> History:
    return History(tuple((run.epoch, run.last) for run in runs))
