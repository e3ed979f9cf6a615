"""The Lease of a shard's record as one member opens it. A volume that came with a record of its own brings that along.

Nothing here makes a Lease, and a record that is in one is never replaced by a volume's own.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from openbourse.contracts import durable
from openbourse.contracts.apiserver import ApiError, ApiServer
from openbourse.engine.arbiters.arbiter import Arbiter, NotAllowed, Unreachable
from openbourse.engine.arbiters.own_record import FOLDER, SHARED, own_record
from openbourse.engine.arbiters.record_lease import RecordLease
from openbourse.engine.journal.volume import Volume
from openbourse.engine.replication.inputs import Conflicted
from openbourse.engine.replication.record import CompareAndSet

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def shared_lease(
    namespace: str, name: str, wal: Path, volume: Volume, log_epoch: int
) -> AsyncIterator[RecordLease]:
    """Raises RecordError and OSError. From here on the volume belongs to that Lease and takes no other record."""
    lease = f"{namespace}/{name}"
    mark = wal / SHARED
    before = mark.read_text().strip() if mark.exists() else ""
    if before and before != lease:
        raise NotAllowed(f"{wal} is of a member whose record is the Lease {before}, not {lease}")
    async with contextlib.AsyncExitStack() as resources:
        try:
            api = await resources.enter_async_context(ApiServer.connect())
        except ApiError as error:
            raise Unreachable(f"lease {lease}: {error}") from error
        arbiter = RecordLease(api, namespace, name, volume.shard)
        if not before:
            if (wal / FOLDER).exists():
                await bring_along(arbiter, await own_record(wal, volume, log_epoch), volume)
            durable.write(mark, f"{lease}\n".encode())
        yield arbiter


async def bring_along(shared: Arbiter, own: Arbiter, volume: Volume) -> None:
    """The record of a shard that had one member becomes the first that its new members share. Raises RecordError."""
    held = await own.read()
    if held is None:
        return
    outcome = await shared.compare_and_set(CompareAndSet(None, held.record))
    if not isinstance(outcome, Conflicted):
        log.info("the record of this volume is the shard's now: %s", held.record)
        return
    # Brought along before, by a boot that died right after; or the shard is somebody else's.
    there = await shared.read()
    if there is None or volume.member not in there.record.in_sync:
        what = "is lost" if there is None else f"says {there.record}"
        raise NotAllowed(f"this volume led its shard alone, and the record that it should share {what}: a person looks")
