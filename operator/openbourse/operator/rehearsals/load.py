"""Clients of the gateway while a rehearsal goes on: orders at a steady rate, and a listener of the market's streams.

It does what traders do, in the words of their wire, and nothing that they could not. What it hears it writes down.
"""

import asyncio
import contextlib
import hmac
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from openbourse.contracts.resources.rehearsal import RehearsalLoad
from openbourse.operator.rehearsals.acknowledgements import NAMED_MOST, Acknowledgements
from openbourse.operator.rehearsals.facts import HaltFacts, StreamFacts

SENDERS = 16
# More than a gateway waits for its engine.
TIMEOUT_S = 15.0
# A symbol that is halted is asked for so often.
HALT_EVERY_S = 0.2
AGAIN_S = 0.1
ANSWER_BYTES = 64 * 1024
# The prices of one side meet those of the other: most orders trade.
SPREAD = 5

Clock = Callable[[], int]
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Of an account that is for rehearsals."""

    api_key: str
    secret: str

    @classmethod
    def all_of(cls, text: str) -> list["ApiKey"]:
        """Of a file that `openbourse keys create` made. Raises ValueError."""
        try:
            found = [cls(key["api_key"], key["secret"]) for key in json.loads(text)["keys"] if key.get("secret")]
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"keys.json is no file of keys: {type(error).__name__} {error}") from None
        if not found:
            raise ValueError("keys.json has no key with a secret: make one with openbourse keys create")
        return found


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where it is, and through what it is asked."""

    url: str
    http: aiohttp.ClientSession

    async def place(self, key: ApiKey, **terms: str) -> dict[str, Any]:
        """The answer, an acknowledgement or a refusal with its `code`. Raises one of _BROKEN, and ValueError."""
        query = urlencode({**terms, "timestamp": str(time.time_ns() // 1_000_000)})
        signature = hmac.digest(key.secret.encode(), query.encode(), "sha256").hex()
        async with self.http.post(
            f"{self.url}/api/v3/order?{query}&signature={signature}",
            headers={"X-MBX-APIKEY": key.api_key},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        ) as response:
            answer = json.loads(await response.content.read(ANSWER_BYTES))
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer


class Trading:
    """Orders in one symbol. `prefix` begins the name of each: by that the log is asked for them."""

    def __init__(self, gateway: Gateway, keys: list[ApiKey], wanted: RehearsalLoad, prefix: str, clock: Clock) -> None:
        self.heard = Acknowledgements()
        self._gateway = gateway
        self._keys = keys
        self._wanted = wanted
        self._prefix = prefix
        self._clock = clock
        self._numbers = itertools.count()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and the last answers are there."""
        async with asyncio.TaskGroup() as tasks:
            for sender in range(SENDERS):
                tasks.create_task(self._send(sender, stop))

    async def _send(self, sender: int, stop: asyncio.Event) -> None:
        """One order after another, each in its turn; a turn that was missed is not caught up."""
        every_s = SENDERS / self._wanted.orders_per_second
        turn_s = time.monotonic() + every_s * sender / SENDERS
        while not stop.is_set():
            await _pause(stop, turn_s - time.monotonic())
            if stop.is_set():
                return
            await self._place(self._keys[sender % len(self._keys)])
            turn_s = max(turn_s + every_s, time.monotonic())

    async def _place(self, key: ApiKey) -> None:
        number = next(self._numbers)
        name = f"{self._prefix}{number}"
        # Both sides in turn over a few prices, the same in every rehearsal.
        terms = {
            "symbol": self._wanted.symbol,
            "side": "BUY" if (number * 7) % 11 % 2 else "SELL",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": self._wanted.quantity,
            "price": str(int(self._wanted.price) + number * 3 % SPREAD),
            "newClientOrderId": name,
        }
        self.heard.asked += 1
        sent_ms = self._clock()
        try:
            answer = await self._gateway.place(key, **terms)
        except (*_BROKEN, ValueError) as error:
            self.heard.unanswer(f"{type(error).__name__} {error}", self._clock())
            await asyncio.sleep(AGAIN_S)
            return
        if isinstance(answer.get("orderId"), int):
            self.heard.acknowledged(name, answer["orderId"], self._clock(), sent_ms)
        else:
            self.heard.refuse(f"{answer.get('code')} {answer.get('msg')}", self._clock())
            await asyncio.sleep(AGAIN_S)


@dataclass(slots=True)
class HaltedOrders:
    """Orders in a symbol that is halted. An answer that did not come is neither."""

    symbol: str
    refused_ms: list[int] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def facts(self, asked_ms: int | None, lifted_ms: int | None) -> HaltFacts:
        asked, lifted = asked_ms or 0, lifted_ms or 0
        return HaltFacts(
            symbol=self.symbol,
            refused_before=sum(at_ms < asked for at_ms in self.refused_ms),
            refused_during=sum(asked <= at_ms < lifted for at_ms in self.refused_ms),
            refused_after=sum(at_ms >= lifted for at_ms in self.refused_ms) if lifted_ms is not None else 0,
            accepted=len(self.accepted),
            accepted_first=tuple(self.accepted[:NAMED_MOST]),
        )

    async def run(
        self,
        gateway: Gateway,
        key: ApiKey,
        *,
        wanted: RehearsalLoad,
        prefix: str,
        clock: Clock,
        stop: asyncio.Event,
    ) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            name = f"{prefix}{number}"
            terms = {"symbol": self.symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": wanted.price}
            with contextlib.suppress(*_BROKEN, ValueError):
                answer = await gateway.place(key, **terms, quantity=wanted.quantity, newClientOrderId=name)
                if "orderId" in answer:
                    self.accepted.append(name)
                elif "code" in answer:
                    self.refused_ms.append(clock())
            await _pause(stop, HALT_EVERY_S)


class Listening:
    """A client of the streams of trades and of the book. Within one connection nothing may be missing."""

    def __init__(self, gateway: Gateway, symbol: str) -> None:
        self._gateway = gateway
        self._name = symbol.lower()
        self._trades = 0
        self._books = 0
        self._trade_gaps: list[str] = []
        self._book_gaps: list[str] = []
        self._broken: list[str] = []

    def facts(self) -> StreamFacts:
        return StreamFacts(
            trades=self._trades,
            books=self._books,
            trade_gaps=tuple(self._trade_gaps[:NAMED_MOST]),
            book_gaps=tuple(self._book_gaps[:NAMED_MOST]),
            broken=tuple(self._broken[:NAMED_MOST]),
        )

    async def run(self, stop: asyncio.Event) -> None:
        url = f"{self._gateway.url}/stream?streams={self._name}@trade/{self._name}@depth@100ms"
        while not stop.is_set():
            try:
                async with self._gateway.http.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)) as socket:
                    ended = asyncio.create_task(stop.wait())
                    hearing = asyncio.create_task(self._hear(socket))
                    await asyncio.wait({ended, hearing}, return_when=asyncio.FIRST_COMPLETED)
                    for task in (ended, hearing):
                        task.cancel()
                    results = await asyncio.gather(ended, hearing, return_exceptions=True)
                    for result in results:
                        if isinstance(result, Exception):
                            raise result
                if not stop.is_set():
                    self._broken.append("the gateway closed the stream")
            except _BROKEN as error:
                self._broken.append(f"{type(error).__name__} {error}")
                await _pause(stop, AGAIN_S)

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        last_trade: int | None = None
        last_update: int | None = None
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            data = json.loads(message.data)["data"]
            match data.get("e"):
                case "trade":
                    self._trades += 1
                    self._trade_gaps += _gap("trade", last_trade, data["t"])
                    last_trade = data["t"]
                case "depthUpdate":
                    self._books += 1
                    self._book_gaps += _gap("update", last_update, data["U"])
                    last_update = data["u"]


def _gap(what: str, last: int | None, first: int) -> Iterator[str]:
    if last is not None and first != last + 1:
        yield f"{what} {first} after {last}"


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """So long, or until `stop`."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
