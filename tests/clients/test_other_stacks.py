"""Bots of other makers, as their registries have them, with nothing changed but their addresses: npm's `binance`, and
the unicorn-binance packages. Start, exchange info, orders, the account's stream, a book. Each is a process of its own.
"""

import asyncio
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.figures import Show
from fixtures.gateways import FUNDS, Venue, credit

pytestmark = [pytest.mark.server, pytest.mark.timeout(360)]

HERE = Path(__file__).parent
NODE = HERE / "node"
BIN = Path(sys.executable).parent
INSTALLED_S, DONE_S = 150.0, 160.0


async def run(*words: str | Path, cwd: Path, within_s: float) -> str:
    """What it prints. Fails with what it says on stderr when it ends with anything but 0."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        *words, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(within_s):
            said, complained = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complained.decode()[-4000:]
    return said.decode()


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Installed once for each lock file, in the cache."""
    lock = (NODE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("OPENBOURSE_CACHE", Path.home() / ".cache/openbourse"))
    folder = cache / f"node-clients-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE / name, made)
        quiet = ("--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error")
        asyncio.run(run("npm", "ci", *quiet, cwd=made, within_s=INSTALLED_S))
        try:
            made.rename(folder)
        except OSError:
            # Another process was quicker.
            assert folder.exists()
    return folder / "node_modules"


async def seen(venue: Venue, *words: str | Path, cwd: Path) -> Any:
    """By a bot that is told where the gateway is, and has a key of an account with funds."""
    key = venue.unused.pop()
    await credit(venue.engine, key.account, FUNDS)
    told = (str(venue.gateway.address), key.api_key, key.secret)
    return json.loads(await run(*words, *told, cwd=cwd, within_s=DONE_S))


async def test_npms_binance_trades_hears_and_keeps_a_book(
    venue: Venue, node_modules: Path, tmp_path: Path, show: Show
) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    script = shutil.copy(NODE / "binance.js", tmp_path)
    book = (await seen(venue, "node", script, cwd=tmp_path))["book"]
    version = json.loads((node_modules / "binance/package.json").read_text())["version"]
    show(f"npm binance {version}: {book['levels']} levels equal to the engine's after {book['diffs']} diffs")
    assert book["diffs"] >= 2
    assert book["levels"] >= 40


async def test_the_unicorn_binance_packages_trade_hear_and_keep_a_book(
    venue: Venue, tmp_path: Path, show: Show
) -> None:
    book = (await seen(venue, sys.executable, HERE / "unicorn_bot.py", cwd=tmp_path))["book"]
    version = importlib.metadata.version("unicorn-binance-local-depth-cache")
    show(f"unicorn-binance-local-depth-cache {version}: {book['levels']} levels equal to the engine's")
    assert book["levels"] >= 10
