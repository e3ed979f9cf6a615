"""The leadership record as a Lease of Kubernetes, changed by its resourceVersion only. No time in it decides anything.

| of the record | in the Lease |
|---|---|
| epoch | annotation `openbourse.dev/epoch`; `spec.leaseTransitions` says the same |
| leader | `spec.holderIdentity`, as `member/boot`; absent where nobody has led the epoch |
| in-sync set | annotation `openbourse.dev/in-sync`, names with commas between them |
| shard | annotation `openbourse.dev/shard` |
| version | `metadata.resourceVersion` |

Whatever else somebody wrote into its metadata stays. `spec.acquireTime` is when the epoch began, for people.

**It is never made here.** The operator makes it once (`openbourse.contracts.leadership`), with epoch 0, which is read
as no record. A first record goes into such a Lease alone: where there is none it was lost, and its members may live.

**It is not renewed.** Each renewal would be a new version, so that the next change, which a dead standby's removal or a
take-over is waiting for, would conflict first and have to read and write again: twice the pause, for a time that no
member trusts. A member's health is in its status. So there is no `leaseDurationSeconds` either: a holder is not
replaced because it was silent, and a reader who knows Leases must not think so.
"""

import datetime
from typing import Any, Final

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.leadership import EPOCH, IN_SYNC, LEASE, SHARD, is_unfounded
from openbourse.engine.arbiters.arbiter import NotAllowed, NotUnderstood, RecordError, Unreachable
from openbourse.engine.arbiters.record_text import epoch_of, in_sync_of, session_of
from openbourse.engine.replication.inputs import Conflicted, Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record

_TRANSITIONS_MAX: Final = 2**31 - 1


class RecordLease:
    """`api` is the caller's and stays open. One object in one namespace is the record of one shard.

    `recovers`: a person has sealed every volume, so a Lease that is gone is made anew. A member never does that.
    """

    def __init__(self, api: ApiServer, namespace: str, name: str, shard: str, *, recovers: bool = False) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._shard = shard
        self._recovers = recovers
        # A change is of the whole object, so it begins with the object of the version that it expects.
        self._last: Object | None = None

    async def read(self) -> Held | None:
        """None: nobody has led yet, or the Lease is lost."""
        try:
            lease = await self._get()
        except (ApiError, ValueError) as error:
            raise self._error(error) from error
        if lease is None or is_unfounded(lease, self._shard):
            return None
        return Held(self._record(lease), _version(lease))

    async def compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        try:
            written = await self._write(ask)
            if written is None:
                return Conflicted(ask)
            version = _version(written)
        except Refused as error:
            if error.is_conflict:
                return Conflicted(ask)
            raise self._error(error) from error
        except (ApiError, ValueError) as error:
            raise self._error(error) from error
        self._last = written
        return Succeeded(ask, version)

    async def would_take(self, ask: CompareAndSet) -> None:
        """Asks the API server to judge the write and to store nothing. Raises RecordError, NotAllowed above all."""
        try:
            await self._write(ask, dry_run=True)
        except (ApiError, ValueError) as error:
            raise self._error(error) from error

    async def _write(self, ask: CompareAndSet, *, dry_run: bool = False) -> Object | None:
        """The object as written, or None: there is another one than expected, and nothing was sent."""
        if ask.expected is None:
            lease = self._last
            if lease is None or not is_unfounded(lease, self._shard):
                lease = await self._get()
            if lease is None and self._recovers:
                new = {"metadata": {"namespace": self._namespace, "name": self._name}}
                return await self._api.create(LEASE, self._manifest(new, ask.record), dry_run=dry_run)
            if lease is None:
                raise NotAllowed(
                    f"{self._place} is not there. It is made once, before its shard is founded: so the record is lost, "
                    f"and the shard is to be recovered"
                )
            if not is_unfounded(lease, self._shard):
                return None
            return await self._api.replace(LEASE, self._manifest(lease, ask.record), dry_run=dry_run)
        lease = self._last
        if lease is None or _version(lease) != ask.expected:
            lease = await self._get()
        if lease is None or _version(lease) != ask.expected:
            return None
        return await self._api.replace(LEASE, self._manifest(lease, ask.record), dry_run=dry_run)

    async def _get(self) -> Object | None:
        """Without a resourceVersion in the question the API server asks its store: this read is linearizable."""
        lease = await self._api.get(LEASE, self._namespace, self._name)
        if lease is not None:
            _version(lease)
        self._last = lease
        return lease

    def _manifest(self, lease: Object, record: Record) -> Object:
        """The object, with this record in place of the one it has."""
        metadata = lease["metadata"]
        annotations = (metadata.get("annotations") or {}) | {
            SHARD: self._shard,
            EPOCH: str(record.epoch),
            IN_SYNC: ",".join(sorted(record.in_sync)),
        }
        before = lease.get("spec") or {}
        same_epoch = (lease["metadata"].get("annotations") or {}).get(EPOCH) == str(record.epoch)
        spec: Object = {
            "leaseTransitions": _transitions(record.epoch),
            "acquireTime": before.get("acquireTime") if same_epoch else _now(),
        }
        if record.leader is not None:
            spec["holderIdentity"] = str(record.leader)
        return lease | {"metadata": metadata | {"annotations": annotations}, "spec": spec}

    def _record(self, lease: Object) -> Record:
        field = ""
        try:
            annotations: Any = lease["metadata"].get("annotations") or {}
            spec: Any = lease.get("spec") or {}
            field = f"metadata.annotations[{SHARD}]"
            if annotations[SHARD] != self._shard:
                raise ValueError(f"{annotations[SHARD]!r} is not this shard, {self._shard}")
            field = f"metadata.annotations[{EPOCH}]"
            epoch = epoch_of(annotations[EPOCH])
            field = "spec.leaseTransitions"
            if spec["leaseTransitions"] != _transitions(epoch):
                raise ValueError(f"{spec['leaseTransitions']} is not the epoch, which is {epoch}")
            field = "spec.holderIdentity"
            holder = spec.get("holderIdentity")
            leader = session_of(holder) if holder is not None else None
            field = f"metadata.annotations[{IN_SYNC}]"
            return Record(epoch, leader, in_sync_of(annotations[IN_SYNC].split(",")))
        except (ValueError, KeyError) as error:
            why = "it is not there" if isinstance(error, KeyError) else str(error)
            raise NotUnderstood(
                f"{self._place}, {field}: {why}. It was edited by hand, or is no record: put back what was there, or "
                f"recover the shard, which seals its volumes before a new record is made",
                _version(lease),
            ) from None

    @property
    def _place(self) -> str:
        return f"lease {self._namespace}/{self._name}"

    def _error(self, error: ApiError | ValueError) -> RecordError:
        """An answer that is no answer (ValueError) is as good as none."""
        why = f"{self._place}: {error}"
        return NotAllowed(why) if isinstance(error, Refused) else Unreachable(why)


def _version(lease: Object) -> str:
    try:
        version = lease["metadata"]["resourceVersion"]
    except (KeyError, TypeError):
        version = None
    if not isinstance(version, str) or not version:
        raise ValueError("the answer has no resourceVersion")
    return version


def _transitions(epoch: int) -> int:
    """The field has 32 bits, an epoch 64."""
    return min(epoch, _TRANSITIONS_MAX)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
