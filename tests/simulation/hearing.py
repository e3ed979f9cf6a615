"""What our own code logs in a simulated world: noted there, and counted where it tells of a rare state."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping


class _Lines(logging.Handler):
    def __init__(self, note: Callable[[str], None], said: Mapping[str, str], seen: Counter[str]) -> None:
        super().__init__(logging.INFO)
        self._note = note
        self._said = said
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        self._note(line)
        for part, state in self._said.items():
            if part in line:
                self._seen[state] += 1


@contextlib.contextmanager
def heard(note: Callable[[str], None], said: Mapping[str, str], seen: Counter[str]) -> Iterator[None]:
    """`said`: the state that a part of a line tells of, to be counted in `seen`."""
    logger, handler = logging.getLogger("openbourse"), _Lines(note, said, seen)
    level, propagates = logger.level, logger.propagate
    try:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        logger.setLevel(level)
