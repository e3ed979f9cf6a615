"""The loop around rehearsals: holds what may not begin, begins what may, and seals what became of it.

One rehearsal of an exchange at a time, each a task. One that was begun by a process that is no more is Inconclusive.
"""

import asyncio
import base64
import datetime
import logging
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from pydantic import ValidationError

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.hsm import TokenError
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Phase, Rehearsal, RehearsalSchedule, Symbol
from openbourse.contracts.resources.meta import CustomResource
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals import admission, statuses
from openbourse.operator.rehearsals.admission import Held, ShardNow
from openbourse.operator.rehearsals.conduct import Conductor, facts_of_nothing, halt_name
from openbourse.operator.rehearsals.facts import Facts
from openbourse.operator.rehearsals.load import ApiKey
from openbourse.operator.rehearsals.moving import bring_back, is_marked_by
from openbourse.operator.rehearsals.pods import REHEARSAL_LABEL
from openbourse.operator.rehearsals.report import FORMAT, NOTHING_BEFORE, Report, judged
from openbourse.operator.rehearsals.scheduling import keep_schedule
from openbourse.operator.rehearsals.seals import report_name, store
from openbourse.operator.rehearsals.signing import Signing
from openbourse.operator.rehearsals.striking import MANAGER, House
from openbourse.operator.rehearsals.watching import Shard

_Kind = TypeVar("_Kind", bound=CustomResource)

log = logging.getLogger(__name__)

PERIOD_S = 2.0
# What was found is written down until it is; by then a person should look.
STORE_TRIES = 30
KEYS_FILE = "keys.json"
_OVER = frozenset({Phase.FINISHED, Phase.REFUSED})


@dataclass(slots=True)
class _Run:
    conductor: Conductor
    task: asyncio.Task[None]


