"""What a client may ask on a stream connection, and the answers in Binance's words. Values in, values out."""

import json
from dataclasses import dataclass
from typing import Any

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
STREAMS_MOST = 1_024
NAME_LENGTH_MOST = 100
REQUEST_BYTES_MOST = 64 * 1024
ID_LENGTH_MOST = 36


@dataclass(slots=True)
class Subscriptions:
    """Of one connection, in the order in which they were made."""

    names: dict[str, None]
    combined: bool
    microseconds: bool = False


class Refused(Exception):
    def __init__(self, code: int, message: str, request_id: object = None) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        super().__init__(message)

    def as_json(self) -> dict[str, object]:
        return {"error": {"code": self.code, "msg": self.message}, "id": self.request_id}


def answer(text: str, subscriptions: Subscriptions) -> dict[str, object]:
    """The answer, when the request is carried out. A refused one changes nothing."""
    try:
        request = _parsed(text)
        return {"result": _carried_out(request, subscriptions), "id": request["id"]}
    except Refused as refusal:
        return refusal.as_json()


def _parsed(text: str) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(3, f"Invalid JSON: {error.msg.lower()} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise Refused(3, "Invalid JSON: recursion limit exceeded") from None
    if not isinstance(request, dict):
        raise Refused(2, "Invalid request: expected an object")
    request.setdefault("id", None)
    match request["id"]:
        case bool() | float() | list() | dict():
            raise Refused(2, "Invalid request: request ID must be an unsigned integer")
        case str() as name if len(name) > ID_LENGTH_MOST:
            raise Refused(2, f"Invalid request: request ID has at most {ID_LENGTH_MOST} characters")
    if "method" not in request:
        raise Refused(2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request["id"])
    if request["method"] not in METHODS:
        expected = ", ".join(f"`{method}`" for method in METHODS)
        named = str(request["method"])[:40]
        raise Refused(2, f"Invalid request: unknown variant `{named}`, expected one of {expected}", request["id"])
    return request


def _carried_out(request: dict[str, Any], subscriptions: Subscriptions) -> object:
    request_id, parameters = request["id"], request.get("params", [])
    if not isinstance(parameters, list):
        raise Refused(2, "Invalid request: params must be an array", request_id)
    match request["method"]:
        case "SUBSCRIBE":
            names = _names(parameters, request_id)
            if len(subscriptions.names.keys() | set(names)) > STREAMS_MOST:
                raise Refused(2, f"Invalid request: a connection has at most {STREAMS_MOST} streams", request_id)
            subscriptions.names.update(dict.fromkeys(names))
            return None
        case "UNSUBSCRIBE":
            for name in _names(parameters, request_id):
                subscriptions.names.pop(name, None)
            return None
        case "LIST_SUBSCRIPTIONS":
            return list(subscriptions.names)
        case "SET_PROPERTY":
            _property(parameters, 2, request_id)
            if not isinstance(parameters[1], bool):
                raise Refused(1, "Invalid value type: expected Boolean", request_id)
            subscriptions.combined = parameters[1]
            return None
        case _:
            _property(parameters, 1, request_id)
            return subscriptions.combined


def _names(parameters: list[Any], request_id: object) -> list[str]:
    if not parameters:
        raise Refused(2, "Invalid request: params must not be empty", request_id)
    for name in parameters:
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH_MOST:
            raise Refused(2, "Invalid request: a stream is named by a string", request_id)
    return parameters


def _property(parameters: list[Any], most: int, request_id: object) -> None:
    if len(parameters) > most:
        raise Refused(2, "Invalid request: too many parameters", request_id)
    if len(parameters) < most:
        raise Refused(2, "Invalid request: too few parameters", request_id)
    if not isinstance(parameters[0], str):
        raise Refused(2, "Invalid request: property name must be a string", request_id)
    if parameters[0] != "combined":
        raise Refused(0, "Unknown property", request_id)


def canonical(name: str) -> str:
    """The pace that a diff has anyway need not be said."""
    return name.removesuffix("@1000ms") if "@depth" in name else name
