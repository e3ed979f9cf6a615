"""Looks at a shard while a rehearsal goes on: its record again and again, its engines and its ledger when asked.

It reads alone. A look that fails is no fact; a record that was not seen for long is said to have been out of sight.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from pydantic import ValidationError

from openbourse.contracts.apiserver import ApiError, ApiServer, Object
from openbourse.contracts.leadership import EPOCH, IN_SYNC, LEASE
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.manifests import engine, kinds, ledger, names
from openbourse.operator.manifests.names import COMPONENT_LABEL, EXCHANGE_LABEL, SHARD_LABEL
from openbourse.operator.observed import EngineFacts
from openbourse.operator.rehearsals.admission import ShardNow
from openbourse.operator.rehearsals.facts import DiskFacts, EngineStateFacts, LeaderAt, LedgerFacts
from openbourse.operator.rehearsals.load import Clock
from openbourse.operator.rehearsals.proofs import WAITED_MS

LOOK_S = 0.1
BLIND_MS = 3_000
ANSWER_S = 2.0
ANSWER_BYTES = 1024 * 1024


def runs(pod: Object) -> bool:
    """And is to stay: one that goes by itself meanwhile cannot be seen to be killed."""
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


@dataclass(slots=True)
class Shard:
    """Of one exchange, at its API server and at the addresses of its pods."""

    api: ApiServer
    http: aiohttp.ClientSession
    exchange: Exchange
    shard: EngineShard
    # Members, as the record names them, and their pods.
    pods_of: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.exchange.metadata.namespace

    @property
    def members(self) -> tuple[str, ...]:
        return engine.members(self.exchange, self.shard)

    @property
    def gateway_url(self) -> str:
        return f"http://{names.gateway(self.exchange.metadata.name)}.{self.namespace}.svc:8080"

    async def pods(self, component: str, *, of_shard: bool = True) -> dict[str, Object]:
        """Those that run and are to stay, by name. Raises ApiError."""
        wanted = {EXCHANGE_LABEL: self.exchange.metadata.name, COMPONENT_LABEL: component}
        if of_shard:
            wanted[SHARD_LABEL] = self.shard.metadata.name
        labels = ",".join(f"{name}={value}" for name, value in wanted.items())
        items, _ = await self.api.list(kinds.POD, self.namespace, labels)
        return {
            item["metadata"]["name"]: item
            for item in items
            if item.get("status", {}).get("podIP") and "deletionTimestamp" not in item["metadata"]
        }

    async def on_node(self, node: str) -> dict[str, Object]:
        """All pods of the exchange that run there, by name. Raises ApiError."""
        labels = f"{EXCHANGE_LABEL}={self.exchange.metadata.name}"
        items, _ = await self.api.list(kinds.POD, self.namespace, labels)
        return {item["metadata"]["name"]: item for item in items if item["spec"].get("nodeName") == node and runs(item)}

    async def now(self) -> ShardNow:
        """As the record has it, and the engine that leads says of itself."""
        try:
            leader = await self.record(0)
            facts = (await self.engines()).get(leader.holder) if leader is not None else None
        except ApiError as error:
            return ShardNow(problem=f"the API server does not say who leads: {error}")
        if leader is None:
            return ShardNow(problem="there is no leadership record; a shard with a standby has one (spec.standbys: 1)")
        if facts is None or facts.epoch != leader.epoch:
            return ShardNow(in_sync=leader.in_sync, problem=f"the leader of epoch {leader.epoch} says nothing")
        pods = await self.pods("engine")
        gateways = await self.pods("gateway", of_shard=False)
        return ShardNow(
            in_sync=leader.in_sync,
            ready=facts.ready,
            node=pods[leader.holder]["spec"]["nodeName"] if leader.holder in pods else "",
            gateway_nodes=frozenset(pod["spec"]["nodeName"] for pod in gateways.values()),
        )

    async def record(self, now_ms: int) -> LeaderAt | None:
        """None: there is none, or nobody has led. Raises ApiError."""
        name = names.record(self.exchange.metadata.name, self.shard.metadata.name)
        lease = await self.api.get(LEASE, self.namespace, name)
        if lease is None:
            return None
        annotations = lease["metadata"].get("annotations") or {}
        member = str((lease.get("spec") or {}).get("holderIdentity") or "").partition("/")[0]
        epoch = annotations.get(EPOCH, "0")
        if not member or not epoch.isdecimal():
            return None
        in_sync = [each for each in annotations.get(IN_SYNC, "").split(",") if each]
        if member not in self.pods_of:
            await self.engines()
        return LeaderAt(at_ms=now_ms, epoch=int(epoch), holder=self.pods_of.get(member, member), in_sync=len(in_sync))

    async def engines(self) -> dict[str, EngineFacts]:
        """By pod, what those say that answer. Raises ApiError."""
        pods = await self.pods("engine")
        answers = await asyncio.gather(*(self._status(pod, engine.STATUS_PORT) for pod in pods.values()))
        found = {}
        for name, answer in zip(pods, answers, strict=True):
            with contextlib.suppress(ValidationError):
                if answer is not None:
                    found[name] = EngineFacts.model_validate(answer)
        self.pods_of |= {facts.member: name for name, facts in found.items() if facts.member}
        return found

    async def states(self) -> tuple[EngineStateFacts, ...]:
        """What each engine says of its last checkpoint. Raises ApiError."""
        return tuple(
            EngineStateFacts(
                pod=pod,
                role=facts.role or "",
                epoch=facts.epoch or 0,
                committed_seq=facts.committed_seq or 0,
                checkpoint_seq=facts.checkpoint or 0,
                state_hash=facts.state_hash or "",
            )
            for pod, facts in sorted((await self.engines()).items())
        )

    async def ledger(self, wanted_seq: int) -> LedgerFacts:
        """What it last found. Raises ApiError."""
        for pod in (await self.pods("ledger")).values():
            answer = await self._status(pod, ledger.STATUS_PORT)
            said = (answer or {}).get("reconciliation")
            if isinstance(said, dict):
                found = said.get("found") or {}
                return LedgerFacts(
                    equal=said.get("equal"),
                    equal_seq=int(said.get("equal_seq") or 0),
                    wanted_seq=wanted_seq,
                    found=str(found.get("sentence", "")),
                )
        return LedgerFacts(wanted_seq=wanted_seq)

    async def disk_wait_ms(self, engine_pod: Object) -> int | None:
        """For how long its log has been waiting for a sync now. None: it did not say."""
        answer = await self._status(engine_pod, engine.STATUS_PORT)
        waited = ((answer or {}).get("disk") or {}).get("syncing_for_s")
        return int(waited * 1000) if isinstance(waited, int | float) else None

    async def _status(self, pod: Object, port: int) -> dict[str, Any] | None:
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        try:
            timeout = aiohttp.ClientTimeout(total=ANSWER_S)
            async with self.http.get(f"http://{host}:{port}/status", timeout=timeout) as response:
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        return answer


class RecordWatch:
    """The record, each time that it was another one, and how long it was out of sight."""

    def __init__(self, shard: Shard, clock: Clock) -> None:
        self.seen: list[LeaderAt] = []
        self.blind: list[str] = []
        self._shard = shard
        self._clock = clock
        self._seen_ms = clock()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except ApiError as error:
                self._notice(f"{type(error).__name__} {error}")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> LeaderAt | None:
        """Raises ApiError."""
        found = await self._shard.record(self._clock())
        if found is None:
            self._notice("it is not there")
            return None
        self._notice("it was seen late")
        self._seen_ms = self._clock()
        known = self.seen[-1] if self.seen else None
        if known is None or (known.epoch, known.holder, known.in_sync) != (found.epoch, found.holder, found.in_sync):
            self.seen.append(found)
        return found

    def _notice(self, why: str) -> None:
        if (now_ms := self._clock()) - self._seen_ms > BLIND_MS:
            self.blind.append(f"the leadership record was out of sight for {now_ms - self._seen_ms} ms: {why}")
            self._seen_ms = now_ms


class DiskWatch:
    """What an engine says of its disk, again and again."""

    def __init__(self, shard: Shard, clock: Clock) -> None:
        self._shard = shard
        self._clock = clock
        # When, and for how long the log had waited then.
        self._looks: list[tuple[int, int]] = []

    async def run(self, engine_pod: Object) -> None:
        """Until it is cancelled."""
        while True:
            if (waited_ms := await self._shard.disk_wait_ms(engine_pod)) is not None:
                self._looks.append((self._clock(), waited_ms))
            await asyncio.sleep(LOOK_S)

    def facts(self, from_ms: int | None, to_ms: int | None) -> DiskFacts:
        """Of that time; of none, nothing."""
        if from_ms is None or to_ms is None:
            return DiskFacts()
        waits = [waited_ms for at_ms, waited_ms in self._looks if from_ms <= at_ms < to_ms]
        waited = sum(waited_ms >= WAITED_MS for waited_ms in waits)
        return DiskFacts(looks=len(waits), waited=waited, longest_ms=max(waits, default=0))
