"""How long a take-over took, as the member saw it that did it. Decides nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakeOver:
    """When this member last heard from the leader, suspected it, led in its place, and committed something.

    None: not yet, or never.
    """

    heard_s: float | None = None
    suspected_s: float | None = None
    # The same moment for people, as RFC 3339.
    at: str = ""
    led_s: float | None = None
    epoch: int = 0
    committed_s: float | None = None

    @property
    def begun(self) -> bool:
        return self.suspected_s is not None

    def document(self) -> dict[str, object] | None:
        """Milliseconds; `detect_ms` from the last sign of life to the suspicion, the others since then.

        None: this member has not taken over from another one.
        """
        if self.suspected_s is None or self.led_s is None:
            return None
        took: dict[str, object] = {
            "at": self.at,
            "epoch": self.epoch,
            "led_ms": round((self.led_s - self.suspected_s) * 1000),
        }
        if self.heard_s is not None:
            took["detect_ms"] = round((self.suspected_s - self.heard_s) * 1000)
        if self.committed_s is not None:
            took["committed_ms"] = round((self.committed_s - self.suspected_s) * 1000)
        return took
