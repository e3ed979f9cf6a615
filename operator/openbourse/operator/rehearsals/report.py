"""The sealed report of a rehearsal: made once, and checked again by anybody who has a copy. No cluster, no clock.

    {"report": {...}, "sha256": ..., "key": ..., "signature": ...}

The digest is SHA-256 of the report as canonical JSON (sorted keys, no spaces, ASCII, integers only). It is signed
behind a context, and the next report of the exchange names it as `previous`: a report that was taken away is missed,
one that was changed is another one.

`key` is a public key in base64, and its length says of what kind. 33 bytes: ECDSA over P-256 with SHA-256, a point in
its short form and a signature in DER, as tokens make them. 32 bytes: Ed25519, of reports before keys were in a token.
"""

import base64
import binascii
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pydantic import Field, ValidationError

from openbourse.contracts.documents import Document
from openbourse.contracts.resources import Verdict
from openbourse.contracts.resources.rehearsal import InvariantState
from openbourse.operator.rehearsals.facts import Facts
from openbourse.operator.rehearsals.invariants import Judgement, judge

FORMAT = "openbourse.dev/rehearsal-report/v1"
CONTEXT = b"openbourse rehearsal report v1\n"
# Of the first report of an exchange.
NOTHING_BEFORE = "0" * 64
BYTES_MOST = 1024 * 1024
ED25519_BYTES = 32

Json = dict[str, Any]


class Signer(Protocol):
    """A key, wherever it is. `public`: a SubjectPublicKeyInfo in DER, of P-256."""

    @property
    def public(self) -> bytes: ...

    def sign(self, content: bytes) -> bytes:
        """ECDSA with SHA-256, in DER."""
        ...


class BadReport(Exception):
    """The text is no report. Says what is wrong with it."""


class Told(Document):
    """An invariant as the report says it."""

    name: str
    state: InvariantState
    sentence: str


class Report(Document):
    """Everything that is signed."""

    format: str
    number: int = Field(ge=1)
    previous: str = Field(min_length=64, max_length=64)
    rehearsal: str
    namespace: str
    uid: str
    exchange: str
    shard: str
    # Of the engines, as the exchange names it.
    image: str
    # What was asked for, as the object said it.
    spec: Json
    # Wall clock of the process that ran it: UTC, ISO 8601.
    started_at: str
    ended_at: str
    facts: Facts
    verdict: Verdict
    reason: str
    sentence: str
    invariants: tuple[Told, ...]
    rto_ms: int | None
    rpo_orders: int | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A report as it is stored. `text` is all of it; `sha256` what the next one names."""

    report: Report
    text: str
    sha256: str
    key: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a copy, in sentences; none: it is what was sealed, and its verdict follows from its facts."""

    report: Report | None
    sha256: str
    key: str
    problems: tuple[str, ...]


def judged(facts: Facts) -> tuple[Judgement, Json]:
    """The judgement, and as the fields of a report that it makes."""
    made = judge(facts)
    told = tuple(Told(name=each.name, state=each.state, sentence=each.sentence) for each in made.invariants)
    fields = {
        "verdict": made.verdict,
        "reason": made.reason,
        "sentence": made.sentence,
        "invariants": told,
        "rto_ms": made.rto_ms,
        "rpo_orders": made.rpo_orders,
    }
    return made, fields


def seal(report: Report, key: Signer) -> Sealed:
    """Blocks as long as its key does, and raises what that raises."""
    content = report.model_dump(mode="json", by_alias=True)
    canonical = _canonical(content)
    digest, public = hashlib.sha256(canonical).hexdigest(), public_text(key.public)
    signature = base64.b64encode(key.sign(CONTEXT + canonical)).decode()
    document = {"report": content, "sha256": digest, "key": public, "signature": signature}
    return Sealed(report, json.dumps(document, indent=1, sort_keys=True) + "\n", digest, public)


