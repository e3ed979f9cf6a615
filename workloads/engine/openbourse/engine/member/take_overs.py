"""How long a take-over took, as the member saw it that did it. Decides nothing, and has no clock of its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Times in seconds of one monotonic clock; None: not yet, or never. The old leader was heard last at `heard_s`.

    `known_seq` was known to be committed then, and `end_seq` is where the new leader's log ended.
    """

    heard_s: float | None = None
    suspected_s: float | None = None
    # The old leader asked for it.
    planned: bool = False
    # The same moment for people, as RFC 3339.
    at: str = ""
    led_s: float | None = None
    epoch: int = 0
    committed_s: float | None = None
    acknowledged_s: float | None = None
    known_seq: int = 0
    end_seq: int = 0

    @property
    def begun(self) -> bool:
        return self.suspected_s is not None

    def document(self) -> dict[str, object] | None:
        """`detect_ms` from the last that was heard to the suspicion; the others since the suspicion, in their order.

        `in_flight`: commands in the log of which nobody here knew whether they were answered. None: this member has
        not taken over from another one.
        """
        if self.suspected_s is None or self.led_s is None:
            return None
        took = {"led_ms": self.led_s, "committed_ms": self.committed_s, "acknowledged_ms": self.acknowledged_s}
        detect_s = 0.0 if self.heard_s is None else max(self.suspected_s - self.heard_s, 0.0)
        return {
            "at": self.at,
            "epoch": self.epoch,
            "planned": self.planned,
            "detect_ms": round(detect_s * 1000),
            **{name: round((at_s - self.suspected_s) * 1000) for name, at_s in took.items() if at_s is not None},
            "in_flight": self.end_seq - self.known_seq,
        }


class TakeOvers:
    """The one that is under way, or was the last. `on_phase` is told each phase that is over, and its seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.last = TakeOver()
        self.on_phase: list[Callable[[str, float], None]] = []
        self._clock = clock

    def suspected(self, heard_s: float | None, known_seq: int, at: str, *, planned: bool = False) -> None:
        """The leader that this member follows; `at` is now, for people. A suspicion that is repeated is none.

        `planned`: the leader hands over.
        """
        if self.last.begun:
            return
        self.last = TakeOver(heard_s=heard_s, suspected_s=self._clock(), planned=planned, known_seq=known_seq, at=at)

    def over(self) -> None:
        """Nobody is suspected any more, or somebody else was faster."""
        if self.last.begun and self.last.led_s is None:
            self.last = TakeOver()

    def led(self, end_seq: int, epoch: int) -> None:
        self.last = replace(self.last, led_s=self._clock(), end_seq=end_seq, epoch=epoch)
        if self.last.heard_s is not None and self.last.suspected_s is not None:
            self._tell("detect", self.last.suspected_s - self.last.heard_s)
        self._since("lead", self.last.led_s)

    def committed(self) -> None:
        if self.last.committed_s is None:
            self.last = replace(self.last, committed_s=self._clock())
            self._since("commit", self.last.committed_s)

    def acknowledged(self) -> None:
        """A client has its first answer."""
        self.last = replace(self.last, acknowledged_s=self._clock())
        self._since("acknowledge", self.last.acknowledged_s)

    def _since(self, phase: str, at_s: float | None) -> None:
        if at_s is not None and self.last.suspected_s is not None:
            self._tell(phase, at_s - self.last.suspected_s)

    def _tell(self, phase: str, seconds: float) -> None:
        for told in self.on_phase:
            told(phase, max(seconds, 0.0))
