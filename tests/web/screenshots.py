"""`make screenshots`: pictures of the traders' page, of a live exchange with a market, into docs/images.

Starts `openbourse local --market` in a folder of its own, lets it trade for a while, and trades a little itself.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from fixtures.browsers import DESKTOP, FLAGS, PHONE, Scheme
from fixtures.processes import free_address

IMAGES = Path(__file__).parents[2] / "docs" / "images"
OPENBOURSE = str(Path(sys.executable).with_name("openbourse"))
READY_S = 180.0
# Until there are candles to look at.
TRADED_S = 200.0
SETTLED_MS = 1_500


def wait_until_ready(screen: Path, process: subprocess.Popen[bytes]) -> str:
    """What it printed."""
    deadline = time.monotonic() + READY_S
    while "Ctrl-C ends it" not in (text := screen.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the exchange did not start:\n{text}")
        time.sleep(0.2)
    return text


async def sign_in(page: Page, key: str, secret: str) -> None:
    await page.click("#session")
    await page.fill("#api-key", key)
    await page.fill("#secret", secret)
    await page.click("#sign-in-submit")
    await page.locator("#who", has_text="Account").wait_for()


async def rest_in_the_book(page: Page, side: str, levels: str, away: int, quantity: str) -> None:
    await page.click(f".sides .{side} input")
    await page.locator(f"#book-{levels} .level:visible span:first-child").nth(away).click()
    await page.fill("#quantity", quantity)
    await page.click("#submit")
    await page.wait_for_timeout(SETTLED_MS)


async def picture(
    browser: Browser, url: str, name: str, size: tuple[int, int], scheme: Scheme, keys: list[str]
) -> None:
    width, height = size
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(f"{url}/#BTCUSDT")
    await page.click("#intervals label:has-text('1s') input")
    if keys:
        await sign_in(page, *keys)
        await rest_in_the_book(page, "buy", "bids", 5, "0.05")
        await rest_in_the_book(page, "sell", "asks", 4, "0.08")
        await page.click(".sides .buy input")
        await page.click("[name=kind][value=MARKET]")
        await page.fill("#quantity", "0.012")
        await page.click("#submit")
        await page.wait_for_timeout(SETTLED_MS)
        await page.click("[name=kind][value=LIMIT]")
        await page.fill("#quantity", "0.1")
    await page.wait_for_timeout(2 * SETTLED_MS)
    await page.evaluate("document.getElementById('toasts').replaceChildren()")
    await page.mouse.move(0, 0)
    await page.screenshot(path=IMAGES / f"{name}.png")
    await context.close()


async def pictures(url: str, keys: list[str]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        await picture(browser, url, "page-dark", DESKTOP, "dark", keys)
        await picture(browser, url, "page-light", DESKTOP, "light", keys)
        await picture(browser, url, "page-phone", PHONE, "dark", [])
        await browser.close()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="screenshots-"))
    screen = folder / "screen"
    port = free_address().port
    command = [OPENBOURSE, "local", "--market", "--data", str(folder / "data"), "--port", str(port)]
    try:
        with screen.open("wb") as output:
            process = subprocess.Popen(command, stderr=output, start_new_session=True)
        try:
            printed = wait_until_ready(screen, process)
            time.sleep(TRADED_S)
            key = re.search(r"alice +account \d+\n +key +(\w+)\n +secret +(\w+)", printed)
            assert key is not None, printed
            asyncio.run(pictures(f"http://127.0.0.1:{port}", list(key.groups())))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
