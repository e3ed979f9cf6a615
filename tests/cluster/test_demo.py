"""The demo is a test: it ends well, and its last lines say that nothing was lost, and prove it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import proving
from fixtures.clusters import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

DEMO = Path(__file__).with_name("demo.py")
DEMO_TIMEOUT_S = 600


@pytest.mark.timeout(DEMO_TIMEOUT_S + 30)
def test_from_apply_to_a_settled_trade_through_a_halt_and_a_killed_engine(cluster: Cluster) -> None:
    environment = cluster.environment | {"PYTHONPATH": str(DEMO.parents[1])}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    try:
        done = subprocess.run(
            [sys.executable, DEMO], env=environment, capture_output=True, text=True, timeout=DEMO_TIMEOUT_S, check=False
        )
    finally:
        cluster.kubectl("delete", "namespace", "demo", "demo-witness", "--ignore-not-found", "--wait=false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^trades settled [1-9]", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^acknowledged orders lost 0 of [1-9]\d\d", done.stdout, re.MULTILINE), done.stdout
    pause = re.search(r"^take-over of a killed engine, no order acknowledged for (\d+) ms", done.stdout, re.MULTILINE)
    assert pause, done.stdout
    assert int(pause[1]) < 5000, done.stdout
    assert re.search(r"^engine = ledger", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^halt acknowledged after \d+ ms", done.stdout, re.MULTILINE), done.stdout
    for seen in (
        r"main +Ready +demo-engine-main-\d +\d+ +2/2",
        r"ETHUSDT +main +HALT +halt-wallet",
        r"BTCUSDT +main +TRADING",
    ):
        assert re.search(seen, done.stdout), f"kubectl bourse status does not show {seen}:\n{done.stdout}"
    last = done.stdout.splitlines()[-len(proving.LINES) :]
    for line, wanted in zip(last, proving.LINES, strict=True):
        assert re.search(wanted, line), f"{line!r} is not {wanted}:\n{done.stdout}"
