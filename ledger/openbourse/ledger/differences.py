"""Two sides that should agree about a balance and do not, and how that is said. Pure."""

from dataclasses import dataclass

# Of many, the first so many are told to a person.
DIFFERENCES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sides that should agree about one balance: (available, hold) of each."""

    account: int
    asset: str
    left: tuple[int, int]
    right: tuple[int, int]

    def told(self, left: str, right: str) -> str:
        """In one line, with the names of both sides."""
        return f"account {self.account} {self.asset}: {left} {self.left}, {right} {self.right} (available, hold)"
