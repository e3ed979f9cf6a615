"""The page's modules that decide, under Node's own test runner: book, decimals, order entry, signatures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "workloads" / "gateway" / "web"
NODE = Path(sys.executable).with_name("node")


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    assert (WEB / "node_modules").exists(), "the page's packages are not here: run make install"


def run(*command: str) -> str:
    done = subprocess.run(
        command, cwd=WEB, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_the_modules_do_what_their_tests_say() -> None:
    told = run(str(NODE), "--test", "--test-reporter=tap", "test/**/*.test.ts")
    assert "\n# pass 0\n" not in told
    assert "\n# fail 0\n" in told


def test_the_modules_have_the_types_that_they_say() -> None:
    run(str(NODE), "node_modules/typescript/bin/tsc", "--noEmit")


def test_modules_that_decide_touch_nothing() -> None:
    """No document, no socket, no clock, no chance: what a decision needs is handed to it."""
    forbidden = (
        "document",
        "window",
        "fetch(",
        "new WebSocket",
        "Date.now",
        "new Date()",
        "Math.random",
        "localStorage",
    )
    for module in (WEB / "src" / "pure").glob("*.ts"):
        found = [word for word in forbidden if word in module.read_text()]
        assert found == [], f"{module.name} has {found}"
