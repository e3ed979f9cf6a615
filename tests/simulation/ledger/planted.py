"""Which bugs of the settler a simulated life can show, and within how many seeds each must be found."""

import contextlib
from collections.abc import Iterator

from simulation.ledger.tables import STATEMENTS, Statement, lock_watermark

from fixtures.planted_settler import PLANTED, READ_WITHOUT_A_LOCK

# Of what is planted, the rest is out of reach: no life here has a credit that nobody asked for, and contents are not
# read again. And a watermark that is only locked is as good as written: the lock's commit waits for the standby too.
BUDGETS = {
    "duplicates are compared by their keys": 100,
    "duplicates are not compared": 100,
    "an unknown outcome is taken for settled": 40,
    "of two changes of a balance the last is kept": 40,
    "fees are not netted": 40,
    "what came again moves balances again": 40,
    "any leader is followed": 60,
    "a head does not follow the one before": 40,
    "entries are committed before the watermark": 100,
    "the warning of a commit is not looked at": 100,
    "the watermark is read without its lock": 150,
    "a batch that failed is left out": 40,
    "a frozen server is waited for": 100,
    "a gap is passed over": 200,
    "events of another shard are taken": 60,
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    target, attribute, wrong = PLANTED[name]
    right = getattr(target, attribute)
    STATEMENTS[READ_WITHOUT_A_LOCK] = Statement(lock_watermark, writes=False)
    setattr(target, attribute, wrong)
    try:
        yield
    finally:
        setattr(target, attribute, right)
        del STATEMENTS[READ_WITHOUT_A_LOCK]
