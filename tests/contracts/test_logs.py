"""What a process writes to stderr, by the process."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging
from openbourse.contracts import logs
logs.configure("gateway")
log = logging.getLogger("openbourse.gateway.wire")
log.info("order %d\\nplaced", 7, extra={"request_id": "edge-1"})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("request %s failed", "edge-2")
"""


def said(way: str | None) -> subprocess.CompletedProcess[str]:
    environment = {} if way is None else {"OPENBOURSE_LOGS": way}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_json_is_one_object_a_line_whatever_is_logged() -> None:
    placed, failed = (json.loads(line) for line in said("json").stderr.splitlines())
    assert placed.pop("time").startswith("20")
    assert placed == {
        "level": "INFO",
        "logger": "openbourse.gateway.wire",
        "message": "order 7\nplaced",
        "request_id": "edge-1",
        "component": "gateway",
    }
    assert (failed["level"], failed["message"]) == ("ERROR", "request edge-2 failed")
    assert "ZeroDivisionError" in failed["exc_info"]


@pytest.mark.parametrize("way", [None, "", "text"])
def test_people_get_lines(way: str | None) -> None:
    first = said(way).stderr.splitlines()[0]
    assert first.endswith(" INFO openbourse.gateway.wire order 7")


def test_another_way_ends_the_process_with_a_sentence() -> None:
    done = said("xml")
    assert (done.returncode, done.stderr) == (1, "OPENBOURSE_LOGS is 'xml': it is json or text\n")