def check(text: str, *trusted: str) -> Checked:
    """Digest, signature and verdict of one copy. `trusted`: the keys one of which it must be of; none: any, which
    proves only that it was not changed since somebody signed it. Raises BadReport."""
    document = _read(text)
    content, key = document["report"], document["key"]
    canonical = _canonical(content)
    digest = hashlib.sha256(canonical).hexdigest()
    problems = [] if digest == document["sha256"] else [f"its digest is {digest}, and it says {document['sha256']}"]
    if trusted and key not in trusted:
        problems.append(f"it is signed with the key {key}, not with {' or '.join(trusted)}")
    problems += _signature_problems(canonical, key, document["signature"])
    try:
        report = Report.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Checked(None, digest, key, (*problems, f"it is no report of this version, at {where}: {first['msg']}"))
    if report.format != FORMAT:
        problems.append(f"its format is {report.format}; this reads {FORMAT}")
    return Checked(report, digest, key, (*problems, *_verdict_problems(report)))


def chain_problems(checked: Sequence[Checked]) -> tuple[str, ...]:
    """Of copies of one exchange's reports, in any order: which do not follow one another."""
    known = sorted((each for each in checked if each.report is not None), key=_number)
    found = []
    for before, after in itertools.pairwise(known):
        assert before.report is not None
        assert after.report is not None
        first, second = before.report, after.report
        if (first.namespace, first.exchange) != (second.namespace, second.exchange):
            found.append(f"reports of two exchanges: {first.namespace}/{first.exchange}, {second.exchange}")
        elif second.number == first.number:
            found.append(f"there are two reports with the number {first.number}")
        elif second.number != first.number + 1:
            found.append(f"between the reports {first.number} and {second.number} one is missing")
        elif second.previous != before.sha256:
            found.append(f"report {second.number} follows a report {second.previous}, not this {before.sha256}")
    oldest = known[0].report if known else None
    if oldest is not None and oldest.number == 1 and oldest.previous != NOTHING_BEFORE:
        found.append("report 1 names a report before it")
    return tuple(found)


def public_text(public: bytes) -> str:
    """Of a SubjectPublicKeyInfo in DER, as reports have it."""
    point = load_der_public_key(public).public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return base64.b64encode(point).decode()


def fingerprint(key: str) -> str:
    """Short enough to be read out: the first sixteen digits of SHA-256 of the key's text, in fours."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return " ".join(digest[at : at + 4] for at in range(0, 16, 4))


def _number(checked: Checked) -> int:
    return checked.report.number if checked.report is not None else 0


def _canonical(content: Json) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _read(text: str) -> Json:
    if len(text) > BYTES_MOST:
        raise BadReport(f"it has {len(text)} characters; a report has {BYTES_MOST} at the most")
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"it is no JSON of a report: {error}") from None
    if not isinstance(document, dict) or document.keys() != {"report", "sha256", "key", "signature"}:
        raise BadReport("it must have report, sha256, key and signature, and nothing else")
    strings = all(isinstance(document[name], str) for name in ("sha256", "key", "signature"))
    if not strings or not isinstance(document["report"], dict):
        raise BadReport("report must be an object; sha256, key and signature must be texts")
    return document


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """Of two fields of one name a reader may take either: a signature of both says nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no integer")


def _signature_problems(canonical: bytes, key: str, signature: str) -> list[str]:
    try:
        public, signed = _decoded(key), _decoded(signature)
        if len(public) == ED25519_BYTES:
            Ed25519PublicKey.from_public_bytes(public).verify(signed, CONTEXT + canonical)
        else:
            point = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
            point.verify(signed, CONTEXT + canonical, ECDSA(SHA256()))
    except (binascii.Error, ValueError) as error:
        return [f"its key or its signature cannot be read: {error}"]
    except InvalidSignature:
        return ["its signature is not of this report and this key"]
    return []


def _decoded(text: str) -> bytes:
    """Of one writing alone: base64 has several for some bytes. Raises ValueError."""
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found).decode() != text:
        raise ValueError("its base64 is not the one that was written")
    return found


def _verdict_problems(report: Report) -> list[str]:
    """What the report says of its facts against what the facts say."""
    made, fields = judged(report.facts)
    said = {name: getattr(report, name) for name in fields}
    differ = sorted(name for name, value in fields.items() if said[name] != value)
    if not differ:
        return []
    return [f"its facts make {made.verdict} ({made.reason}), and it says otherwise in {', '.join(differ)}"]
