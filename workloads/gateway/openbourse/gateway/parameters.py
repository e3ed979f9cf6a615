"""The parameters of one request, from raw bytes to checked values. Nothing here knows an account or a market.

They come in the query string, in the body (a form or a JSON object) or in both; the query wins, as with Binance.
Values stay the text that was sent: no float is ever made of one.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import AnyStr, TypeVar
from urllib.parse import unquote_to_bytes

from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid, Word

PARAMETERS_MOST = 64
NAME_LENGTH_MOST = 40
LONG_MOST = 2**63 - 1
# A time of this and above counts microseconds: as milliseconds it would be after the year 5000.
MICROSECONDS_FROM = 10**14
TIME_MOST = 10**17

INTEGER = "^[0-9]{1,20}$"
DECIMAL = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
SYMBOL = "^[A-Z0-9-_.]{1,32}$"
CLIENT_ORDER_ID = "^[a-zA-Z0-9-_]{1,36}$"

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
LEGAL = {pattern: re.compile(pattern) for pattern in (INTEGER, DECIMAL, SYMBOL, CLIENT_ORDER_ID)}

E = TypeVar("E", bound=Enum)


def parse(query: bytes, content_type: bytes, body: bytes) -> dict[str, str]:
    """All parameters by name. Raises Invalid."""
    sent = {**_body(content_type, body), **_form(query)}
    if len(sent) > PARAMETERS_MOST:
        raise Invalid(errors.TOO_MANY_PARAMETERS, PARAMETERS_MOST, len(sent))
    return sent


def _body(content_type: bytes, body: bytes) -> dict[str, str]:
    if not body:
        return {}
    match content_type.partition(b";")[0].strip().lower():
        case b"" | b"application/x-www-form-urlencoded":
            return _form(body)
        case b"application/json":
            return _json(body)
        case _:
            raise Invalid(
                errors.NO_SUCH_CONTENT_TYPE,
                detail="a body is application/x-www-form-urlencoded or application/json",
            )


def _form(data: bytes) -> dict[str, str]:
    sent: dict[str, str] = {}
    if not data:
        return sent
    if b"%" in data or b"+" in data:
        pairs = [(_decoded(name), _decoded(value)) for name, _, value in _pairs(data.split(b"&"), b"=")]
    else:
        # What most requests are: nothing to decode, so one decode is enough.
        pairs = [(name, value) for name, _, value in _pairs(_text(data).split("&"), "=")]
    for name, value in pairs:
        add(sent, name, value)
    return sent


def _pairs(parts: list[AnyStr], equals: AnyStr) -> Iterator[tuple[AnyStr, AnyStr, AnyStr]]:
    return (part.partition(equals) for part in parts if part)


def _decoded(data: bytes) -> str:
    if _BAD_PERCENT.search(data):
        raise Invalid(errors.ILLEGAL_CHARACTERS, detail="a percent sign is followed by two hexadecimal digits")
    return _text(unquote_to_bytes(data.replace(b"+", b" ")))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Invalid(errors.ILLEGAL_CHARACTERS, detail="parameters are UTF-8") from None


def _json(data: bytes) -> dict[str, str]:
    sent: dict[str, str] = {}

    def pairs(members: list[tuple[str, object]]) -> dict[str, str]:
        for name, value in members:
            match value:
                case bool():
                    add(sent, name, "true" if value else "false")
                case str():
                    add(sent, name, value)
                case _:
                    raise Invalid(errors.BAD_JSON, detail=f"{name[:40]!r} is neither text, a number, true nor false")
        return sent

    try:
        document: object = json.loads(
            data, object_pairs_hook=pairs, parse_int=str, parse_float=str, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise Invalid(errors.BAD_JSON, detail="the body is no JSON object") from None
    # The hook gave `sent` for every object in it: what came out is `sent` only if the whole is one object.
    if document is not sent:
        raise Invalid(errors.BAD_JSON, detail="the body is no JSON object")
    return sent


def _no_number(text: str) -> str:
    raise ValueError(f"{text} is no number")


def add(sent: dict[str, str], name: str, value: str) -> None:
    if not (name.isalnum() and name.isascii() and len(name) <= NAME_LENGTH_MOST):
        raise Invalid(errors.ILLEGAL_CHARACTERS, detail="a parameter's name is letters and digits")
    if name in sent:
        raise Invalid(errors.REPEATED_PARAMETER, detail=f"{name} was sent more than once")
    if not value.isprintable():
        raise Invalid(errors.ILLEGAL_CHARACTERS, detail=f"{name} is not plain text")
    sent[name] = value


def flag_of(name: str, text: str) -> bool:
    """Raises Invalid."""
    match text:
        case "true" | "TRUE":
            return True
        case "false" | "FALSE":
            return False
        case _:
            raise Invalid(errors.BAD_VALUE, name, detail=f"{name} is true or false")


class Parameters:
    """What was sent, read by name. Every reader raises Invalid with the parameter's name."""

    __slots__ = ("_sent",)

    def __init__(self, sent: Mapping[str, str]) -> None:
        self._sent = sent

    def check_names(self, known: Collection[str], unsupported: Collection[str] = ()) -> None:
        """Refuses what is not known here: a parameter that nobody reads would be a wish that nobody heard."""
        if all(name in known for name in self._sent):
            return
        for name in self._sent:
            if name in unsupported:
                raise Invalid(errors.NOT_REQUIRED, name, detail=f"{name} is not supported")
        unknown = [name for name in self._sent if name not in known]
        if not known:
            raise Invalid(errors.TOO_MANY_PARAMETERS, 0, len(self._sent))
        raise Invalid(
            errors.UNREAD_PARAMETERS,
            len(self._sent) - len(unknown),
            len(self._sent),
            detail=f"unknown: {', '.join(unknown[:5])}",
        )

    def optional(self, name: str, pattern: str | None = None) -> str | None:
        value = self._sent.get(name)
        if value is None:
            return None
        if not value:
            raise Invalid(errors.EMPTY_PARAMETER, name)
        if pattern is not None and LEGAL[pattern].fullmatch(value) is None:
            raise Invalid(errors.ILLEGAL_CHARACTERS_IN, name, pattern)
        return value

    def mandatory(self, name: str, pattern: str | None = None) -> str:
        if not self._sent.get(name):
            raise Invalid(errors.MANDATORY_MISSING, name)
        value = self.optional(name, pattern)
        assert value is not None
        return value

    def optional_integer(self, name: str, most: int = LONG_MOST) -> int | None:
        text = self.optional(name, INTEGER)
        if text is None:
            return None
        if int(text) > most:
            raise Invalid(errors.VALUE_TOO_GREAT, name, most)
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """As Binance does, more than the most is the most; less than 1 is a mistake."""
        limit = self.optional_integer("limit")
        if limit is None:
            return default
        if limit < 1:
            raise Invalid(errors.BAD_VALUE, "limit", detail=f"limit is 1 to {most}")
        return min(limit, most)

    def time_ms(self, name: str) -> int | None:
        """Milliseconds from milliseconds or microseconds, told apart by their size."""
        time = self.optional_integer(name, TIME_MOST)
        return time // 1000 if time is not None and time >= MICROSECONDS_FROM else time

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self.optional(name)
        return default if text is None else flag_of(name, text)

    def choice(self, name: str, choices: Mapping[str, E], wrong: Word) -> E:
        value = self.mandatory(name)
        if value not in choices:
            raise Invalid(wrong, detail=f"{name} is one of {', '.join(choices)}")
        return choices[value]

    def names(self, name: str) -> list[str] | None:
        """A JSON array of names, as `symbols=["BTCUSDT","ETHUSDT"]`, or one name alone."""
        text = self.optional(name)
        if text is None:
            return None
        if not text.startswith("["):
            return [text]
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid(errors.ILLEGAL_CHARACTERS_IN, name, '^\\["[A-Z0-9-_.]{1,32}"(,...)*\\]$') from None
        if not listed or not all(isinstance(item, str) for item in listed):
            raise Invalid(errors.BAD_VALUE, name, detail=f"{name} is a list of names")
        return list(listed)
