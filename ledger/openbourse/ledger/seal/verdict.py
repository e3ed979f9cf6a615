"""What a verification found: how much of what was checked, and what is wrong where, the first place first. Pure."""

from dataclasses import dataclass, field

# Enough for a person; the first one is what counts.
PROBLEMS_MOST = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """`place`: key, checkpoint, batch, row; as exactly as it can be known."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class Verdict:
    """Good as long as there is no problem."""

    problems: list[Problem] = field(default_factory=list)
    keys: int = 0
    checkpoints: int = 0
    leaves: int = 0
    batches: int = 0
    entries: int = 0
    balances: int = 0
    # After the last checkpoint: chained, and not signed yet.
    unsealed_batches: int = 0
    unsealed_manual: int = 0

    @property
    def good(self) -> bool:
        return not self.problems

    def wrong(self, place: str, what: str) -> None:
        if len(self.problems) < PROBLEMS_MOST:
            self.problems.append(Problem(place, what))
