"""What an engine does with the folder that it finds, and with its listings file."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.commands import ALICE, TIMEOUT_S, sell
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.listings import Listings
from openbourse.contracts.session import EngineSession
from openbourse.engine.listings import missing

pytestmark = pytest.mark.server


def refused(engine: RunningEngine) -> str:
    """What an engine says that must not start."""
    ended = subprocess.run(engine.command(), capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1, ended
    return ended.stderr


async def test_a_second_engine_on_the_same_log_is_refused(engine: RunningEngine) -> None:
    assert "in use" in refused(engine)
    assert engine.status()["ready"]


async def test_the_log_of_another_shard_is_refused(engine: RunningEngine) -> None:
    engine.stop()
    engine.shard = "other"
    assert "belongs to shard" in refused(engine)


async def _some_orders(engine: RunningEngine, count: int) -> int:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        for price_ticks in range(count):
            reply = await gateway.command(sell(30_000_00 + price_ticks, 1), TIMEOUT_S)
    return reply.seq


async def test_a_flipped_byte_in_the_middle_stops_the_engine_with_its_place(engine: RunningEngine) -> None:
    await _some_orders(engine, 5)
    engine.kill()
    (segment,) = engine.wal.glob("*.wal")
    content = bytearray(segment.read_bytes())
    content[4096 + 100] ^= 0x10
    segment.write_bytes(content)
    said = refused(engine)
    assert f"{segment.name} at offset 4096 (seq 1)" in said
    assert "wal verify" in said
    assert segment.read_bytes() == content


async def test_a_torn_tail_is_cut_and_said(engine: RunningEngine) -> None:
    seq = await _some_orders(engine, 5)
    engine.kill()
    (segment,) = engine.wal.glob("*.wal")
    content = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(content[:-30])
    engine.start()
    assert engine.status()["committed_seq"] == seq - 1
    assert "torn" in engine.log.read_text()


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))


async def _symbols(gateway: EngineSession) -> list[str]:
    answer = await gateway.query(v1.Query(listings=v1.ListingsQuery()), TIMEOUT_S)
    return [listing.definition.symbol for listing in answer.listings.symbols]


async def _until_listed(gateway: EngineSession, wanted: list[str]) -> None:
    for _ in range(200):
        if await _symbols(gateway) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{await _symbols(gateway)} are listed, not {wanted}")


async def _until_said(engine: RunningEngine, after: int, *words: str) -> None:
    for _ in range(200):
        said = engine.log.read_text()[after:]
        if all(word in said for word in words):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the engine did not say {words}: {said}")


async def test_listings_follow_their_file_also_through_swapped_links(engine_factory: EngineFactory) -> None:
    """As a ConfigMap is mounted: the file is a link into a folder that is a link, and that one is swapped."""
    engine = engine_factory()
    one, two = engine.folder / "..one", engine.folder / "..two"
    for folder in (one, two):
        folder.mkdir()
    _write(one / "listings.json", {**LISTINGS, "symbols": LISTINGS["symbols"][:1]})
    _write(two / "listings.json", LISTINGS)
    data = engine.folder / "..data"
    data.symlink_to(one.name)
    engine.listings.symlink_to("..data/listings.json")
    engine.start()
    async with engine.session(Component.GATEWAY) as gateway:
        assert await _symbols(gateway) == ["BTCUSDT"]
        swapped = engine.folder / "..swapped"
        swapped.symlink_to(two.name)
        swapped.rename(data)
        await _until_listed(gateway, ["BTCUSDT", "ETHUSDT"])


async def test_listings_that_do_not_fit_change_nothing_and_are_named_in_the_log(engine: RunningEngine) -> None:
    async with engine.session(Component.GATEWAY) as gateway:
        before = await _symbols(gateway)
        for bad, what in (
            ("{", "JSON"),
            (json.dumps({"assets": [], "symbols": LISTINGS["symbols"]}), "is not listed"),
            (json.dumps({**LISTINGS, "assets": [{**a, "scale": 7} for a in LISTINGS["assets"]]}), "scale"),
        ):
            seen = len(engine.log.read_text())
            engine.listings.write_text(bad)
            await _until_said(engine, seen, "refused", what)
            assert await _symbols(gateway) == before
        engine.kill()
        engine.start()
        assert await _symbols(gateway) == before
        fourth = {**LISTINGS["symbols"][0], "symbol": "ETHBTC", "base": "ETH", "quote": "BTC", "tickSize": "0.001"}
        _write(engine.listings, {**LISTINGS, "symbols": [*LISTINGS["symbols"], fourth]})
        await _until_listed(gateway, ["BTCUSDT", "ETHBTC", "ETHUSDT"])


async def test_what_is_listed_already_is_not_sequenced_again(engine: RunningEngine) -> None:
    seq = engine.status()["committed_seq"]
    assert seq == 1 + 3 + 2 + 1, "the kernel's version, assets, symbols, safety limits"
    engine.kill()
    engine.start()
    assert engine.status()["committed_seq"] == seq


def test_missing_is_what_differs_and_assets_come_first() -> None:
    listings = Listings.model_validate(LISTINGS)
    definitions = listings.definitions()
    listed = v1.ListingsAnswer(
        assets=[v1.DefineAsset(asset="BTC", scale=8), v1.DefineAsset(asset="USDT", scale=6)],
        symbols=[v1.SymbolListing(definition=d.definition) for d in definitions if isinstance(d, v1.DefineSymbol)],
    )
    listed.symbols[1].definition.maker_fee_ppm = 7
    assert missing(listings, listed) == [definitions[1], definitions[2], definitions[4]]


async def test_orders_of_before_the_kill_are_there_after_it(engine: RunningEngine) -> None:
    await _some_orders(engine, 3)
    engine.kill()
    engine.start()
    async with engine.session(Component.GATEWAY) as gateway:
        orders = await gateway.query(v1.Query(open_orders=v1.OpenOrdersQuery(account=ALICE)), TIMEOUT_S)
        assert [order.price_ticks for order in orders.orders.orders] == [30_000_00, 30_000_01, 30_000_02]
