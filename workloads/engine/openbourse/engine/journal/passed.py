"""A file beside the log: how far each consumer of the committed stream was when that was written down last.

A hint, which may be too low and never too high: a consumer that speaks says itself where it is.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from openbourse.contracts import durable

log = logging.getLogger(__name__)

FILE = "passed.json"


def write(folder: Path, passed: Mapping[str, int]) -> None:
    """Raises OSError."""
    durable.write(folder / FILE, json.dumps(passed).encode())


def read(folder: Path) -> dict[str, int]:
    """By name; nothing where there is none, or none that can be read."""
    try:
        document = json.loads((folder / FILE).read_bytes())
        if not isinstance(document, dict):
            raise TypeError("it is no object")
        return {str(name): _seq(value) for name, value in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read (%s): consumers count as at 0 until they are heard of", folder / FILE, error)
        return {}


def _seq(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no seq")
    return value
