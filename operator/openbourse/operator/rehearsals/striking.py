"""Makes the faults of one rehearsal, by pods on nodes, and hears of them what became of it. It decides nothing.

A blow is what is done to pods of one node. Each ends by itself; `clear_up` ends those that have not.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.resources import Rehearsal
from openbourse.operator.manifests import kinds, names
from openbourse.operator.rehearsals import pods
from openbourse.operator.rehearsals.facts import Bite
from openbourse.operator.rehearsals.load import Clock
from openbourse.operator.rehearsals.scenarios import Blow, Deed, Side, Strike, Target
from openbourse.operator.rehearsals.watching import Shard, runs

# Of everything that is written on behalf of rehearsals.
MANAGER = "openbourse-rehearsals"
POLL_S = 0.2
STRUCK_WITHIN_S = 60.0
LOG_BYTES = 16 * 1024 * 1024
# Of a pod template: another value, and the operator replaces the engines.
RESTART_ANNOTATION = "openbourse.dev/rehearsal"
OPERATOR_LABEL = "app.kubernetes.io/name=openbourse-operator"
EVERYBODY = ("0.0.0.0/0", "::/0")


class Aborted(Exception):
    """The rehearsal ends here; the text says why."""


@dataclass(frozen=True, slots=True)
class House:
    """Where the pods of rehearsals are, and of what image. `operator`: where the operator is."""

    namespace: str
    image: str
    operator: str


@dataclass(slots=True)
class Struck:
    """A blow that was asked for. Times are the rehearsal's."""

    pod: str
    asked_ms: int
    struck_ms: int | None = None
    over_ms: int | None = None
    bite: Bite | None = None


