"""The traders' page in a real browser, on a real exchange: what a person sees and does."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from fixtures.browsers import DESKTOP, PHONE, OpenPage, Scheme
from fixtures.exchanges import Exchange
from fixtures.gateways import Trader
from openbourse.gateway.keys import create_key

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="session")]

FUNDS = {"BTC": "10", "USDT": "1000000"}
AXE = Path(__file__).parents[2] / "workloads" / "gateway" / "web" / "node_modules" / "axe-core" / "axe.min.js"


@asynccontextmanager
async def trading(exchange: Exchange, url: str = "") -> AsyncIterator[Trader]:
    """Somebody with funds and no page; what they leave in the book is cancelled."""
    key = exchange.funded(FUNDS)
    async with httpx.AsyncClient(base_url=url or exchange.gateway.url, timeout=20) as http:
        trader = Trader(http, key)
        try:
            yield trader
        finally:
            await trader.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")


async def placed(trader: Trader, side: str, quantity: str, price: str) -> None:
    answer = await trader.place(side, quantity, price)
    assert answer.status_code == 200, answer.text


def level(page: Page, side: str, price: str) -> Locator:
    return page.locator(f"#book-{side} .level:visible", has_text=price)


async def test_a_stranger_sees_book_trades_and_candles_as_they_happen(exchange: Exchange, open_page: OpenPage) -> None:
    async with trading(exchange) as somebody, open_page(exchange.gateway.url) as screen:
        page = screen.page
        await placed(somebody, "SELL", "0.5", "60000")
        await placed(somebody, "SELL", "0.25", "60000.5")
        await placed(somebody, "BUY", "0.4", "59990")
        await expect(level(page, "asks", "60,000.50")).to_have_text("60,000.500.250000.75000")
        await expect(level(page, "bids", "59,990.00")).to_contain_text("0.40000")
        await expect(page.locator("#spread-text")).to_have_text("Spread 10.00 (0.01%)")
        async with trading(exchange) as other:
            await placed(other, "BUY", "0.125", "60000")
        newest = page.locator("#trades li").first
        await expect(newest).to_contain_text("60,000.00")
        await expect(newest).to_contain_text("0.12500")
        await expect(level(page, "asks", "60,000.00")).to_contain_text("0.37500")
        await expect(page.locator("#fact-last")).to_have_text("60,000.00")
        await expect(page.locator("#chart-legend")).to_contain_text("C 60000.00")
        await expect(page.locator("#markets tr", has_text="BTC")).to_contain_text("60,000.00")
        await expect(page).to_have_title(re.compile("60,000.00 BTC/USDT"))


async def test_an_order_is_placed_seen_and_cancelled_and_balances_follow(
    exchange: Exchange, open_page: OpenPage
) -> None:
    async with open_page(exchange.gateway.url) as screen:
        page = screen.page
        await screen.sign_in(exchange.funded(FUNDS))
        await expect(page.locator("#available")).to_have_text("1,000,000.00 USDT")
        await screen.place("buy", "40000", "0.1")
        await expect(page.locator(".toast")).to_contain_text("Buy 0.1 BTC: in the book")
        [row] = await screen.rows("open")
        assert "BTC/USDT Buy Limit 40,000.00 0.1 0 4,000.00" in row
        await expect(level(page, "bids", "40,000.00")).to_have_class(re.compile("own"))
        await expect(page.locator("#available")).to_have_text("996,000.00 USDT")
        assert "USDT 996,000.00 4,000.00 1,000,000.00" in await screen.rows("balances")
        await page.click("#tab-open")
        await page.click("#list-open button:has-text('Cancel')")
        await expect(page.locator("#list-open")).to_have_text("No open orders.")
        await expect(page.locator("#available")).to_have_text("1,000,000.00 USDT")
        await expect(level(page, "bids", "40,000.00")).to_have_count(0)
        [row] = await screen.rows("history")
        assert row.endswith("Canceled")

        for price in ("39000", "38000"):
            await screen.place("buy", price, "0.1")
            await expect(level(page, "bids", f"{price[:2]},000.00")).to_be_visible()
        await page.click("#cancel-all")
        await expect(page.locator("#confirm-title")).to_have_text("Cancel all 2 open orders?")
        await page.click("#confirm-yes")
        await page.click("#tab-open")
        await expect(page.locator("#list-open")).to_have_text("No open orders.")


async def test_a_trade_between_two_people_is_seen_by_both_at_once(exchange: Exchange, open_page: OpenPage) -> None:
    url = exchange.gateway.url
    async with open_page(url) as seller, open_page(url, scheme="light") as buyer:
        await seller.sign_in(exchange.funded(FUNDS))
        await buyer.sign_in(exchange.funded(FUNDS))
        await seller.place("sell", "61000", "0.2")
        # The buyer takes the price and how much stands up to it from the book.
        await level(buyer.page, "asks", "61,000.00").locator("span").nth(1).click()
        await expect(buyer.page.locator("#price")).to_have_value("61000.00")
        await expect(buyer.page.locator("#quantity")).to_have_value("0.2")
        await buyer.page.click("#submit")
        await expect(buyer.page.locator(".toast")).to_contain_text("Buy 0.2 BTC: filled")
        await expect(seller.page.locator(".toast", has_text="Sold")).to_have_text(re.compile("Sold 0.2 BTC at 61000"))
        assert "Buy 61,000.00 0.2 12,200.00 0.0002 BTC Taker" in (await buyer.rows("trades"))[0]
        assert "Sell 61,000.00 0.2 12,200.00 12.20 USDT Maker" in (await seller.rows("trades"))[0]
        assert "BTC 10.1998 0.00 10.1998" in await buyer.rows("balances")
        assert "USDT 1,012,187.80 0.00 1,012,187.80" in await seller.rows("balances")
        assert "Filled" in (await seller.rows("history"))[0]


async def test_what_the_market_does_not_allow_is_said_before_it_is_sent(
    exchange: Exchange, open_page: OpenPage
) -> None:
    async with open_page(exchange.gateway.url) as screen:
        page = screen.page
        await screen.sign_in(exchange.funded(FUNDS))
        await screen.place("buy", "40000.005", "0.1")
        await expect(page.locator("#price-problem")).to_have_text(
            "Prices go in steps of 0.01 USDT: use 40,000.00 or 40,000.01."
        )
        await expect(page.locator("#price")).to_have_attribute("aria-invalid", "true")
        await expect(page.locator("#price")).to_be_focused()
        await screen.place("buy", "40000", "100")
        await expect(page.locator("#quantity-problem")).to_have_text(
            "This needs 4,000,000.00 USDT, and you have 1,000,000.00 available."
        )
        await expect(page.locator("#list-open")).to_have_text("No open orders.")


async def test_a_refusal_of_the_exchange_is_shown_in_plain_words_with_its_own(
    exchange: Exchange, open_page: OpenPage
) -> None:
    funded = exchange.funded(FUNDS)
    wrong = funded.model_copy(update={"secret": "not the secret"})
    reader = create_key(exchange.gateway.keys, account=funded.account, permissions=("USER_DATA", "USER_STREAM"))
    async with open_page(exchange.gateway.url) as screen:
        page = screen.page
        await screen.enter_key(wrong)
        problem = page.locator("#sign-in-problem")
        await expect(problem).to_contain_text("the secret is not the one that belongs to it")
        await expect(problem).to_contain_text("(-1022)")
        await page.click("#sign-in [data-close]")
        await screen.sign_in(reader)
        await screen.place("buy", "40000", "0.1")
        problem = page.locator("#order-problem")
        await expect(problem).to_contain_text("The exchange does not know this API key, or it may not do this.")
        await expect(problem).to_contain_text("the key has no permission TRADE (-2015)")
        await expect(page.locator("#list-open")).to_have_text("No open orders.")


async def test_a_key_is_kept_only_for_the_tab_and_only_when_the_trader_says_so(
    exchange: Exchange, open_page: OpenPage
) -> None:
    key = exchange.funded(FUNDS)
    kept = "JSON.stringify([Object.values(localStorage), Object.values(sessionStorage)])"
    async with open_page(exchange.gateway.url) as screen:
        page = screen.page
        sent: list[str] = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
        await screen.sign_in(key)
        assert key.secret not in await page.evaluate(kept)
        await page.reload()
        await expect(page.locator("#session")).to_have_text("Sign in")
        await page.click("#session")
        await page.check("#remember")
        await page.click("#sign-in [data-close]")
        await screen.sign_in(key)
        await page.reload()
        await expect(page.locator("#who")).to_have_text(f"Account {key.account}")
        await page.click("#session")
        await expect(page.locator("#session")).to_have_text("Sign in")
        assert key.secret not in await page.evaluate(kept)
        assert any(key.api_key in frame for frame in sent) and not any(key.secret in frame for frame in sent)


async def test_a_key_pair_of_the_browser_signs_in_once_the_exchange_knows_its_public_half(
    exchange: Exchange, open_page: OpenPage
) -> None:
    account = exchange.funded(FUNDS).account
    async with open_page(exchange.gateway.url) as screen:
        page = screen.page
        await page.click("#session")
        await page.click("input[value=ed25519]")
        await expect(page.locator("#public-key")).to_have_value(re.compile("BEGIN PUBLIC KEY"))
        public = await page.input_value("#public-key")
        key = create_key(exchange.gateway.keys, account=account, public_key=public)
        await page.fill("#api-key", key.api_key)
        # The gateway reads its keys again within half a second.
        async with asyncio.timeout(20):
            while not await page.locator("#who", has_text=f"Account {account}").count():
                if await page.locator("#sign-in-submit").is_visible():
                    await page.click("#sign-in-submit")
                await asyncio.sleep(0.3)
        await screen.place("buy", "40000", "0.1")
        assert len(await screen.rows("open")) == 1
        await page.click("#list-open button:has-text('Cancel')")
        await expect(page.locator("#list-open")).to_have_text("No open orders.")


async def test_a_gateway_that_is_killed_leaves_no_old_book_and_the_page_comes_back_by_itself(
    exchange: Exchange, open_page: OpenPage
) -> None:
    with exchange.another_gateway() as gateway:
        async with trading(exchange) as somebody, open_page(gateway.url, gateway_goes=True) as screen:
            page = screen.page
            await placed(somebody, "BUY", "1", "41000")
            await screen.sign_in(exchange.funded(FUNDS))
            await screen.place("buy", "40500", "0.1")
            await expect(level(page, "bids", "41,000.00")).to_be_visible()
            await expect(level(page, "bids", "40,500.00")).to_be_visible()
            gateway.kill()
            await expect(page.locator("#connection")).to_contain_text("econnecting")
            await expect(page.locator("#book-away")).to_be_visible()
            await expect(page.locator("#book-bids .level:visible")).to_have_count(0)
            # While nobody tells the page: the order that it showed goes, another one comes.
            await somebody.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
            await placed(somebody, "BUY", "2", "42000")
            gateway.start()
            await expect(page.locator("#connection")).to_have_text("Live")
            await expect(level(page, "bids", "42,000.00")).to_contain_text("2.00000")
            await expect(level(page, "bids", "41,000.00")).to_have_count(0)
            # Signed in as before, and what is open is known.
            [row] = await screen.rows("open")
            assert "40,500.00" in row
            await page.click("#list-open button:has-text('Cancel')")
            await expect(page.locator("#list-open")).to_have_text("No open orders.")


async def test_an_order_by_keyboard_alone(exchange: Exchange, open_page: OpenPage) -> None:
    async with open_page(exchange.gateway.url) as screen:
        page, keys = screen.page, screen.page.keyboard
        key = exchange.funded(FUNDS)
        for _ in range(40):
            await keys.press("Tab")
            if await page.evaluate("document.activeElement.id") == "session":
                break
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await keys.press("Enter")
        await expect(page.locator("#api-key")).to_be_focused()
        await keys.type(key.api_key)
        await keys.press("Tab")
        await keys.type(key.secret)
        await keys.press("Enter")
        await expect(page.locator("#who")).to_have_text(f"Account {key.account}")
        await keys.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await keys.press("Escape")
        await keys.press("b")
        await expect(page.locator("#price")).to_be_focused()
        await keys.type("43000")
        await keys.press("ArrowUp")
        await keys.press("Shift+ArrowDown")
        await expect(page.locator("#price")).to_have_value("42999.91")
        await keys.press("Tab")
        await expect(page.locator("#quantity")).to_be_focused()
        await keys.type("0.01")
        await keys.press("Enter")
        await expect(page.locator("#list-open")).to_contain_text("42,999.91")
        await keys.press("Escape")
        # From the book: the best bid is ours.
        await keys.press("k")
        await keys.press("Enter")
        await expect(page.locator("#price")).to_have_value("42999.91")
        await keys.press("x")
        await expect(page.locator("#confirm")).to_be_visible()
        await keys.press("Tab")
        await keys.press("Enter")
        await expect(page.locator("#list-open")).to_have_text("No open orders.")


@pytest.mark.parametrize("tab", ["markets", "chart", "book", "trade", "orders"])
async def test_on_a_phone_each_section_fits(exchange: Exchange, open_page: OpenPage, tab: str) -> None:
    async with trading(exchange) as somebody, open_page(exchange.gateway.url, size=PHONE) as screen:
        page = screen.page
        await placed(somebody, "BUY", "1.23456", "41000.12")
        if tab == "orders":
            await screen.sign_in(exchange.funded(FUNDS))
            await page.click("[data-go=trade]")
            await screen.place("buy", "40000", "0.1")
        await page.click(f"[data-go={tab}]")
        width, shown = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert (width, shown) == (390, 390)
        panels = [panel for panel in await page.locator(".panel").all() if await panel.is_visible()]
        assert len(panels) == (2 if tab == "book" else 1)
        for panel in panels:
            box = await panel.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
        if tab == "orders":
            await page.click("#list-open button:has-text('Cancel')")


async def test_light_and_dark_are_as_the_device_has_them_until_the_trader_says_otherwise(
    exchange: Exchange, open_page: OpenPage
) -> None:
    async def ground(page: Page) -> str:
        color: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return color

    grounds: dict[Scheme, str] = {}
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for scheme in schemes:
        async with open_page(exchange.gateway.url, scheme=scheme) as screen:
            page = screen.page
            grounds[scheme] = await ground(page)
            await page.click("#theme")
            await page.click("#theme")
            await expect(page.locator("#theme")).to_have_attribute("aria-label", "Colors: dark")
            await page.reload()
            await expect(page.locator("#symbol")).to_have_text("BTC/USDT")
            assert await ground(page) == "rgb(10, 13, 18)"
    assert grounds == {"light": "rgb(236, 239, 243)", "dark": "rgb(10, 13, 18)"}


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (DESKTOP, "light"), (PHONE, "dark"), (PHONE, "light")])
async def test_nothing_stands_in_the_way_of_those_who_see_or_hear_differently(
    exchange: Exchange, open_page: OpenPage, size: tuple[int, int], scheme: Scheme
) -> None:
    """axe-core finds nothing serious, in no section and no dialog."""
    async with trading(exchange) as somebody, open_page(exchange.gateway.url, size=size, scheme=scheme) as screen:
        page = screen.page
        await placed(somebody, "BUY", "1", "41000")
        await screen.sign_in(exchange.funded(FUNDS))
        await page.evaluate(AXE.read_text())

        async def look(at: str) -> None:
            found = await page.evaluate(
                "async () => (await axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact))"
                ".map(v => v.id + ': ' + v.nodes.map(n => n.html + ' ' + n.failureSummary).join('; '))"
            )
            assert found == [], f"{at}, {scheme}, {size}"

        for tab in ("markets", "chart", "book", "trade", "orders") if size == PHONE else ("trade",):
            if size == PHONE:
                await page.click(f"[data-go={tab}]")
            if tab == "trade":
                await screen.place("buy", "40000", "0.1")
                await expect(page.locator(".toast")).to_be_visible()
                await page.fill("#price", "1.001")
                await page.locator("#price").blur()
            await look(tab)
        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await look("help")
        await page.keyboard.press("Escape")
        await page.click("#session")
        await page.click("#session")
        await page.click("input[value=ed25519]")
        await look("sign-in")


async def test_nothing_jumps_while_the_page_fills(exchange: Exchange, open_page: OpenPage) -> None:
    async with trading(exchange) as somebody, open_page(exchange.gateway.url) as screen:
        page = screen.page
        await page.evaluate(
            "new PerformanceObserver(l => { window.moved = (window.moved ?? 0) + "
            "l.getEntries().reduce((sum, e) => sum + e.value, 0) }).observe({ type: 'layout-shift', buffered: true })"
        )
        for price in range(41_000, 41_020):
            await placed(somebody, "BUY", "0.1", str(price))
        await expect(level(page, "bids", "41,019.00")).to_be_visible()
        # Google calls less than 0.1 good, over a page's whole life.
        assert (await page.evaluate("window.moved ?? 0")) < 0.05
