"""One text frame to a request, and an answer to a document, in Binance's words. Values in, values out."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from openbourse.gateway import errors, parameters
from openbourse.gateway.errors import Invalid, Refused, TooMany
from openbourse.gateway.parameters import CLIENT_ORDER_ID, LEGAL

RETURN_RATE_LIMITS = "returnRateLimits"
METHOD_LENGTH_MOST = 64
ID_MOST = 2**63 - 1

RequestId = int | str | None


class _Number(str):
    """A JSON number as it was written: no float is made of it, and what was signed is these characters."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Request:
    id: RequestId
    method: str
    # As they were sent, each as text: what was signed.
    sent: dict[str, str]


@dataclass(frozen=True, slots=True)
class Malformed:
    """`id`: what could be read of it."""

    id: RequestId
    refusal: Refused


def request_of(text: str) -> Request | Malformed:
    request_id: RequestId = None
    try:
        document = _document(text)
        request_id = _id(document)
        method = document.get("method")
        if not isinstance(method, str) or isinstance(method, _Number) or not method:
            raise Invalid(errors.MANDATORY_MISSING, "method")
        # The version may be said; there is one.
        return Request(request_id, method.removeprefix("v3/")[:METHOD_LENGTH_MOST], _sent(document.get("params", {})))
    except Refused as refusal:
        return Malformed(request_id, refusal)


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_no_number, object_pairs_hook=_each_once
        )
    except (ValueError, RecursionError):
        raise Invalid(errors.BAD_JSON, detail="a request is one JSON object") from None
    if not isinstance(document, dict):
        raise Invalid(errors.BAD_JSON, detail="a request is one JSON object")
    return document


def _no_number(_text: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(members)
    if len(names) < len(members):
        raise Invalid(errors.REPEATED_PARAMETER)
    return names


def _id(document: dict[str, Any]) -> RequestId:
    if "id" not in document:
        raise Invalid(errors.MANDATORY_MISSING, "id")
    match document["id"]:
        case None:
            return None
        case _Number() as number:
            if (
                len(number) <= len(str(-ID_MOST))
                and number.removeprefix("-").isdecimal()
                and abs(int(number)) <= ID_MOST
            ):
                return int(number)
        case str() as name:
            if LEGAL[CLIENT_ORDER_ID].fullmatch(name):
                return name
    raise Invalid(errors.ILLEGAL_CHARACTERS_IN, "id", CLIENT_ORDER_ID)


def _sent(params: Any) -> dict[str, str]:
    if not isinstance(params, dict):
        raise Invalid(errors.BAD_JSON, detail="params is a JSON object")
    sent: dict[str, str] = {}
    for name, value in params.items():
        parameters.add(sent, name, _text(name, value))
    if len(sent) > parameters.PARAMETERS_MOST:
        raise Invalid(errors.TOO_MANY_PARAMETERS, parameters.PARAMETERS_MOST, len(sent))
    return sent


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return json.dumps(value, separators=(",", ":"))
        case _:
            raise Invalid(errors.BAD_JSON, detail=f"{name[:40]!r} is neither text, a number, true, false nor a list")


def refused(request_id: RequestId, refusal: Refused, now_ms: int) -> dict[str, object]:
    error = refusal.as_json()
    if isinstance(refusal, TooMany):
        error["data"] = {"serverTime": now_ms, "retryAfter": now_ms + refusal.retry_after_s * 1000}
    return {"id": request_id, "status": refusal.status, "error": error}


def answered(request_id: RequestId, result: object) -> dict[str, object]:
    return {"id": request_id, "status": 200, "result": result}
