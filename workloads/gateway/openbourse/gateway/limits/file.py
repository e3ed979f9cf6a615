"""Files of limits of a gateway: read, changed by one writer at a time, and read again by a gateway when they change.

A file that became invalid, or went away, changes nothing: it is logged, and `/status` says so.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from openbourse.contracts import durable
from openbourse.contracts.documents import digest, first_problem
from openbourse.contracts.rate_limits import LimitsDocument, Override, RateLimits
from openbourse.gateway.limits.rules import Limits, Rules

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.25


class LimitsFileInvalid(ValueError):
    """The file says nothing that a gateway could take. Says where and why."""


class NoSuchOverride(LookupError):
    """There is no override for this."""


def read_limits(path: Path) -> LimitsDocument:
    """Raises OSError and LimitsFileInvalid."""
    return _parsed(path, path.read_bytes())


def set_defaults(path: Path, limits: RateLimits) -> None:
    """Those that are said; others stay. The file is made if need be. Raises OSError and LimitsFileInvalid."""
    _change(path, lambda now: with_defaults(now, limits))


def set_override(path: Path, override: Override) -> None:
    """In place of the one that there was. The file is made if need be. Raises OSError and LimitsFileInvalid."""
    _change(path, lambda now: with_override(now, override))


def remove_override(path: Path, subject: tuple[str, str]) -> None:
    """Raises OSError, LimitsFileInvalid, NoSuchOverride."""
    if not path.exists():
        raise NoSuchOverride("{} has no override for {} {}".format(path, *subject))
    _change(path, lambda now: without_override(now, subject))


def with_defaults(document: LimitsDocument, limits: RateLimits) -> LimitsDocument:
    return document.model_copy(update={"defaults": document.defaults.model_copy(update=limits.said())})


def with_override(document: LimitsDocument, override: Override) -> LimitsDocument:
    kept = (each for each in document.overrides if each.subject != override.subject)
    return document.model_copy(update={"overrides": (*kept, override)})


def without_override(document: LimitsDocument, subject: tuple[str, str]) -> LimitsDocument:
    """Raises NoSuchOverride."""
    kept = tuple(each for each in document.overrides if each.subject != subject)
    if len(kept) == len(document.overrides):
        raise NoSuchOverride("it has no override for {} {}".format(*subject))
    return document.model_copy(update={"overrides": kept})


def as_text(document: LimitsDocument) -> str:
    """As a gateway reads it. Raises LimitsFileInvalid."""
    text = document.model_dump_json(indent=2, by_alias=True, exclude_none=True)
    try:
        LimitsDocument.model_validate_json(text)
    except ValidationError as error:
        raise LimitsFileInvalid(first_problem(error)) from None
    return f"{text}\n"


def _change(path: Path, change: Callable[[LimitsDocument], LimitsDocument]) -> None:
    with durable.locked(path):
        changed = change(read_limits(path) if path.exists() else LimitsDocument())
        durable.write(path, as_text(changed).encode())


@dataclass(slots=True)
class _File:
    """One as it was read last. `trouble`: why it is not what is in use; empty: it is."""

    path: Path
    stamp: tuple[int, int, int]
    document: LimitsDocument
    digest: str
    trouble: str = ""

    @classmethod
    def read(cls, path: Path) -> "_File":
        """Raises OSError and LimitsFileInvalid."""
        stamp, content = durable.stamp(path), path.read_bytes()
        return cls(path, stamp, _parsed(path, content), digest(content))


class RulesOfFile:
    """`rules` as the files have them now; `run` must be running for a change, or the end of an exception, to be seen.

    Where two files say something of the same, the first one counts.
    """

    def __init__(self, limits: Limits, *paths: Path) -> None:
        """`limits` where no file says anything. Raises OSError and LimitsFileInvalid."""
        self._limits = limits
        self._files = [_File.read(path) for path in paths]
        self._next_end: datetime.datetime | None = None
        self.rules = self._rules(datetime.datetime.now(datetime.UTC))

    @property
    def trouble(self) -> str:
        """Why files are not what is in use. Empty: they are."""
        return "; ".join(file.trouble for file in self._files if file.trouble)

    def digests(self) -> dict[str, str]:
        """By path, of what is in use."""
        return {str(file.path): file.digest for file in self._files}

    async def run(self) -> None:
        """Until cancelled."""
        while self._files:
            await asyncio.sleep(CHECK_EVERY_S)
            await asyncio.to_thread(self._look, datetime.datetime.now(datetime.UTC))

    def _look(self, now: datetime.datetime) -> None:
        files = [_looked_at(file) for file in self._files]
        is_over = self._next_end is not None and now >= self._next_end
        if files == self._files and not is_over:
            return
        self._files = files
        self.rules = self._rules(now)
        log.info("limits with %d overrides are in use", self.rules.overrides)

    def _rules(self, now: datetime.datetime) -> Rules:
        document = merged([file.document for file in self._files])
        self._next_end = min(
            (o.until for o in document.overrides if o.until is not None and o.holds(now)), default=None
        )
        held = tuple(override for override in document.overrides if override.holds(now))
        return Rules(self._limits, document.model_copy(update={"overrides": held}))


def merged(documents: Sequence[LimitsDocument]) -> LimitsDocument:
    """What an earlier one says goes before what a later one says of the same."""
    defaults, overrides = RateLimits(), dict[tuple[str, str], Override]()
    for document in reversed(documents):
        defaults = defaults.model_copy(update=document.defaults.said())
        overrides |= {override.subject: override for override in document.overrides}
    return LimitsDocument.model_construct(defaults=defaults, overrides=tuple(overrides.values()))


def _looked_at(file: _File) -> _File:
    """As it is now; one that cannot be read again stays as it was, with its trouble."""
    try:
        if durable.stamp(file.path) == file.stamp and not file.trouble:
            return file
        return _File.read(file.path)
    except (OSError, LimitsFileInvalid) as error:
        if str(error) != file.trouble:
            log.error("limits are as they were, the file could not be read again: %s", error)
        return replace(file, trouble=str(error))


def _parsed(path: Path, content: bytes) -> LimitsDocument:
    try:
        return LimitsDocument.model_validate_json(content)
    except ValidationError as error:
        raise LimitsFileInvalid(f"{path}: {first_problem(error)}") from None
