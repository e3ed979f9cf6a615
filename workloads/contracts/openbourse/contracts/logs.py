"""How every process logs: lines for people, or JSON for machines where OPENBOURSE_LOGS=json says so. To stderr."""

import logging
import os
import sys
from collections.abc import Mapping

from pythonjsonlogger.json import JsonFormatter

VARIABLE = "OPENBOURSE_LOGS"
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure(component: str, environment: Mapping[str, str] = os.environ) -> None:
    """Of this process, from INFO on. What a record brings as `extra` are members of its line of JSON.

    Ends the process where the variable names another way.
    """
    way = environment.get(VARIABLE) or "text"
    handler = logging.StreamHandler(sys.stderr)
    match way:
        case "text":
            handler.setFormatter(logging.Formatter(TEXT))
        case "json":
            handler.setFormatter(_json(component))
        case _:
            raise SystemExit(f"{VARIABLE} is {way!r}: it is json or text")
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _json(component: str) -> logging.Formatter:
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"component": component},
        timestamp="time",
    )
