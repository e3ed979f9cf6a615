"""What is looked at when a fault is over: the shard whole again, its ledger, what its status says, and every log.

It waits for each of them, and not for ever: what does not come is not there, and said.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openbourse.contracts.apiserver import ApiError, ApiServer, Object
from openbourse.contracts.resources import EngineShard, Rehearsal
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals import pods
from openbourse.operator.rehearsals.acknowledgements import compared
from openbourse.operator.rehearsals.facts import EngineStateFacts, LedgerFacts, LogFacts, StatusFacts
from openbourse.operator.rehearsals.striking import House, objects, printed
from openbourse.operator.rehearsals.watching import RecordWatch, Shard

POLL_S = 0.2
IN_SYNC_WITHIN_S = 120.0
EQUAL_WITHIN_S = 60.0
# An operator that was killed is started again by a kubelet that waits longer each time.
STATUS_WITHIN_S = 120.0


@dataclass(slots=True)
class Settling:
    """Of one shard of a rehearsal. `blind` gets a sentence for each thing that could not be looked at.

    `audits`: by pod, what was read of the logs, orders and all.
    """

    api: ApiServer
    house: House
    shard: Shard
    rehearsal: Rehearsal
    prefix: str
    blind: list[str]
    step: Callable[[int, str], None]
    audits: dict[str, Object] = field(default_factory=dict)

    async def shard_and_ledger(self, record: RecordWatch) -> tuple[tuple[EngineStateFacts, ...], LedgerFacts]:
        """Waits until the shard is whole and the ledger has compared itself; what does not come is not there."""
        states: tuple[EngineStateFacts, ...] = ()
        ledger = LedgerFacts()
        deadline_s = time.monotonic() + IN_SYNC_WITHIN_S
        try:
            while time.monotonic() < deadline_s:
                found = await record.look()
                states = await self.shard.states()
                if found is not None and found.in_sync == len(states) == len(self.shard.members):
                    self.step(5, f"{found.holder} leads epoch {found.epoch}")
                    break
                await asyncio.sleep(POLL_S)
            wanted = max((state.committed_seq for state in states), default=0)
            deadline_s = time.monotonic() + EQUAL_WITHIN_S
            while time.monotonic() < deadline_s:
                ledger = await self.shard.ledger(wanted)
                if ledger.found or ledger.equal_seq >= wanted:
                    break
                await asyncio.sleep(POLL_S)
        except ApiError as error:
            self.blind.append(f"the shard could not be looked at when all was over: {error}")
        return states, ledger

    async def logs(
        self, begun_seq: int, states: tuple[EngineStateFacts, ...], orders: Mapping[str, int]
    ) -> tuple[LogFacts, ...]:
        """Each engine's, from before the first order on, and from the oldest checkpoint that one of them is at.

        `orders`: those that have to be in them.
        """
        checkpoints = [state.checkpoint_seq for state in states if state.checkpoint_seq]
        from_seq = max(1, min([begun_seq, *checkpoints]))
        try:
            members = await self.shard.pods("engine")
            found = await asyncio.gather(*(self._log(pod, from_seq, orders) for pod in members.values()))
        except ApiError as error:
            self.blind.append(f"the logs could not be read: {error}")
            return ()
        if logs := tuple(log for log in found if log is not None):
            self.step(6, ", ".join(f"{log.pod} through seq {log.last_seq}" for log in logs))
        return logs

    async def _log(self, target: Object, from_seq: int, orders: Mapping[str, int]) -> LogFacts | None:
        name = target["metadata"]["name"]
        pod = pods.audit(
            self.rehearsal,
            target,
            namespace=self.house.namespace,
            image=self.house.image,
            from_seq=from_seq,
            names=self.prefix,
            symbol=self.rehearsal.spec.load.symbol,
        )
        auditor = pod["metadata"]["name"]
        await self.api.create(kinds.POD, pod)
        try:
            deadline_s, phase = time.monotonic() + pods.AUDIT_S, ""
            while phase not in {"Succeeded", "Failed"} and time.monotonic() < deadline_s:
                await asyncio.sleep(POLL_S)
                live = await self.api.get(kinds.POD, self.house.namespace, auditor)
                phase = "Failed" if live is None else live.get("status", {}).get("phase", "")
            text = await printed(self.api, self.house, auditor)
            if said := objects(text):
                self.audits[name] = said[-1]
                return compared(name, said[-1], orders)
            why = text.strip().rpartition("\n")[2][:200] or "it said nothing"
            self.blind.append(f"the log of {name} was not read: {phase or 'not started'}: {why}")
        except ValueError as error:
            self.blind.append(f"what was said of the log of {name} cannot be read: {error}")
        finally:
            await self.api.delete(kinds.POD, self.house.namespace, auditor)
        return None

    async def status(self, record: RecordWatch) -> StatusFacts | None:
        """What it says as soon as that is true, or in the end. None: nobody could read it."""
        found: StatusFacts | None = None
        deadline_s = time.monotonic() + STATUS_WITHIN_S
        try:
            while time.monotonic() < deadline_s:
                name = self.shard.shard.metadata.name
                stored = await self.api.get(EngineShard.resource, self.shard.namespace, name)
                if stored is not None:
                    said = EngineShard.model_validate(stored).status
                    found = StatusFacts(leader=said.leader or "", epoch=said.epoch or 0)
                last = await record.look()
                if found is not None and last is not None and (found.leader, found.epoch) == (last.holder, last.epoch):
                    break
                await asyncio.sleep(POLL_S)
        except ApiError as error:
            self.blind.append(f"the status of the shard could not be read: {error}")
        return found
