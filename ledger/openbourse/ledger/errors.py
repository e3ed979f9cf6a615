"""What can go wrong in the ledger, by whose fault it is and what to do.

LedgerError
├── Invalid        the caller's: change the request, asking again never helps
├── Conflict       the caller's: this id is already used for something else
├── Diverged       nobody's to retry: the stream and the books contradict each other, settlement stops for a person
├── StaleSession   the sender is no longer the leader: drop the session, find the newer one
└── Unavailable    later: the database or the engine is away, or the outcome is unknown; do the same again
"""


class LedgerError(Exception):
    """A sentence that says what is the case and, where somebody can do something, what is allowed."""


class Invalid(LedgerError):
    """Permanent."""


class Conflict(LedgerError):
    """Permanent."""


class Diverged(LedgerError):
    """A duplicate with other content, a gap, legs that do not balance: never skipped, never repaired by itself."""


class StaleSession(LedgerError):
    """Events that came from a leader of an older epoch than one that was settled from before."""


class Unavailable(LedgerError):
    """Transient. What was asked may or may not have happened; asking again is safe."""
