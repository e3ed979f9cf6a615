"""The loop around the decisions: for each exchange one task that observes, plans and acts, when woken and every period.

Events only wake. Whatever a watch misses, the periodic list finds; and when a list shows what the watch should have
told long ago, the process ends, because nothing else revives a watch that died in silence.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Resource
from openbourse.contracts.resources import Exchange
from openbourse.operator.act import act, write_statuses
from openbourse.operator.conditions import statuses
from openbourse.operator.errors import WatchIsDead
from openbourse.operator.health import ExchangeId, Health
from openbourse.operator.ledgers import AskLedger, over_mutual_tls
from openbourse.operator.manifests import names
from openbourse.operator.metrics import Metrics
from openbourse.operator.moves import is_any_under_way
from openbourse.operator.observe import observe
from openbourse.operator.observed import Observed, Refusal
from openbourse.operator.plan import Plan, plan
from openbourse.operator.status_pages import over_pod_network
from openbourse.operator.watches import CHILDREN, NAMING

log = logging.getLogger(__name__)

# An exchange is looked at so often: engines do not tell the API server how they are.
PERIOD_S = 5.0
# And while a symbol moves, which takes less than a second.
MOVING_PERIOD_S = 0.5
# A watch is held against a list so often.
DISCOVER_S = 10.0
BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 2.0
# More rounds than a start has phases, and then some: after that it waits for the next wake.
ROUNDS_MAX = 30

# A plan, the seconds that it took to make, and what the API server refused of it.
OnStep = Callable[[Plan, float, tuple[Refusal, ...]], None]


async def converge(
    api: ApiServer,
    engines: aiohttp.ClientSession,
    namespace: str,
    name: str,
    before: Observed | None = None,
    *,
    on_step: OnStep = lambda *_: None,
    ask_ledger: AskLedger | None = None,
) -> Observed:
    """Observes, plans and acts until there is nothing to do; gives the last that was observed. Raises ApiError.

    Without `ask_ledger` no symbol moves between shards.
    """
    refusals: tuple[Refusal, ...] = ()
    ask = over_pod_network(engines)
    for _ in range(ROUNDS_MAX):
        now = datetime.datetime.now(datetime.UTC)
        before = await observe(
            *(api, ask, namespace, name), now=now, before=before, refusals=refusals, ask_ledger=ask_ledger
        )
        began = time.perf_counter()
        step = plan(before)
        took_s = time.perf_counter() - began
        before = replace(before, refusals=step.refused)
        refused = await act(api, step, now, ask_ledger)
        on_step(step, took_s, refused)
        refusals = (*step.refused, *refused)
        if refused:
            continue  # the next status says so
        goes_on = bool(step.actions)
        await write_statuses(api, statuses(before, goes_on=goes_on))
        if not goes_on:
            return before
    log.warning("%s/%s: still changing after %d rounds", namespace, name, ROUNDS_MAX)
    assert before is not None
    return before


class Reconciler:
    """Wakes come from any handler; the work is done by the tasks of `run`."""

    def __init__(self, api: ApiServer, namespaces: tuple[str, ...], health: Health, metrics: Metrics) -> None:
        """`namespaces`: none means all."""
        self._api = api
        self._namespaces = namespaces
        self._health = health
        self._metrics = metrics
        self._wakes: dict[ExchangeId, asyncio.Event] = {}
        self._new = asyncio.Event()
        self._essences: dict[str, object] = {}

    def wake(self, namespace: str, exchange: str) -> None:
        if (namespace, exchange) not in self._wakes:
            self._wakes[namespace, exchange] = asyncio.Event()
            self._new.set()
        self._wakes[namespace, exchange].set()
        self._health.woken((namespace, exchange))

    def wake_if_changed(self, namespace: str, exchange: str, uid: str, essence: object, *, gone: bool) -> None:
        """Wakes unless the object is in all that matters as it was: our own writes of a status must not wake us."""
        if gone:
            self._essences.pop(uid, None)
        elif self._essences.get(uid) == essence:
            return
        else:
            self._essences[uid] = essence
        self.wake(namespace, exchange)

    def told(self, plural: str, metadata: Object, *, gone: bool) -> None:
        """A watch has brought an object with this metadata."""
        self._health.watches.told(plural, metadata, time.monotonic(), gone=gone)

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
        wake, backoff_s = self._wakes[exchange], BACKOFF_MIN_S
        before: Observed | None = None
        while True:
            wake.clear()
            woken_at, began = self._health.woken_at.pop(exchange, None), time.monotonic()
            try:
                before, is_settled = await self._round(engines, exchange, before)
            except ApiError as error:
                self._round_ended(exchange, "failed", began)
                if woken_at is not None:
                    self._health.woken_at[exchange] = woken_at
                log.warning("%s/%s: %s; again in %.1f s", *exchange, error, backoff_s)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            self._health.round_done()
            self._round_ended(exchange, "settled" if is_settled else "unsettled", began)
            backoff_s = BACKOFF_MIN_S
            naming = (before.shards, before.symbols, before.halts, before.limits, before.api_keys)
            if before.exchange is None and not any(naming):
                del self._wakes[exchange]
                self._health.forget(exchange)
                self._new.set()
                return
            try:
                async with asyncio.timeout(MOVING_PERIOD_S if is_any_under_way(before) else PERIOD_S):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _round(
        self, engines: aiohttp.ClientSession, exchange: ExchangeId, before: Observed | None
    ) -> tuple[Observed, bool]:
        """What was observed last, and whether nothing was left to do then."""
        is_settled = False

        def on_step(step: Plan, seconds: float, refusals: tuple[Refusal, ...]) -> None:
            nonlocal is_settled
            is_settled = not step.actions and not step.refused
            self._metrics.stepped(step, seconds, refusals)

        ask_ledger = over_mutual_tls(self._api, engines)
        after = await converge(self._api, engines, *exchange, before, on_step=on_step, ask_ledger=ask_ledger)
        return after, is_settled

    def _round_ended(self, exchange: ExchangeId, outcome: str, began: float) -> None:
        self._metrics.round_done(outcome, time.monotonic() - began)
        self._health.settled(exchange, is_settled=outcome == "settled")

    async def _discover(self) -> None:
        """Finds by list what a watch may have missed, and whether the watches still live."""
        while True:
            try:
                for namespace in self._namespaces or (None,):
                    await self._discover_in(namespace)
                self._health.round_done()
            except ApiError as error:
                log.warning("looking for exchanges: %s", error)
            reason = self._health.watches.why_dead(time.monotonic())
            if reason:
                raise WatchIsDead(reason)
            await asyncio.sleep(DISCOVER_S)

    async def _discover_in(self, namespace: str | None) -> None:
        exchanges = await self._listed(Exchange.resource, namespace)
        named = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in exchanges]
        for model in NAMING:
            items = await self._listed(model.resource, namespace)
            named += [(item["metadata"]["namespace"], item["spec"]["exchange"]) for item in items]
        for exchange in named:
            if exchange not in self._wakes:
                self.wake(*exchange)
        for resource in CHILDREN:
            await self._listed(resource, namespace, names.EXCHANGE_LABEL)

    async def _listed(self, resource: Resource, namespace: str | None, labels: str = "") -> list[Object]:
        items, version = await self._api.list(resource, namespace, labels)
        for uid in self._health.watches.listed(resource.plural, namespace, version, items, time.monotonic()):
            self._essences.pop(uid, None)
        return items
