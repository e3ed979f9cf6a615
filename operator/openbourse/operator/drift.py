"""Whether an object is as it should be. Compares what is desired with what is there; what others added is theirs."""

import re
from decimal import Decimal
from typing import Any

from openbourse.contracts.apiserver import Object

# Where Kubernetes has amounts. Elsewhere "1.1" and "1.10" are two versions, and a hash may look like a number.
_AMOUNTS = re.compile(r"(^|\.)((requests|limits)\.[^.]+|sizeLimit)$")
_AMOUNT = re.compile(r"(?P<number>[+-]?[0-9]{1,30}(\.[0-9]{0,30})?)(?P<suffix>[KMGTPE]i|[numkMGTPE]|)")

_SUFFIXES = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
    "": Decimal(1),
}


def first_difference(desired: Any, live: Any, path: str = "") -> str | None:
    """The path of the first field that is not as desired, or None.

    A field that only the live object has is no difference, nor is an item that others added to a list of named items.
    Amounts are compared by value: the API server writes 0.5 as 500m.
    """
    match desired, live:
        case dict(), dict():
            for key, value in desired.items():
                found = first_difference(value, live.get(key), f"{path}.{key}" if path else key)
                if found is not None:
                    return found
            return None
        case list(), list():
            named = _by_name(desired), _by_name(live)
            if None not in named and desired:
                return first_difference(*named, path)
            if len(desired) != len(live):
                return path
            for index, (one, other) in enumerate(zip(desired, live, strict=True)):
                found = first_difference(one, other, f"{path}[{index}]")
                if found is not None:
                    return found
            return None
        case _:
            # An empty value is one that the API server may leave away.
            same = desired == live or (live is None and desired in ({}, [], ""))
            same = same or (_AMOUNTS.search(path) is not None and _same_amount(desired, live))
            return None if same else path


def _by_name(items: list[Any]) -> Object | None:
    if not all(isinstance(item, dict) and "name" in item for item in items):
        return None
    named = {item["name"]: item for item in items}
    return named if len(named) == len(items) else None


def _same_amount(one: object, other: object) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    first, second = amount(one), amount(other)
    return first is not None and first == second


def amount(text: str) -> Decimal | None:
    """In bytes, cores or what it counts; None: it is no amount."""
    found = _AMOUNT.fullmatch(text)
    return None if found is None else Decimal(found["number"]) * _SUFFIXES[found["suffix"]]
