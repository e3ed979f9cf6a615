"""What members say to each other, as frames of a link and back: `replication.messages`, `v1.LinkFrame`. No sockets."""

from typing import assert_never

from openbourse.contracts import v1
from openbourse.engine.replication.history import History
from openbourse.engine.replication.messages import Ack, Append, Joined, Message, Offer, Refuse
from openbourse.engine.replication.record import Session


def frame(message: Message, records: bytes = b"") -> v1.LinkFrame:
    """`records` are those of an Append, as they lie in a segment."""
    match message:
        case Offer(epoch, leader, base):
            runs = [v1.Run(epoch=epoch, last=last) for epoch, last in base.runs]
            return v1.LinkFrame(offer=v1.Offer(epoch=epoch, member=leader.member, boot=leader.boot, base=runs))
        case Joined(epoch, member, matched):
            return v1.LinkFrame(joined=v1.Joined(epoch=epoch, member=member, matched=matched))
        case Append(epoch, after, last, commit):
            append = v1.Append(epoch=epoch, after=after, last=last, commit=commit, records=records)
            return v1.LinkFrame(append=append)
        case Ack(epoch, member, matched):
            return v1.LinkFrame(ack=v1.Ack(epoch=epoch, member=member, matched=matched))
        case Refuse(epoch, promise):
            return v1.LinkFrame(refuse=v1.RefuseSession(epoch=epoch, promise=promise))
        case _ as never:
            assert_never(never)


def message(frame: v1.LinkFrame) -> Message | None:
    """None: a Hello, or nothing that this version knows."""
    match frame.WhichOneof("frame"):
        case "offer":
            offer = frame.offer
            base = History(tuple((run.epoch, run.last) for run in offer.base))
            return Offer(offer.epoch, Session(offer.member, offer.boot), base)
        case "joined":
            return Joined(frame.joined.epoch, frame.joined.member, frame.joined.matched)
        case "append":
            append = frame.append
            return Append(append.epoch, append.after, append.last, append.commit)
        case "ack":
            return Ack(frame.ack.epoch, frame.ack.member, frame.ack.matched)
        case "refuse":
            return Refuse(frame.refuse.epoch, frame.refuse.promise)
        case _:
            return None
