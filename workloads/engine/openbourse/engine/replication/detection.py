"""Whom to suspect and whom to trust again: heartbeats and ticks in, suspicions out. The only part that knows the time.

Time makes a failover fast and never decides one: every suspicion is safe at any moment. Nothing here reads a clock; the
time is in the inputs, in milliseconds of a clock that should be monotonic. One that goes back is taken to stand still,
and a long step of it says that this process slept, not that the others did.
"""

from dataclasses import dataclass, replace

from openbourse.engine.replication.inputs import Suspect, Trust


@dataclass(frozen=True, slots=True)
class Limits:
    """`silent_ms`: without a heartbeat. `stuck_ms`: heartbeats come, from a native thread, but the loop stands still.
    `slow_ms`: a commit waits for it, a follower with a slow disk for example.

    `well_ms`: how long all must be well before trust comes back; it doubles with each suspicion up to `well_max_ms`,
    and a suspicion is forgotten after ten such times. Ticks come at least twice in `silent_ms`.
    """

    silent_ms: int = 400
    stuck_ms: int = 1_500
    slow_ms: int = 1_000
    well_ms: int = 1_000
    well_max_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Watched:
    """One other member. `stamp` is its loop's count of progress, `owes_since_ms` the time of the oldest batch that it
    has not acknowledged. `well_since_ms`: None while suspected and unwell.
    """

    member: str
    heard_ms: int
    stamp: int
    moved_ms: int
    owes_since_ms: int | None = None
    suspected: bool = False
    suspicions: int = 0
    well_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """`now_ms` only rises."""

    limits: Limits
    now_ms: int
    watched: tuple[Watched, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`stamp` moves as long as the member's loop does, also when there is nothing to do."""

    member: str
    stamp: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Owes:
    """A leader's view: the oldest batch that the member has not acknowledged was sent then; None: there is none."""

    member: str
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The link to the member ended."""

    member: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    now_ms: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The member is none any more."""

    member: str


Sign = Heartbeat | Owes | Closed | Tick | Forget


def detect(detection: Detection, sign: Sign) -> tuple[Detection, tuple[Suspect | Trust, ...]]:
    """A suspicion is repeated with every tick for as long as it is silent: one that was missed is heard again."""
    match sign:
        case Heartbeat(member, stamp, now_ms):
            return _heard(_at(detection, now_ms), member, stamp), ()
        case Owes(member, since_ms):
            watched = tuple(
                replace(known, owes_since_ms=since_ms) if known.member == member else known
                for known in detection.watched
            )
            return replace(detection, watched=watched), ()
        case Closed(member, now_ms):
            return _closed(_at(detection, now_ms), member)
        case Tick(now_ms):
            return _ticked(detection, now_ms)
        case Forget(member):
            rest = tuple(other for other in detection.watched if other.member != member)
            return replace(detection, watched=rest), ()


def _at(detection: Detection, now_ms: int) -> Detection:
    return replace(detection, now_ms=max(now_ms, detection.now_ms))


def _heard(detection: Detection, member: str, stamp: int) -> Detection:
    now_ms = detection.now_ms
    rest = tuple(other for other in detection.watched if other.member != member)
    for known in detection.watched:
        if known.member == member:
            moved_ms = known.moved_ms if known.stamp == stamp else now_ms
            return replace(detection, watched=(*rest, replace(known, heard_ms=now_ms, stamp=stamp, moved_ms=moved_ms)))
    return replace(detection, watched=(*rest, Watched(member, now_ms, stamp, now_ms)))


def _closed(detection: Detection, member: str) -> tuple[Detection, tuple[Suspect | Trust, ...]]:
    """Acted on at once."""
    watched = tuple(_suspected(known) if known.member == member else known for known in detection.watched)
    known = any(other.member == member for other in watched)
    return replace(detection, watched=watched), (Suspect(member),) if known else ()


def _ticked(detection: Detection, now_ms: int) -> tuple[Detection, tuple[Suspect | Trust, ...]]:
    before = detection.now_ms
    detection = _at(detection, now_ms)
    slept_ms = detection.now_ms - before - detection.limits.silent_ms
    if slept_ms > 0:
        # What others sent meanwhile is still to be read.
        detection = replace(
            detection,
            watched=tuple(
                replace(
                    known,
                    heard_ms=known.heard_ms + slept_ms,
                    moved_ms=known.moved_ms + slept_ms,
                    owes_since_ms=None if known.owes_since_ms is None else known.owes_since_ms + slept_ms,
                )
                for known in detection.watched
            ),
        )
    verdicts: list[Suspect | Trust] = []
    watched = []
    for known in detection.watched:
        judged, verdict = _judged(detection, known)
        watched.append(judged)
        if verdict is not None:
            verdicts.append(verdict)
    return replace(detection, watched=tuple(watched)), tuple(verdicts)


def _judged(detection: Detection, known: Watched) -> tuple[Watched, Suspect | Trust | None]:
    limits, now_ms = detection.limits, detection.now_ms
    owed_ms = 0 if known.owes_since_ms is None else now_ms - known.owes_since_ms
    is_well = (
        now_ms - known.heard_ms <= limits.silent_ms
        and now_ms - known.moved_ms <= limits.stuck_ms
        and owed_ms <= limits.slow_ms
    )
    if not is_well:
        return _suspected(known), Suspect(known.member)
    if not known.suspected:
        calm_ms = now_ms - known.well_since_ms if known.well_since_ms is not None else 0
        if known.suspicions and calm_ms >= 10 * _well_ms(limits, known):
            known = replace(known, suspicions=known.suspicions - 1, well_since_ms=now_ms)
        return known, None
    if known.well_since_ms is None:
        return replace(known, well_since_ms=now_ms), None
    if now_ms - known.well_since_ms < _well_ms(limits, known):
        return known, None
    return replace(known, suspected=False, well_since_ms=now_ms), Trust(known.member)


def _suspected(known: Watched) -> Watched:
    suspicions = known.suspicions if known.suspected else known.suspicions + 1
    return replace(known, suspected=True, suspicions=suspicions, well_since_ms=None)


def _well_ms(limits: Limits, known: Watched) -> int:
    return min(limits.well_ms << min(known.suspicions - 1, 20), limits.well_max_ms)
