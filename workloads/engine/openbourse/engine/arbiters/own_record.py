"""The record of a shard with one member, on that member's own volume: both are lost together or not at all.

So nobody else can have led meanwhile, and a record that is missing or damaged is made anew, above all that the volume
knows of. A record that others share is never replaced by anything here.
"""

import logging
from pathlib import Path

from openbourse.engine.arbiters.arbiter import NotAllowed, NotUnderstood
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.journal.volume import Volume
from openbourse.engine.replication.record import CompareAndSet, Record

log = logging.getLogger(__name__)

FOLDER = "leadership"
# In a volume whose record others share: which one that is. Alone it may lack what they acknowledged.
SHARED = "shared-record"


async def own_record(wal: Path, volume: Volume, log_epoch: int) -> RecordFolder:
    """Raises RecordError and OSError."""
    if (shared := wal / SHARED).exists():
        raise NotAllowed(
            f"{wal} is of a member of several, whose record is the Lease {shared.read_text().strip()}: start it with "
            f"--record-lease, for alone it may lack what the others acknowledged"
        )
    folder = wal / FOLDER
    folder.mkdir(exist_ok=True)
    arbiter = RecordFolder(folder, volume.shard)
    known = max(volume.promise, log_epoch)
    expected = None
    try:
        held = await arbiter.read()
    except NotUnderstood as error:
        why, expected = str(error), error.version
    else:
        if held is None and not known:
            return arbiter
        if held is not None and held.record.epoch >= known and volume.member in held.record.in_sync:
            return arbiter
        why = "it is missing" if held is None else f"it says {held.record}"
        if held is not None:
            expected, known = held.version, max(known, held.record.epoch)
    log.warning("the leadership record of this volume is made anew, above epoch %d: %s", known, why)
    await arbiter.compare_and_set(CompareAndSet(expected, Record(known + 1, None, frozenset({volume.member}))))
    return arbiter
