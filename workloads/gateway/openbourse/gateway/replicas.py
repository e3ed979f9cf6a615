"""The market data of one shard where several keep it: who is asked, in which order, and what if one does not answer.

Each replica says how it stands once a second. One that is level goes before one that is behind, one whose history is
whole before one that began late. Questions change nothing, so one may be asked twice.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from openbourse.gateway.renewed_pool import RenewedPool

log = logging.getLogger(__name__)

CONNECT_S = 1.0
TIMEOUT_S = 5.0
# Who has not answered by then is not waited for alone: another one is asked as well.
COMPANY_AFTER_S = 0.5
LOOK_EVERY_S = 1.0
LOOK_WITHIN_S = 2.0
# One that is there and has no answer yet is left alone for so long.
AGAIN_S = 0.1
CONNECTIONS_MOST = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica said of itself; `why` it had better not be asked, if another can be."""

    begins_seq: int = 1
    away: bool = False
    why: str = ""

    @property
    def order(self) -> tuple[bool, bool, int]:
        """The lowest is asked first."""
        return self.away, bool(self.why), self.begins_seq


class Replica:
    """One of them, over mutual TLS."""

    def __init__(self, url: str, tls: ssl.SSLContext, said: Callable[[], None]) -> None:
        """`said` is called when it stands otherwise than before."""
        self.url = url
        self._said = said
        # Until it says something, it is worth a try.
        self.standing = Standing()
        self.http = httpx.AsyncClient(
            base_url=url,
            transport=RenewedPool(tls, CONNECTIONS_MOST),
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
        )

    async def get(
        self, path: str, sent: Mapping[str, str], headers: Mapping[str, str]
    ) -> httpx.Response | httpx.HTTPError:
        """The answer, or why there is none."""
        try:
            answer = await self.http.get(path, params=sent, headers=headers)
            return answer.raise_for_status()
        except httpx.TransportError as error:
            self.leave(type(error).__name__)
            return error
        except httpx.HTTPError as error:
            return error

    def leave(self, why: str) -> None:
        """Another one goes before it, until it says how it stands."""
        self._say(Standing(self.standing.begins_seq, away=True, why=why))

    async def look(self) -> None:
        """How it stands now."""
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                said = (await self.http.get("/v1/standing")).raise_for_status().json()
            self._say(Standing(int(said["beginsSeq"]), why=str(said["behind"])))
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError) as error:
            self.leave(type(error).__name__)

    def _say(self, standing: Standing) -> None:
        if standing.away != self.standing.away or bool(standing.why) != bool(self.standing.why):
            log.warning("market data at %s: %s", self.url, standing.why or "level")
        self.standing = standing
        self._said()


class Replicas:
    def __init__(self, urls: Sequence[str], tls: ssl.SSLContext) -> None:
        self.all = tuple(Replica(url, tls, self._look_around) for url in urls)
        self._there = asyncio.Event()
        self._look_around()

    def _look_around(self) -> None:
        if all(replica.standing.away for replica in self.all):
            self._there.clear()
        else:
            self._there.set()

    def in_order(self) -> list[Replica]:
        """Who is to be asked first; of equals the first that was named."""
        return sorted(self.all, key=lambda replica: replica.standing.order)

    def is_outdone(self, followed: Replica) -> bool:
        """It is behind, and another one is level."""
        return bool(followed.standing.why) and not all(replica.standing.why for replica in self.all)

    async def run(self) -> None:
        """Keeps looking how each stands, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for replica in self.all:
                tasks.create_task(_keep_looking(replica))

    async def come(self, within_s: float) -> bool:
        """Whether one is there, at once or within that time."""
        if within_s <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.sleep(AGAIN_S)
                await self._there.wait()
                return True
        return False

    async def get(self, path: str, sent: Mapping[str, str], headers: Mapping[str, str]) -> httpx.Response:
        """The first good answer, for which one after the other is asked. Raises httpx.HTTPError, the last one's."""
        order, asked = deque(self.in_order()), set[asyncio.Task[httpx.Response | httpx.HTTPError]]()
        failure = httpx.HTTPError("there are no market data")
        async with asyncio.TaskGroup() as tasks:
            while order or asked:
                if order:
                    asked.add(tasks.create_task(order.popleft().get(path, sent, headers)))
                wait_s = COMPANY_AFTER_S if order else None
                done, asked = await asyncio.wait(asked, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    found = task.result()
                    if isinstance(found, httpx.Response):
                        for other in asked:
                            other.cancel()
                        return found
                    failure = found
        raise failure

    async def close(self) -> None:
        for replica in self.all:
            await replica.http.aclose()


async def _keep_looking(replica: Replica) -> None:
    while True:
        await replica.look()
        await asyncio.sleep(LOOK_EVERY_S)
