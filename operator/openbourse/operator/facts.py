"""What becomes a condition, once it is known since when."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition before it is known since when."""

    type: str
    holds: bool | None
    reason: str
    message: str
