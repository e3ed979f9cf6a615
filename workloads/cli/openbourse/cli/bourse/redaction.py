"""What is secret, taken out of what is given to others: values that are known, and what looks like a secret.

Values in, text out. Nothing here reads a cluster. It rather takes too much: an archive is for finding faults.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from openbourse.contracts.apiserver import Object

REDACTED = "[redacted]"
# Shorter ones are words: `true`, `admin`, `5432`.
KNOWN_LENGTH_MIN = 6
_DEPTH_MAX = 20

# Of values that are secret. `databaseSecret` and `secretName` are names of Secrets, which are needed to find a fault.
_WORDS = r"pass(?:word|wd)?|pwd|secret|token|api[-_]?key|private[-_]?key|credential|authorization|signature|dsn|pin"
_PATTERNS = (
    # A key of whatever kind.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    # The password of an address with a user: a DSN, Redis, a proxy.
    (re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+@"), rf"\g<before>{REDACTED}@"),
    # Tokens of service accounts and of sign-in.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\g<before>{REDACTED}"),
    # `password=...`, `"secret": "..."`, `signature` of a request.
    (
        re.compile(
            rf"(?P<before>\b[\w-]*(?:{_WORDS}|{_WORDS.upper()}|Authorization|Password)[\"']?\s*[:=]\s*)"
            r"(?P<quote>[\"']?)[^\s\"',&;}]+"
        ),
        rf"\g<before>\g<quote>{REDACTED}",
    ),
)
_NAMED = re.compile(_WORDS, re.IGNORECASE)


class Redactor:
    """`known`: values that are secret wherever they stand."""

    def __init__(self, known: Iterable[str]) -> None:
        values = sorted({value for value in known if len(value) >= KNOWN_LENGTH_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def secrets_in(value: str) -> Iterator[str]:
    """What of a Secret's value is secret where it stands alone: itself, its lines, and the texts of a JSON document."""
    yield value.strip()
    yield from (line.strip() for line in value.splitlines())
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return
    yield from _texts(document, _DEPTH_MAX)


def without_secrets(item: Object) -> Object:
    """An object as it may be seen: a Secret by the names of its keys, and no value of the environment that is named so.

    What kubectl and field managers keep in its metadata is left away; the first has whole objects in it.
    """
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key != "managedFields"}
    if "annotations" in metadata:
        last = "kubectl.kubernetes.io/last-applied-configuration"
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != last}
    shown = item | {"metadata": metadata}
    if item.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if field in item:
                shown[field] = dict.fromkeys(item[field], REDACTED)
        return shown
    cleaned: Object = _environment(shown, _DEPTH_MAX)
    return cleaned


def _environment(value: Any, depth: int) -> Any:
    if depth == 0:
        return REDACTED
    match value:
        case dict():
            if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):
                return value | ({"value": REDACTED} if _NAMED.search(value["name"]) else {})
            return {key: _environment(entry, depth - 1) for key, entry in value.items()}
        case list():
            return [_environment(entry, depth - 1) for entry in value]
        case _:
            return value


def _texts(document: Any, depth: int) -> Iterator[str]:
    if depth == 0:
        return
    match document:
        case str():
            yield document
        case dict():
            for value in document.values():
                yield from _texts(value, depth - 1)
        case list():
            for value in document:
                yield from _texts(value, depth - 1)