@dataclass(slots=True)
class Keeper:
    """`identity`: this process, as a Rehearsal's status names it: its pod, a slash, and a word of its own."""

    api: ApiServer
    http: aiohttp.ClientSession
    house: House
    identity: str
    namespaces: tuple[str, ...]
    signing: Signing
    _runs: dict[str, _Run] = field(default_factory=dict)
    # By uid, those whose end is being written down.
    _sealing: set[str] = field(default_factory=set)
    # One after the other: each report names the one before.
    _storing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then what runs is aborted, and sealed as that."""
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                try:
                    for namespace in self.namespaces or (None,):
                        await self._look(namespace, tasks)
                except ApiError as error:
                    log.warning("rehearsals: %s; again in %g s", error, PERIOD_S)
                await _pause(stop)
            for run in self._runs.values():
                run.conductor.stop.set()

    async def _look(self, namespace: str | None, tasks: asyncio.TaskGroup) -> None:
        self._runs = {uid: run for uid, run in self._runs.items() if not run.task.done()}
        rehearsals = await self._all(Rehearsal, namespace)
        known = {rehearsal.metadata.uid: rehearsal for rehearsal in rehearsals}
        for uid, run in self._runs.items():
            if run.conductor.shard.namespace == namespace or namespace is None:
                self._heed(run.conductor, known.get(uid))
        await self._bring_back(namespace, known)
        await self._schedules(namespace, rehearsals)
        for rehearsal in rehearsals:
            uid = rehearsal.metadata.uid
            if uid in self._runs or uid in self._sealing or rehearsal.status.phase in _OVER:
                continue
            if rehearsal.status.phase is Phase.RUNNING:
                await self._abandoned(rehearsal, tasks)
            else:
                await self._admit(rehearsal, rehearsals, tasks)

    async def _bring_back(self, namespace: str | None, known: dict[str, Rehearsal]) -> None:
        """Symbols that a rehearsal has moved away that runs no more, and did not have back: it was deleted, say."""
        for symbol in await self._all(Symbol, namespace, REHEARSAL_LABEL):
            uid = symbol.metadata.labels[REHEARSAL_LABEL]
            # One that runs has it back itself; one whose process is gone is abandoned first.
            if uid in self._runs or (uid in known and known[uid].status.phase is Phase.RUNNING):
                continue
            await self._back(symbol)

    async def _back(self, symbol: Symbol) -> str:
        """What was asked for."""
        back = await bring_back(self.api, symbol)
        said = f"{back.spec.name} is wanted in shard {back.spec.shard}"
        log.info("%s/%s: %s", back.metadata.namespace, back.metadata.name, said)
        return said

    async def _schedules(self, namespace: str | None, rehearsals: list[Rehearsal]) -> None:
        now = datetime.datetime.now(datetime.UTC)

        async def admit(rehearsal: Rehearsal) -> Held | None:
            asked = await self._ask(rehearsal, rehearsals, now)
            return asked if isinstance(asked, Held) else None

        for schedule in await self._all(RehearsalSchedule, namespace):
            beside = [each for each in rehearsals if each.metadata.namespace == schedule.metadata.namespace]
            await keep_schedule(self.api, schedule, beside, now, admit)

    def _heed(self, conductor: Conductor, rehearsal: Rehearsal | None) -> None:
        if rehearsal is None:
            conductor.why_stop = "the Rehearsal was deleted"
        elif rehearsal.spec.suspend:
            conductor.why_stop = "the Rehearsal was suspended"
        else:
            return
        conductor.stop.set()

    async def _admit(self, rehearsal: Rehearsal, others: list[Rehearsal], tasks: asyncio.TaskGroup) -> None:
        namespace, now = rehearsal.metadata.namespace, datetime.datetime.now(datetime.UTC)
        asked = await self._ask(rehearsal, others, now)
        if isinstance(asked, Held):
            status = statuses.held(rehearsal, asked, now)
            if not statuses.is_said(rehearsal, status):
                log.info("%s/%s: %s: %s", namespace, rehearsal.metadata.name, asked.reason, asked.sentence)
                await self._write(rehearsal, status)
            return
        of_it, other, keys = asked
        claimed = await self._claim(rehearsal, now)
        if claimed is None:
            return
        log.info("%s/%s begins", namespace, rehearsal.metadata.name)
        conductor = Conductor(self.api, self.house, of_it, claimed, keys, asyncio.Event(), other)
        task = tasks.create_task(self._conduct(conductor, now))
        self._runs[rehearsal.metadata.uid] = _Run(conductor, task)
        # Those that come after it in this round are held by it.
        others[others.index(rehearsal)] = claimed

    async def _ask(
        self, rehearsal: Rehearsal, others: list[Rehearsal], now: datetime.datetime
    ) -> tuple[Shard, Shard | None, list[ApiKey]] | Held:
        """What it is to be begun with, or why it may not: its shard, and the one that a symbol is to be moved to."""
        namespace = rehearsal.metadata.namespace
        keys = await self._keys(rehearsal)
        if isinstance(keys, Held):
            return keys
        # What nobody could sign is not begun.
        if problem := await self.signing.problem():
            return Held("NoSigningKey", problem)
        exchange = await self._one(Exchange, namespace, rehearsal.spec.exchange)
        shard = await self._one(EngineShard, namespace, rehearsal.spec.shard)
        of_it = Shard(self.api, self.http, exchange, shard) if exchange is not None and shard is not None else None
        others_of_it = await self._other_shards(rehearsal, exchange)
        others_now = {name: (each.shard, await each.now()) for name, each in others_of_it.items()}
        why = admission.held(
            rehearsal,
            exchange=exchange,
            shard=shard,
            symbols=await self._all(Symbol, namespace),
            halts=await self._all(Halt, namespace),
            others=[other for other in others if other.metadata.namespace == namespace],
            now=now,
            shard_now=await of_it.now() if of_it is not None else ShardNow(problem="there is none"),
            others_now=others_now,
        )
        if why is not None:
            return why
        assert of_it is not None
        target = admission.target(others_now) if admission.moves(rehearsal) else None
        return of_it, others_of_it[target] if target is not None else None, keys

    async def _other_shards(self, rehearsal: Rehearsal, exchange: Exchange | None) -> dict[str, Shard]:
        """By name, the shards of the exchange that its symbol could be moved to; none where it is not to be moved."""
        if exchange is None or not admission.moves(rehearsal):
            return {}
        shards = await self._all(EngineShard, rehearsal.metadata.namespace)
        return {
            shard.metadata.name: Shard(self.api, self.http, exchange, shard)
            for shard in shards
            if shard.spec.exchange == exchange.metadata.name and shard.metadata.name != rehearsal.spec.shard
            if shard.metadata.deletion_timestamp is None
        }

    async def _keys(self, rehearsal: Rehearsal) -> list[ApiKey] | Held:
        name = rehearsal.spec.load.keys_secret
        secret = await self.api.get(kinds.SECRET, self.house.namespace, name)
        if secret is None or KEYS_FILE not in (secret.get("data") or {}):
            return Held("NoKeys", f"namespace {self.house.namespace} has no Secret {name} with {KEYS_FILE}")
        try:
            return ApiKey.all_of(base64.b64decode(secret["data"][KEYS_FILE]).decode())
        except ValueError as error:
            return Held("NoKeys", f"Secret {name} in {self.house.namespace}: {error}")

    async def _claim(self, rehearsal: Rehearsal, now: datetime.datetime) -> Rehearsal | None:
        """None: another process was first, or somebody changed it meanwhile."""
        status = statuses.running(rehearsal, self.identity, now)
        try:
            written = await self._write(rehearsal, status, version=rehearsal.metadata.resource_version)
        except Refused as error:
            if error.is_conflict or error.is_missing:
                return None
            raise
        return Rehearsal.model_validate(written)

    async def _conduct(self, conductor: Conductor, began: datetime.datetime) -> None:
        try:
            facts = await conductor.run()
        except ApiError as error:
            facts = facts_of_nothing(conductor.rehearsal, f"the API server did not do its part: {error}")
        await self._seal(conductor.rehearsal, conductor.shard.exchange, facts, began)

    async def _abandoned(self, rehearsal: Rehearsal, tasks: asyncio.TaskGroup) -> None:
        """Its process is gone. The faults that it made have ended by themselves; what else it made is taken away."""
        pod, _, _ = (rehearsal.status.runner or "").partition("/")
        own, _, _ = self.identity.partition("/")
        if pod != own and await self.api.get(kinds.POD, self.house.namespace, pod) is not None:
            return
        metadata = rehearsal.metadata
        left, _ = await self.api.list(kinds.POD, self.house.namespace, f"{REHEARSAL_LABEL}={metadata.uid}")
        for each in left:
            await self.api.delete(kinds.POD, self.house.namespace, each["metadata"]["name"])
        await self.api.delete(Halt.resource, metadata.namespace, halt_name(rehearsal))
        why = "the process that ran it ended before it"
        for symbol in await self._all(Symbol, metadata.namespace, REHEARSAL_LABEL):
            if is_marked_by(symbol, metadata.uid):
                why = f"{why}; {await self._back(symbol)}"
        exchange = await self._one(Exchange, metadata.namespace, rehearsal.spec.exchange)
        facts = facts_of_nothing(rehearsal, why)
        began = rehearsal.status.started_at or datetime.datetime.now(datetime.UTC)
        self._sealing.add(metadata.uid)
        tasks.create_task(self._seal(rehearsal, exchange, facts, began))

    async def _seal(
        self, rehearsal: Rehearsal, exchange: Exchange | None, facts: Facts, began: datetime.datetime
    ) -> None:
        self._sealing.add(rehearsal.metadata.uid)
        try:
            await self._store(rehearsal, exchange, facts, began)
        finally:
            self._sealing.discard(rehearsal.metadata.uid)

    async def _store(
        self, rehearsal: Rehearsal, exchange: Exchange | None, facts: Facts, began: datetime.datetime
    ) -> None:
        now = datetime.datetime.now(datetime.UTC)
        _, fields = judged(facts)
        unsealed = Report.model_validate(
            {
                "format": FORMAT,
                # Its place in the chain it gets when it is stored.
                "number": 1,
                "previous": NOTHING_BEFORE,
                "rehearsal": rehearsal.metadata.name,
                "namespace": rehearsal.metadata.namespace,
                "uid": rehearsal.metadata.uid,
                "exchange": rehearsal.spec.exchange,
                "shard": rehearsal.spec.shard,
                "image": exchange.spec.image if exchange is not None else "",
                "spec": rehearsal.spec.model_dump(mode="json", by_alias=True),
                "started_at": began.isoformat(),
                "ended_at": now.isoformat(),
                "facts": facts,
                **fields,
            }
        )
        for _ in range(STORE_TRIES):
            try:
                async with self._storing:
                    sealed = await store(self.api, self.signing, self.house.namespace, rehearsal, unsealed)
                await self._write(rehearsal, statuses.finished(rehearsal, sealed, report_name(rehearsal), now))
            except Refused as error:
                if error.is_missing:
                    log.warning("%s: deleted, so its report is too", rehearsal.metadata.name)
                    return
                log.warning("%s: its report is not stored yet: %s", rehearsal.metadata.name, error)
            except (ApiError, TokenError) as error:
                log.warning("%s: its report is not stored yet: %s", rehearsal.metadata.name, error)
            else:
                log.info("%s: %s: %s", rehearsal.metadata.name, sealed.report.verdict, sealed.report.sentence)
                return
            await asyncio.sleep(PERIOD_S)
        log.error("%s: its report could not be stored; it is tried again by the next process", rehearsal.metadata.name)

    async def _write(self, rehearsal: Rehearsal, status: Object, version: str = "") -> Object:
        identity = {key: getattr(rehearsal.metadata, key) for key in ("name", "namespace", "uid")}
        metadata = identity | ({"resourceVersion": version} if version else {})
        return await self.api.apply(Rehearsal.resource, {"metadata": metadata, "status": status}, MANAGER, "status")

    async def _one(self, model: type[_Kind], namespace: str, name: str) -> _Kind | None:
        found = await self.api.get(model.resource, namespace, name)
        return model.model_validate(found) if found else None

    async def _all(self, model: type[_Kind], namespace: str | None, labels: str = "") -> list[_Kind]:
        items, _ = await self.api.list(model.resource, namespace, labels)
        found = []
        for item in items:
            try:
                found.append(model.model_validate(item))
            except ValidationError as error:
                log.error("%s %s cannot be read: %s", model.resource.kind, item["metadata"]["name"], error)
        return sorted(found, key=lambda each: (str(each.metadata.creation_timestamp), each.metadata.name))


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(PERIOD_S):
            await stop.wait()
    except TimeoutError:
        return