@dataclass(slots=True)
class Striker:
    """Of one rehearsal. `heed` is called again and again while it waits, and raises Aborted."""

    api: ApiServer
    house: House
    shard: Shard
    rehearsal: Rehearsal
    clock: Clock
    heed: Callable[[], None]
    _made: list[str] = field(default_factory=list)

    async def victims(self, target: Target, leader: str) -> list[Object]:
        """The pods that it is to be done to. Raises Aborted, and ApiError."""
        if target is Target.OPERATOR:
            items, _ = await self.api.list(kinds.POD, self.house.operator, OPERATOR_LABEL)
            found = [item for item in items if runs(item)]
            if not found:
                raise Aborted(f"there is no pod of the operator in namespace {self.house.operator}")
            return found
        engines = await self.shard.pods("engine")
        if leader not in engines:
            raise Aborted(f"there is no pod {leader}")
        match target:
            case Target.LEADER:
                return [engines[leader]]
            case Target.STANDBY:
                return [engines[min(name for name in engines if name != leader)]]
            case Target.ENGINES:
                return list(engines.values())
            case Target.NODE:
                others = await self.shard.on_node(engines[leader]["spec"]["nodeName"])
                return [engines[leader], *(pod for name, pod in sorted(others.items()) if name != leader)]
            case Target.SYMBOL:
                raise AssertionError("a symbol is no pod: it is moved, and not struck")

    async def begin(self, blow: Strike | Blow, victims: Sequence[Object], what: str) -> list[Struck]:
        """One pod on each node of the victims. Raises Aborted, and ApiError."""
        by_node: dict[str, list[Object]] = {}
        for victim in victims:
            by_node.setdefault(victim["spec"]["nodeName"], []).append(victim)
        addresses = await self._addresses(blow, victims) if isinstance(blow, Strike) else {}
        for victim in victims:
            if addresses and victim["spec"].get("hostNetwork"):
                raise Aborted(f"{victim['metadata']['name']} is in the network of its node, which is nobody's to cut")
        begun = []
        for at, several in enumerate(by_node.values()):
            pod = pods.strike(
                self.rehearsal,
                several,
                what=f"{what}-{at}",
                namespace=self.house.namespace,
                image=self.house.image,
                deed=blow.deed,
                seconds=blow.lasts_s,
                addresses=addresses,
            )
            begun.append(Struck(pod["metadata"]["name"], self.clock()))
            self._made.append(begun[-1].pod)
            await self.api.create(kinds.POD, pod)
        return begun

    async def until_struck(self, blows: Sequence[Struck]) -> None:
        """Raises Aborted, and ApiError."""
        await self._until(blows, lambda blow: blow.struck_ms is not None, STRUCK_WITHIN_S)

    async def until_over(self, blows: Sequence[Struck], lasts_s: int) -> None:
        """Raises Aborted, also when one of them could not be done; and ApiError."""
        await self._until(blows, lambda blow: blow.bite is not None, STRUCK_WITHIN_S + lasts_s)

    async def _until(self, blows: Sequence[Struck], is_so: Callable[[Struck], bool], within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            self.heed()
            for blow in blows:
                await self._look(blow)
            if all(is_so(blow) for blow in blows):
                return
            await asyncio.sleep(POLL_S)
        late = ", ".join(blow.pod for blow in blows if not is_so(blow))
        raise Aborted(f"{late} did not say in time what became of the fault")

    async def _look(self, blow: Struck) -> None:
        if blow.bite is not None:
            return
        began_us = time.time_ns() // 1000 - self.clock() * 1000
        for line in objects(await printed(self.api, self.house, blow.pod)):
            if "struck_us" in line and blow.struck_ms is None:
                seen_ms = int(line["struck_us"] - began_us) // 1000
                # Another node's clock may be wrong; it was not before it was asked for, nor after now.
                blow.struck_ms = min(max(seen_ms, blow.asked_ms), self.clock())
            elif "deed" in line:
                try:
                    blow.bite = Bite.model_validate(line)
                except ValidationError as error:
                    said = error.errors()[0]["msg"]
                    raise Aborted(f"what was said of the fault cannot be read: {said}") from None
                if blow.bite.problem:
                    raise Aborted(blow.bite.problem)
                blow.over_ms = blow.struck_ms if blow.bite.deed == Deed.KILL else self.clock()

    async def restart(self, victims: Sequence[Object], within_s: int) -> Struck:
        """Gives the engines another template, as `kubectl rollout restart` does, and waits for the operator.

        It is over when other pods are there instead of all of the victims, in sync. Raises Aborted, and ApiError.
        """
        exchange, shard = self.shard.exchange.metadata, self.shard.shard.metadata
        name = names.engine(exchange.name, shard.name)
        struck = Struck(name, self.clock())
        template = {"metadata": {"annotations": {RESTART_ANNOTATION: self.rehearsal.metadata.uid}}}
        metadata = {"name": name, "namespace": self.shard.namespace}
        await self.api.apply(kinds.STATEFUL_SET, {"metadata": metadata, "spec": {"template": template}}, MANAGER)
        before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in victims}
        deadline_s, replaced = time.monotonic() + within_s, set[str]()
        while time.monotonic() < deadline_s:
            self.heed()
            present = await self.shard.pods("engine")
            replaced |= {
                name for name, uid in before.items() if name in present and present[name]["metadata"]["uid"] != uid
            }
            if struck.struck_ms is None and any(
                name not in present or present[name]["metadata"]["uid"] != uid for name, uid in before.items()
            ):
                struck.struck_ms = self.clock()
            record = await self.shard.record(self.clock())
            if replaced == before.keys() and record is not None and record.in_sync == len(before):
                struck.over_ms = self.clock()
                struck.bite = Bite(pod=name, pid=0, deed=Deed.RESTART, gone=True, victims=tuple(sorted(replaced)))
                return struck
            await asyncio.sleep(POLL_S)
        done = f"{len(replaced)} of {len(before)} engines"
        raise Aborted(f"the operator had replaced {done} after {within_s} s; it goes on by itself")

    async def _addresses(self, strike: Strike, victims: Sequence[Object]) -> dict[str, list[str]]:
        """By side, everything by which it is reached: pods, and the Services that lead to them."""
        found: dict[str, list[str]] = {}
        if Side.STANDBY in strike.sides:
            members = await self.shard.pods("engine")
            own = {victim["metadata"]["name"] for victim in victims}
            others = [name for name in self.shard.members if name not in own]
            services, _ = await self.api.list(kinds.SERVICE, self.shard.namespace)
            found[Side.STANDBY.value] = [
                *(ip["ip"] for name in others if name in members for ip in members[name]["status"]["podIPs"]),
                *(ip for service in services if service["metadata"]["name"] in others for ip in _addresses_of(service)),
            ]
        if Side.API_SERVER in strike.sides:
            # Of the cluster as every pod has it, this one too.
            found[Side.API_SERVER.value] = [os.environ["KUBERNETES_SERVICE_HOST"]]
        if Side.EVERYBODY in strike.sides:
            found[Side.EVERYBODY.value] = list(EVERYBODY)
        return found

    async def clear_up(self) -> None:
        """Takes faults away, should they still be there: their pods are told to end, and lift them."""
        for pod in self._made:
            with contextlib.suppress(ApiError):
                await self.api.delete(kinds.POD, self.house.namespace, pod)


async def printed(api: ApiServer, house: House, pod: str) -> str:
    """What a pod of the house has printed. One that has not started yet has printed nothing."""
    try:
        text, _ = await api.text(kinds.POD.path(house.namespace, pod, "log"), bytes_max=LOG_BYTES)
    except Refused:
        return ""
    return text


def objects(text: str) -> list[Object]:
    """The lines of it that are JSON objects."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if isinstance(entry := json.loads(line), dict):
                found.append(entry)
    return found


def _addresses_of(service: Object) -> list[str]:
    return [ip for ip in service["spec"].get("clusterIPs", []) if ip != "None"]
