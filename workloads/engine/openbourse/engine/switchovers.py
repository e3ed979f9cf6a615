"""Planned switchovers that somebody asks for, straight from the API server to the leader: the operator may be down.

`decide` is pure: the request, what was answered, who leads and since when in; what to do out. A request is of one
epoch, so that it is carried out once, also by an engine that remembers nothing. Only the leader runs this, and whoever
leads last answers. Nothing here changes who leads: the replica's member does, or says why not.
"""

import asyncio
import contextlib
import datetime
import logging
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from openbourse.contracts.apiserver import ApiError, ApiServer, Credentials, Object, Refused
from openbourse.contracts.resources import EngineShard, Switchover
from openbourse.contracts.switchovers import SwitchoverRequest, request_of

log = logging.getLogger(__name__)

# How soon a leader sees a request. It is no part of the pause.
POLL_S = 0.5
# Until a client had an answer of the new leader, or nobody wants one.
ANSWER_S = 1.0
ANSWER_TRIES = 20
MANAGER = "openbourse-engine-switchover"


@dataclass(frozen=True, slots=True)
class HandOver:
    """To the engine of this pod."""

    to: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said in the shard's status."""

    outcome: str
    message: str = ""


def decide(request: SwitchoverRequest | None, answered: str, pod: str, epoch: int) -> HandOver | Answer | None:
    """What the leader of `epoch` in `pod` does. `answered` is the id of the request that the status is about."""
    if request is None or request.id == answered or request.epoch > epoch:
        # One of a later epoch is for somebody whom this leader has not heard of yet.
        return None
    if request.epoch == epoch:
        return Answer("Refused", f"{pod} leads already") if request.to == pod else HandOver(request.to)
    if request.to == pod:
        return Answer("Done")
    return Answer("Overtaken", f"it was for the leader of epoch {request.epoch}, and epoch {epoch} has begun since")


class Leading(Protocol):
    """The replica of a leader."""

    def member_at(self, host: str) -> str | None: ...
    async def hand_over(self, to: str | None = None) -> str: ...
    @property
    def epoch(self) -> int: ...
    def last_failover(self) -> dict[str, Any] | None: ...


async def watch_switchovers(
    replica: Leading,
    *,
    namespace: str,
    shard: str,
    pod: str,
    stop: asyncio.Event,
    credentials: Credentials | None = None,
) -> None:
    """Until `stop` is set, or the lead is handed over, which ends the process. The API server may come and go."""
    trouble = ""
    async with ApiServer.connect(credentials) as api:
        while not stop.is_set():
            try:
                await _look(api, namespace, shard, pod, replica)
                trouble = ""
            except (ApiError, ValueError) as error:
                if str(error) != trouble:
                    log.warning("switchovers: %s", error)
                trouble = str(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await stop.wait()


async def _look(api: ApiServer, namespace: str, shard: str, pod: str, replica: Leading) -> None:
    # A list, as the operator makes one: who grants a right has to hold it.
    shards, _ = await api.list(EngineShard.resource, namespace)
    found = next((item for item in shards if item["metadata"]["name"] == shard), None)
    if found is None:
        return
    request = request_of(found)
    answered = ((found.get("status") or {}).get("switchover") or {}).get("id", "")
    match decide(request, answered, pod, replica.epoch):
        case None:
            return
        case Answer() as answer:
            pass
        case HandOver(to):
            member = replica.member_at(to)
            why = f"{to} is not linked" if member is None else await replica.hand_over(member)
            answer = Answer("Refused", why)
        case _ as never:
            assert_never(never)
    assert request is not None
    pause_ms = await _pause_ms(replica) if answer.outcome == "Done" else None
    entry = Switchover.model_validate(
        {
            "id": request.id,
            "outcome": answer.outcome,
            "leader": pod,
            "epoch": replica.epoch,
            "pauseMs": pause_ms,
            "message": answer.message[:512],
            "at": datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        }
    )
    log.info("switchovers: %s to %s is %s %s", request.id, request.to, entry.outcome, entry.message)
    metadata = {"namespace": namespace, "name": shard, "uid": found["metadata"]["uid"]}
    status = {"switchover": entry.model_dump(mode="json", by_alias=True, exclude_none=True)}
    manifest: Object = {"metadata": metadata, "status": status}
    try:
        await api.apply(EngineShard.resource, manifest, MANAGER, "status")
    except Refused as error:
        # The shard was deleted, or is another of its name.
        if not (error.is_missing or error.is_conflict):
            raise


async def _pause_ms(replica: Leading) -> int | None:
    """Until a client was answered; where nobody asks anything, until it led."""
    for _ in range(ANSWER_TRIES):
        took = replica.last_failover()
        if took is None or "acknowledged_ms" in took:
            break
        await asyncio.sleep(ANSWER_S / ANSWER_TRIES)
    return None if took is None else int(took.get("acknowledged_ms", took["led_ms"]))
