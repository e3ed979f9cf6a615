"""How long a take-over took, as the member saw it that did it. Decides nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakeOver:
    """When this member suspected the leader, led in its place, and committed something; None: not yet, or never."""

    suspected_s: float | None = None
    led_s: float | None = None
    committed_s: float | None = None

    @property
    def begun(self) -> bool:
        return self.suspected_s is not None

    def document(self) -> dict[str, int] | None:
        """Milliseconds since the suspicion. None: this member has not taken over from another one."""
        if self.suspected_s is None or self.led_s is None:
            return None
        took = {"led_ms": round((self.led_s - self.suspected_s) * 1000)}
        if self.committed_s is not None:
            took["committed_ms"] = round((self.committed_s - self.suspected_s) * 1000)
        return took
