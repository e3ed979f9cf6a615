"""A market that is stopped: the page says so, and why, and that it goes on again."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from fixtures.browsers import OpenPage
from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS, EngineFactory
from fixtures.gateways import running_gateway
from fixtures.ledgers import LedgerFactory, deposit, frozen
from fixtures.marketdatas import RunningMarketData
from openbourse.contracts.component import Component

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="session")]


def has_heard_the_listing(status: dict[str, Any]) -> bool:
    return status["committed_seq"] > 0 and all(
        consumer["heard"] and consumer["passed_seq"] == status["committed_seq"]
        for consumer in status["lag"]["consumers"]
    )


async def test_a_halted_market_says_so_with_its_reason_takes_no_order_and_goes_on_by_itself(
    engine_factory: EngineFactory,
    ledger_factory: LedgerFactory,
    ledger_database: LedgerDatabase,
    tmp_path: Path,
    open_page: OpenPage,
) -> None:
    """The ledger stands still, so the shard stops trading, for money that nobody books is not to move."""
    engine = engine_factory("--consumer", "ledger")
    limits = {"throttleSeconds": 1, "cancelOnlySeconds": 2, "haltSeconds": 3}
    safety = {"settlementLag": limits, "throttledOrdersPerSecond": 3}
    engine.listings.write_text(json.dumps(LISTINGS | {"safety": safety}))
    engine.start()
    ledger = ledger_factory(engine, ledger_database)
    ledger.start()
    marketdata = RunningMarketData(engine.folder, engine.tls_material, engine.address)
    try:
        marketdata.start()
        with running_gateway(
            tmp_path / "gateway",
            engine.tls_material[Component.GATEWAY],
            engine.address,
            *("--marketdata", marketdata.url),
            ledger=ledger.url,
        ) as (gateway, keys):
            gateway.wait_until_ready()
            # Before it has heard what is listed it takes no deposits.
            engine.wait_for("its ledger has heard the listing", has_heard_the_listing)
            async with ledger.client() as client:
                await deposit(client, keys[0].account, "USDT", "10000")
            async with open_page(gateway.url) as screen:
                page = screen.page
                await screen.sign_in(keys[0])
                async with frozen(ledger):
                    await screen.place("buy", "40000", "0.1")
                    await expect(page.locator("#list-open")).to_contain_text("40,000.00")
                    await expect(page.locator("#market-state")).to_have_text("Halted")
                    await expect(page.locator("#notice")).to_contain_text("Trading is halted")
                    await expect(page.locator("#notice")).to_contain_text("Reason: ")
                    await expect(page.locator("#markets tr", has_text="BTC")).to_contain_text("Halted")
                    await page.click("#submit")
                    await expect(page.locator("#order-problem")).to_contain_text("Trading is halted")
                    await page.click("#list-open button:has-text('Cancel')")
                    refused = page.locator(".toast.bad")
                    await expect(refused).to_contain_text("The market is closed for this now")
                    await expect(refused).to_contain_text("(-1013)")
                await expect(page.locator("#notice")).to_be_hidden()
                await page.click("#list-open button:has-text('Cancel')")
                await expect(page.locator("#list-open")).to_have_text("No open orders.")
    finally:
        if marketdata.process is not None:
            marketdata.stop()
