"""The loop around the decisions: for each exchange one task that observes, plans and acts, when woken and every period.

Events only wake. Whatever a watch misses, the periodic list finds; and when a list shows what the watch should have
told long ago, the process ends, because nothing else revives a watch that died in silence.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import Callable

import aiohttp

from openbourse.contracts.apiserver import ApiError, ApiServer
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol
from openbourse.operator.act import act, write_statuses
from openbourse.operator.conditions import statuses
from openbourse.operator.errors import WatchIsDead
from openbourse.operator.observe import observe
from openbourse.operator.observed import Observed
from openbourse.operator.plan import plan

log = logging.getLogger(__name__)

PERIOD_S = 5.0
BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 5.0
# More rounds than a start has phases, and then some: after that it waits for the next wake.
ROUNDS_MAX = 30
WATCH_SILENCE_MAX_S = 60.0

ExchangeId = tuple[str, str]


async def converge(
    api: ApiServer, engines: aiohttp.ClientSession, namespace: str, name: str, before: Observed | None = None
) -> Observed:
    """Observes, plans and acts until there is nothing to do; gives the last that was observed. Raises ApiError."""
    refusals: tuple[str, ...] = ()
    for _ in range(ROUNDS_MAX):
        now = datetime.datetime.now(datetime.UTC)
        before = await observe(api, engines, namespace, name, now=now, before=before, refusals=refusals)
        step = plan(before)
        refusals = await act(api, step, now)
        if refusals and refusals != before.refusals:
            continue  # the next status says so
        await write_statuses(api, statuses(before))
        if not step.actions or refusals:
            return before
    log.warning("%s/%s: still changing after %d rounds", namespace, name, ROUNDS_MAX)
    assert before is not None
    return before


class Reconciler:
    """Wakes come from any handler; the work is done by the tasks of `run`."""

    def __init__(self, api: ApiServer, namespaces: tuple[str, ...], on_round: Callable[[], None]) -> None:
        """`namespaces`: none means all. `on_round` is called whenever the API server has answered a whole round."""
        self._api = api
        self._namespaces = namespaces
        self._wakes: dict[ExchangeId, asyncio.Event] = {}
        self._new = asyncio.Event()
        # What the watch has told, and since when a list knows better: by uid.
        self._told: dict[str, str] = {}
        self._essences: dict[str, object] = {}
        self._untold_since: dict[str, float] = {}
        self._on_round = on_round

    def wake(self, namespace: str, exchange: str) -> None:
        if (namespace, exchange) not in self._wakes:
            self._wakes[namespace, exchange] = asyncio.Event()
            self._new.set()
        self._wakes[namespace, exchange].set()

    def wake_if_changed(self, namespace: str, exchange: str, uid: str, essence: object, *, gone: bool) -> None:
        """Wakes unless the object is in all that matters as it was: our own writes of a status must not wake us."""
        if gone:
            self._essences.pop(uid, None)
        elif self._essences.get(uid) == essence:
            return
        else:
            self._essences[uid] = essence
        self.wake(namespace, exchange)

    def told(self, uid: str, resource_version: str, *, gone: bool) -> None:
        """The watch has brought an Exchange in this version."""
        if gone:
            self._told.pop(uid, None)
            self._untold_since.pop(uid, None)
        else:
            self._told[uid] = resource_version

    async def run(self) -> None:
        """Until it is cancelled. Raises WatchIsDead."""
        async with aiohttp.ClientSession() as engines, asyncio.TaskGroup() as group:
            group.create_task(self._discover())
            tasks: dict[ExchangeId, asyncio.Task[None]] = {}
            while True:
                await self._new.wait()
                self._new.clear()
                for exchange in [exchange for exchange, task in tasks.items() if task.done()]:
                    del tasks[exchange]
                for exchange in self._wakes.keys() - tasks.keys():
                    tasks[exchange] = group.create_task(self._keep(engines, exchange))

    async def _keep(self, engines: aiohttp.ClientSession, exchange: ExchangeId) -> None:
        """Ends when nothing names the exchange any more; a later wake begins anew."""
        namespace, name = exchange
        wake, backoff_s = self._wakes[exchange], BACKOFF_MIN_S
        before: Observed | None = None
        while True:
            wake.clear()
            wait_s = PERIOD_S
            try:
                before = await converge(self._api, engines, namespace, name, before)
                self._on_round()
                backoff_s = BACKOFF_MIN_S
            except ApiError as error:
                log.warning("%s/%s: %s; again in %.1f s", namespace, name, error, backoff_s)
                wait_s, backoff_s = backoff_s, min(backoff_s * 2, BACKOFF_MAX_S)
                await asyncio.sleep(wait_s)
                continue
            if before.exchange is None and not (before.shards or before.symbols or before.halts):
                del self._wakes[exchange]
                self._new.set()
                return
            try:
                async with asyncio.timeout(wait_s):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _discover(self) -> None:
        """Finds by list what a watch may have missed, and whether the watch still lives."""
        while True:
            try:
                for namespace in self._namespaces or (None,):
                    await self._discover_in(namespace)
            except ApiError as error:
                log.warning("listing exchanges: %s", error)
            await asyncio.sleep(PERIOD_S)

    async def _discover_in(self, namespace: str | None) -> None:
        exchanges, _ = await self._api.list(Exchange.resource, namespace)
        for item in exchanges:
            metadata = item["metadata"]
            self._check_told(metadata["uid"], metadata["resourceVersion"], metadata["name"])
            if (metadata["namespace"], metadata["name"]) not in self._wakes:
                self.wake(metadata["namespace"], metadata["name"])
        for model in (EngineShard, Symbol, Halt):
            items, _ = await self._api.list(model.resource, namespace)
            for item in items:
                named = (item["metadata"]["namespace"], item["spec"]["exchange"])
                if named not in self._wakes:
                    self.wake(*named)
        self._on_round()

    def _check_told(self, uid: str, version: str, name: str) -> None:
        if int(self._told.get(uid, "0")) >= int(version):
            self._untold_since.pop(uid, None)
            return
        since = self._untold_since.setdefault(uid, time.monotonic())
        if time.monotonic() - since > WATCH_SILENCE_MAX_S:
            raise WatchIsDead(f"no event of Exchange {name} for {WATCH_SILENCE_MAX_S:.0f} s, and it has changed")
