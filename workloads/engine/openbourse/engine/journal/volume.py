"""Who a volume is and what it promised: `member.json` beside its log. Nothing here decides what to promise.

A member is its volume: the id is made with it and stays. Everything here blocks until it is durable.
"""

import json
import logging
import re
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from openbourse.contracts import durable
from openbourse.engine.errors import Fatal

log = logging.getLogger(__name__)

FILE = "member.json"
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Volume:
    """`promise` is the highest epoch that it led, joined or was sealed for; 0: none yet."""

    shard: str
    member: str
    promise: int


def open_volume(folder: Path, shard: str, log_epoch: int) -> Volume:
    """The volume, made here if it is new. `log_epoch` is the last epoch in its log, 0 for an empty one.

    A log without the file was copied, or restored: it may lack what its member acknowledged, so it gets an id of its
    own, and joins as a new member. Raises OSError, and Fatal for a file that cannot be read or is of another shard.
    """
    path = folder / FILE
    if path.exists():
        found = read(folder, shard)
        # Whoever wrote it may have died before this, and a promise that is acted on must not be gone after a power cut.
        durable.sync_folder(folder)
        return found
    volume = Volume(shard, new_id(), log_epoch)
    write(folder, volume)
    if log_epoch:
        log.warning(
            "%s is missing, but the log has records up to epoch %d: it was copied or restored, so it is now of the "
            "new member %s",
            *(path, log_epoch, volume.member),
        )
    else:
        log.info("%s: a new volume of shard %s, member %s", path, shard, volume.member)
    return volume


def promise(folder: Path, volume: Volume, epoch: int) -> Volume:
    """The volume with the promise, which is durable. Raises OSError: it may be durable or not, so ask again."""
    assert epoch >= volume.promise, f"promised {volume.promise}, not to be taken back to {epoch}"
    promised = replace(volume, promise=epoch)
    write(folder, promised)
    return promised


def write(folder: Path, volume: Volume) -> None:
    """Raises OSError: it may be durable or not."""
    durable.write(folder / FILE, _content(volume))


def new_id() -> str:
    """Of a member, or of a boot: one process on a volume."""
    return secrets.token_hex(8)


def read(folder: Path, shard: str) -> Volume:
    """Raises OSError, FileNotFoundError too, and Fatal for what cannot be read or is of another shard."""
    path = folder / FILE
    content = path.read_bytes()
    try:
        document = json.loads(content)
        found = Volume(document["shard"], document["member"], document["promise"])
        if not isinstance(found.shard, str) or not _ID.fullmatch(found.member):
            raise ValueError(f"shard {found.shard!r}, member {found.member!r}")
        if type(found.promise) is not int or found.promise < 0:
            raise ValueError(f"promise {found.promise!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise Fatal(
            f"{path} is damaged ({type(error).__name__}: {error}). What it promised is not known any more: remove it, "
            f"and the volume joins as a new member; if no other of the in-sync set is left, recover the shard first"
        ) from None
    if found.shard != shard:
        raise Fatal(f"{path} is of shard {found.shard}, not of {shard}: the volume is mounted at the wrong place")
    return found


def _content(volume: Volume) -> bytes:
    return json.dumps(asdict(volume)).encode() + b"\n"
