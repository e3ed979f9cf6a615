"""What the operator does by itself to engines that run: one of them is replaced, or hands over its lead, or why not.

Observed in, the next step of each shard out. In the order of a rolling upgrade: what does not run, who is behind, the
standbys, then the lead is handed to one of them, then the old leader. Never two members of a shard away, never fewer in
sync than `minInSync`, never on what was not heard just now. Nothing here reads a clock, a cluster or a file.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.contracts.switchovers import SwitchoverRequest, request_of
from openbourse.operator.drift import first_difference
from openbourse.operator.manifests import engine, kinds, names
from openbourse.operator.observed import EngineFacts, Observed
from openbourse.operator.readiness import why_it_does_not_run

REVISION_LABEL = "controller-revision-hash"
# A leader that says nothing to a request by then is replaced as it is: it may be of a version that knows none.
UNANSWERED = datetime.timedelta(seconds=30)
# One that refused is asked again.
ASKED_AGAIN = datetime.timedelta(seconds=30)

_REQUEST_ID = re.compile(r"plan-[0-9]+-(?P<at>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Replace:
    """Delete this pod: its StatefulSet makes it anew, from the present template, on the same volume."""

    shard: EngineShard
    pod: Object
    reason: str


@dataclass(frozen=True, slots=True)
class SwitchOver:
    """Ask the leader to hand over."""

    shard: EngineShard
    request: SwitchoverRequest
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now. `is_held`: it does not go on by itself, or not soon; the message says what is to be done."""

    reason: str
    message: str
    is_held: bool = False


Step = Replace | SwitchOver | Wait


@dataclass(frozen=True, slots=True)
class Members:
    """A shard's engines as they are: pods by name, of these the outdated, and what was heard of them just now."""

    expected: tuple[str, ...]
    pods: Mapping[str, Object]
    outdated: frozenset[str]
    said: Mapping[str, EngineFacts]
    leader: str | None
    in_sync: frozenset[str]

    @property
    def away(self) -> list[str]:
        """Not there, or on their way out."""
        return [
            pod for pod in self.expected if pod not in self.pods or "deletionTimestamp" in self.pods[pod]["metadata"]
        ]


def next_step(observed: Observed, exchange: Exchange, shard: EngineShard) -> Step | None:
    """What is to be done to the shard's engines, or waited for; None: they are as they should be."""
    live = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    if live is None or live["spec"].get("updateStrategy", {}).get("type") != "OnDelete":
        return None
    if live.get("status", {}).get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return Wait("TemplateIsNew", "its StatefulSet has not looked at the new template yet")
    members = members_of(observed, exchange, shard, live)
    cordoned = leader_on_cordoned(observed, members)
    if not members.outdated and not cordoned:
        return None
    for pod in sorted(members.outdated):
        if why := why_it_does_not_run(members.pods[pod]):
            return Replace(shard, members.pods[pod], f"{pod} is of an earlier template and does not run ({why})")
    if away := members.away:
        return Wait("MemberIsAway", f"{', '.join(away)} is being made anew")
    if len(members.expected) == 1 and members.outdated:
        (pod,) = members.expected
        return Replace(shard, members.pods[pod], f"{pod} is of an earlier template, and the only engine")
    return _with_all_there(observed, shard, members, cordoned)


def _with_all_there(observed: Observed, shard: EngineShard, members: Members, cordoned: str) -> Step | None:
    leader = members.leader
    if leader is None:
        return Wait("NobodyLeads", "no engine says just now that it leads", is_held=True)
    for pod in members.expected:
        if pod in members.in_sync or pod in members.outdated:
            continue
        if why := why_it_does_not_run(members.pods[pod]):
            message = f"{pod} of the new template does not run ({why}): the others stay as they are until it is mended"
            return Wait("NewPodDoesNotRun", message, is_held=True)
        return Wait("NotInSyncYet", f"{pod} is new, and does not have everything yet")
    outdated = sorted(members.outdated - {leader}, reverse=True)
    for pod in outdated:
        if pod not in members.in_sync:
            return Replace(shard, members.pods[pod], f"{pod} is of an earlier template and not in sync")
    left = len(members.in_sync) - 1
    if left < shard.spec.min_in_sync:
        message = f"{left} would be in sync while one is away, and minInSync is {shard.spec.min_in_sync}"
        return Wait("TooFewInSync", f"{message}: lower it, or add a standby", is_held=True)
    if outdated:
        return Replace(shard, members.pods[outdated[0]], f"{outdated[0]} is of an earlier template and follows")
    reason = f"{leader} leads, and is of an earlier template" if leader in members.outdated else cordoned
    return _handed_over(observed, shard, members, leader, reason)


