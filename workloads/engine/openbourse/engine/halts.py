"""Halts of the market, straight from the API server to the engine: they work while the operator is down.

`decide` is pure: the Halt objects, what is in force, and the time in; the next command out. `watch_halts` keeps a copy
of the objects (listed, watched, listed again every few seconds), has each command sequenced and writes the shard's own
acknowledgement. All of it is level-triggered and every command's id is a function of its Halt, so doing it again, after
a restart or a lost answer, does nothing twice. Nothing here changes a Halt's spec or another shard's acknowledgement.
"""

import asyncio
import datetime
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import ValidationError

from openbourse.contracts import v1
from openbourse.contracts.apiserver import ApiError, ApiServer, Credentials, Object, Refused, Unavailable
from openbourse.contracts.market_states import ReopenMode
from openbourse.contracts.resources import Acknowledgement, AcknowledgementState, Halt
from openbourse.contracts.session import NotTaken

log = logging.getLogger(__name__)

# A watch that died in silence costs no more than this.
RELIST_S = 10
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 2.0
SEQUENCE_TIMEOUT_S = 10.0

_NAME = re.compile(
    r"[a-z0-9.-]{1,63}/(?P<uid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"(?:/(?P<mode>POST_ONLY|AUCTION)-(?P<seconds>[1-9][0-9]{0,4}))?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command to sequence, and the Halt to acknowledge it to (None: the object is gone)."""

    command: v1.Command
    halt: Halt | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, market-stopping first, and when to look again by the clock (None: not before a change)."""

    steps: tuple[Step, ...]
    look_again_at: datetime.datetime | None


def halt_name(halt: Halt) -> str:
    """As the engine knows it. With the uid: a Halt that was deleted and made anew is another one.

    And with how its markets reopen, so that a Halt which is deleted while no engine runs is still lifted as it said.
    """
    name, reopen = f"{halt.metadata.name}/{halt.metadata.uid}", halt.spec.reopen
    return name if reopen.mode is ReopenMode.TRADING else f"{name}/{reopen.mode}-{reopen.seconds}"


def decide(
    halts: Iterable[Halt], in_force: Collection[str], shard: str, now: datetime.datetime, *, retry: bool
) -> Decision:
    """The commands that bring `in_force` to what `halts` ask for, or fetch a first answer that was not acknowledged.

    A name in force that no Halt of Kubernetes can have belongs to somebody else and is left alone. What was answered
    otherwise than it should be, a refused halt above all, is asked for again, as a new command, only when `retry`: what
    it names may have been listed since.
    """
    impose: list[Step] = []
    lift: list[Step] = []
    present = set()
    ends = []
    for halt in sorted(halts, key=halt_name):
        if not halt.spec.concerns(shard):
            continue
        name = halt_name(halt)
        present.add(name)
        mine = halt.status.by(shard)
        state = mine.state if mine else None
        over = halt.metadata.deletion_timestamp is not None or (halt.ends_at is not None and halt.ends_at <= now)
        if over:
            if name in in_force or state is AcknowledgementState.HALTED:
                lift.append(Step(_lift(name, _why_over(halt)), halt))
            continue
        if state is AcknowledgementState.LIFTED and not halt.spec.two_person:
            # Lifted is the end of a Halt, whatever a clock that went backwards says; it may still be in force when
            # somebody edited the acknowledgement. One that takes two people ends with its deletion alone, which the
            # API server asks about: no edit of a status lifts it.
            if name in in_force:
                lift.append(Step(_lift(name, "acknowledged as lifted"), halt))
            continue
        if halt.ends_at is not None:
            ends.append(halt.ends_at)
        settled = name in in_force and state is AcknowledgementState.HALTED
        if mine is None or (retry and not settled):
            impose.append(Step(_impose(halt, attempt=mine.seq if mine else 0), halt))
    gone = (name for name in sorted(in_force) if _NAME.fullmatch(name) and name not in present)
    lift.extend(Step(_lift(name, "the Halt was deleted"), None) for name in gone)
    return Decision((*impose, *lift), min(ends, default=None))


def acknowledgement(step: Step, reply: v1.Reply) -> Acknowledgement:
    """What the shard says about the Halt of `step`, from the engine's reply."""
    at = datetime.datetime.fromtimestamp(reply.occurred_at_us // 1_000_000, datetime.UTC)
    lifting = step.command.WhichOneof("body") == "lift_halt"
    state = AcknowledgementState.LIFTED if lifting else AcknowledgementState.HALTED
    message = step.command.lift_halt.reason if lifting else ""
    if reply.WhichOneof("result") == "rejection":
        if lifting and reply.rejection.reason == v1.RejectReason.REJECT_REASON_UNKNOWN_HALT:
            message = "it was not in force"
        else:
            state = AcknowledgementState.REFUSED
            message = reply.rejection.detail or v1.RejectReason.Name(reply.rejection.reason)
    return Acknowledgement(
        shard=reply.shard, epoch=reply.epoch, seq=reply.seq, state=state, at=at, message=message[:512]
    )


async def watch_halts(
    *,
    namespace: str,
    exchange: str,
    shard: str,
    sequence: Callable[[v1.Command], Awaitable[v1.Reply]],
    in_force: Callable[[], Sequence[str]],
    stop: asyncio.Event,
    caught_up: asyncio.Event | None = None,
    credentials: Credentials | None = None,
) -> None:
    """Runs until `stop` is set. The API server may come and go; a set-up that names none raises Unavailable.

    `caught_up` is set once all that the first list asked for is carried out.

    `sequence` gives the committed reply to a command and may be called again with the same command; what it raises, but
    for NotTaken and TimeoutError, ends this. `in_force` names the halts of the shard's committed state.
    """
    async with ApiServer.connect(credentials) as api:
        watcher = _Watcher(
            api, namespace=namespace, exchange=exchange, shard=shard, sequence=sequence, in_force=in_force
        )
        if caught_up is not None:
            watcher.caught_up = caught_up
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(watcher.keep_listed()), group.create_task(watcher.keep_settled())]
            await stop.wait()
            for task in tasks:
                task.cancel()


class _Watcher:
    """The copy of the Halt objects, kept by one task and acted on by another."""

    def __init__(
        self,
        api: ApiServer,
        *,
        namespace: str,
        exchange: str,
        shard: str,
        sequence: Callable[[v1.Command], Awaitable[v1.Reply]],
        in_force: Callable[[], Sequence[str]],
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._exchange = exchange
        self._shard = shard
        self._sequence = sequence
        self._in_force = in_force
        self.caught_up = asyncio.Event()
        # None until the first list: what was not seen must not be lifted.
        self._halts: Mapping[str, Halt] | None = None
        self._changed = asyncio.Event()
        self._retry = False
        self._timer: asyncio.TimerHandle | None = None

    async def keep_listed(self) -> None:
        """Lists, watches for a while, lists again; after an error waits a little, longer each time, up to a bound."""
        backoff_s = BACKOFF_MIN_S
        while True:
            began = time.monotonic()
            try:
                objects, version = await self._api.list(Halt.resource, self._namespace)
                self._halts = MappingProxyType({h.metadata.name: h for h in map(self._halt, objects) if h is not None})
                self._retry = True
                self._changed.set()
                async for event in self._api.watch(Halt.resource, self._namespace, version, RELIST_S):
                    if event.type != "BOOKMARK":
                        self._see(event.object, gone=event.type == "DELETED")
                if time.monotonic() - began < BACKOFF_MAX_S:
                    raise Unavailable("the watch ended at once")
                backoff_s = BACKOFF_MIN_S
            except ApiError as error:
                log.warning("halts: %s; again in %.1f s", error, backoff_s)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def keep_settled(self) -> None:
        """After each change, and when a Halt's time is over, carries out what `decide` says."""
        backoff_s = BACKOFF_MIN_S
        while True:
            await self._changed.wait()
            self._changed.clear()
            retry, self._retry = self._retry, False
            now = datetime.datetime.now(datetime.UTC)
            assert self._halts is not None
            decision = decide(self._halts.values(), self._in_force(), self._shard, now, retry=retry)
            try:
                for step in decision.steps:
                    await self._carry_out(step)
                self.caught_up.set()
                backoff_s = BACKOFF_MIN_S
            except (Unavailable, NotTaken, TimeoutError) as error:
                log.warning("halts: not settled yet: %s %s; again in %.1f s", type(error).__name__, error, backoff_s)
                self._later(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            if decision.look_again_at is not None:
                self._later(max(0.0, (decision.look_again_at - now).total_seconds()) + 0.001)

    async def _carry_out(self, step: Step) -> None:
        async with asyncio.timeout(SEQUENCE_TIMEOUT_S):
            reply = await self._sequence(step.command)
        entry = acknowledgement(step, reply)
        log.info("halts: %s is %s at seq %d %s", step.command.causation_id, entry.state, entry.seq, entry.message)
        if step.halt is None:
            return
        metadata = step.halt.metadata
        manifest = {
            # The uid makes the API server refuse the entry when the name belongs to another Halt by now.
            "metadata": {"namespace": self._namespace, "name": metadata.name, "uid": metadata.uid},
            "status": {"acknowledgements": [entry.model_dump(mode="json", by_alias=True)]},
        }
        try:
            applied = await self._api.apply(Halt.resource, manifest, f"openbourse-engine-{self._shard}", "status")
        except Refused as error:
            if not (error.is_missing or error.is_conflict):
                # Said loudly and often (each list tries again): a person waits for this entry.
                log.error("halts: the acknowledgement of %s was refused: %s", metadata.name, error)
            return
        self._see(applied, gone=False, is_own_write=True)

    def _see(self, manifest: Object, *, gone: bool, is_own_write: bool = False) -> None:
        assert self._halts is not None
        name = manifest["metadata"]["name"]
        known = self._halts.get(name)
        version = int(manifest["metadata"]["resourceVersion"])
        if known is None and is_own_write:
            return  # deleted while it was written
        if known is not None and int(known.metadata.resource_version) >= version and not gone:
            return
        if gone and known is not None and known.metadata.uid != manifest["metadata"]["uid"]:
            return  # the end of an earlier one of this name
        halt = None if gone else self._halt(manifest)
        rest = {other: value for other, value in self._halts.items() if other != name}
        self._halts = MappingProxyType(rest if halt is None else rest | {name: halt})
        self._changed.set()

    def _halt(self, manifest: Object) -> Halt | None:
        """The Halt, if it is one of this exchange. One that cannot be read halts nothing, and is said to be so."""
        if manifest.get("spec", {}).get("exchange") != self._exchange:
            return None
        try:
            return Halt.model_validate(manifest)
        except ValidationError as error:
            log.error("halts: %s cannot be read and is not in force: %s", manifest["metadata"].get("name"), error)
            return None

    def _later(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._changed.set)


def _impose(halt: Halt, attempt: int) -> v1.Command:
    return v1.Command(
        command_id=_command_id(halt.metadata.uid, f"impose/{attempt}" if attempt else "impose"),
        causation_id=halt_name(halt),
        impose_halt=v1.ImposeHalt(
            halt=halt_name(halt), symbols=halt.spec.symbols, state=halt.spec.mode.state, reason=halt.spec.reason
        ),
    )


def _lift(name: str, reason: str) -> v1.Command:
    """From the name alone: the object may be gone."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return v1.Command(
        command_id=_command_id(match["uid"], "lift"),
        causation_id=name,
        lift_halt=v1.LiftHalt(
            halt=name,
            reason=reason,
            reopen=ReopenMode(match["mode"] or ReopenMode.TRADING).state,
            reopen_ms=int(match["seconds"] or 0) * 1000,
        ),
    )


def _command_id(uid: str, action: str) -> bytes:
    return uuid.uuid5(uuid.UUID(uid), action).bytes


def _why_over(halt: Halt) -> str:
    return "the Halt was deleted" if halt.metadata.deletion_timestamp is not None else "the Halt's time is over"
