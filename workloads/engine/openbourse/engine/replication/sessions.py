"""What everything behind a leader refuses: sessions of an older epoch. Records of older epochs stay valid for ever.

The ledger keeps `highest` in its watermark row, a gateway and a stream's consumer in memory, a member as its promise.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Admitted:
    """`highest` is to be kept, where there is a transaction in the same one, before anything of the session is used."""

    highest: int


@dataclass(frozen=True, slots=True)
class Refused:
    said: str


def admit(highest: int, epoch: int) -> Admitted | Refused:
    """Whether a session of `epoch` may have an effect on one that has seen `highest`."""
    if epoch < highest:
        return Refused(f"refused a session of epoch {epoch}: epoch {highest} was seen")
    return Admitted(epoch)
