"""Leadership of a shard with one member: a file beside the log. Whoever can lock the log is the member.

Every boot leads a new epoch, which is durable before anything is served under it. A record that cannot be read, or
that is older than the log, is replaced by one above all epochs that are known.
"""

import json
import logging
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from openbourse.engine import durable

log = logging.getLogger(__name__)

FILE = "leadership.json"


@dataclass(frozen=True, slots=True)
class Leadership:
    """`member` is the volume and stays; `boot` is one process on it."""

    shard: str
    epoch: int
    member: str
    boot: str
    in_sync: tuple[str, ...]


def lead(folder: Path, shard: str, log_epoch: int) -> Leadership:
    """The leadership of this boot, durable. `log_epoch` is the last epoch in the log. Raises OSError."""
    previous = _read(folder / FILE, shard)
    if previous is not None and previous.epoch < log_epoch:
        log.warning("%s says epoch %d, but the log has epoch %d: going above both", FILE, previous.epoch, log_epoch)
    epoch = max(previous.epoch if previous else 0, log_epoch) + 1
    member = previous.member if previous else secrets.token_hex(8)
    leadership = Leadership(shard, epoch, member, boot=secrets.token_hex(8), in_sync=(member,))
    durable.write(folder / FILE, json.dumps(asdict(leadership)).encode())
    log.info("shard %s is led under epoch %d by member %s, boot %s", shard, epoch, member, leadership.boot)
    return leadership


def _read(path: Path, shard: str) -> Leadership | None:
    try:
        document = json.loads(path.read_bytes())
        found = Leadership(
            shard=document["shard"],
            epoch=document["epoch"],
            member=document["member"],
            boot=document["boot"],
            in_sync=tuple(document["in_sync"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%r): a new record is made, above the log's epoch", path, error)
        return None
    if found.shard != shard or type(found.epoch) is not int or found.epoch < 0:
        log.warning("%s is not a record of shard %s: a new one is made, above the log's epoch", path, shard)
        return None
    return found