def _handed_over(observed: Observed, shard: EngineShard, members: Members, leader: str, reason: str) -> Step:
    targets = [pod for pod in members.expected if pod != leader and pod in members.in_sync]
    schedulable = [pod for pod in targets if not _is_cordoned(observed, members.pods[pod])]
    if leader not in members.outdated:
        targets = schedulable
    if not targets:
        return Wait("NobodyToHandOverTo", f"{reason}; no engine in sync is on a node that takes pods", is_held=True)
    epoch = members.said[leader].epoch or 0
    pending, answer = _pending(shard, epoch), shard.status.switchover
    if pending is not None:
        asked_at = _REQUEST_ID.fullmatch(pending.id)
        asked_s = int(asked_at["at"]) if asked_at else 0
        if asked_at and observed.now.timestamp() - asked_s < UNANSWERED.total_seconds():
            return Wait("SwitchoverIsAsked", f"{leader} is asked to hand over to {pending.to}")
        if asked_at and leader in members.outdated:
            return Replace(shard, members.pods[leader], f"{reason}, and does not answer: it hands over as it stops")
    elif (
        answer is not None
        and (answer.outcome, answer.epoch) == ("Refused", epoch)
        and observed.now - answer.at < ASKED_AGAIN
    ):
        return Wait("SwitchoverIsRefused", f"{leader} does not hand over: {answer.message}", is_held=True)
    request = SwitchoverRequest(
        id=f"plan-{epoch}-{int(observed.now.timestamp())}", epoch=max(epoch, 1), to=(schedulable or targets)[0]
    )
    return SwitchOver(shard, request, f"{reason}: {request.to} is to lead")


def _pending(shard: EngineShard, epoch: int) -> SwitchoverRequest | None:
    """A request for the present epoch that nobody has answered."""
    try:
        request = request_of({"metadata": {"annotations": shard.metadata.annotations}})
    except ValueError:
        return None
    answer = shard.status.switchover
    if request is None or request.epoch != epoch or (answer is not None and answer.id == request.id):
        return None
    return request


def members_of(observed: Observed, exchange: Exchange, shard: EngineShard, live: Object) -> Members:
    """Of a shard whose StatefulSet is `live`."""
    selector = names.selector(exchange, Component.ENGINE, shard)
    pods = {
        pod["metadata"]["name"]: pod
        for pod in observed.of_kind(kinds.POD)
        if first_difference(selector, pod["metadata"].get("labels", {})) is None
    }
    revision = live.get("status", {}).get("updateRevision")
    outdated = {
        name
        for name, pod in pods.items()
        if revision is not None and pod["metadata"]["labels"].get(REVISION_LABEL) not in {revision, None}
    }
    said = {
        pod: heard.facts
        for pod, heard in observed.engines.items()
        if heard.shard == shard.metadata.name and heard.at == observed.now and pod in pods
    }
    leaders = [(facts.epoch or 0, pod) for pod, facts in said.items() if facts.role == "leader" and facts.ready]
    leader = max(leaders)[1] if leaders else None
    counted = said[leader].in_sync if leader is not None else ()
    in_sync = frozenset(pod for pod, facts in said.items() if facts.member in counted)
    expected = engine.members(exchange, shard)[: int(live["spec"].get("replicas", 1))]
    return Members(expected, pods, frozenset(outdated), said, leader, in_sync)


def leader_on_cordoned(observed: Observed, members: Members) -> str:
    """The sentence, where the leader's node takes no pods any more; empty: it does."""
    if members.leader is None or not _is_cordoned(observed, members.pods[members.leader]):
        return ""
    node = members.pods[members.leader]["spec"]["nodeName"]
    return f"{members.leader} leads on node {node}, which is cordoned"


def _is_cordoned(observed: Observed, pod: Object) -> bool:
    return pod.get("spec", {}).get("nodeName") in (observed.cordoned or ())
