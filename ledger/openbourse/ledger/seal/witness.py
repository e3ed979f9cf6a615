"""A witness: remembers the last checkpoint that it countersigned, durably before it answers, and refuses another past.

It is worth something on another machine, in other hands. c2sp.org/tlog-witness, and `add-key` for rotations.
"""

import asyncio
import fcntl
import json
import logging
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from openbourse.contracts import durable
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import keychain, notes
from openbourse.ledger.seal.checkpoint import Checkpoint, require_origin, text_hash
from openbourse.ledger.seal.keychain import KeyChain
from openbourse.ledger.seal.notes import Note, Signature, WitnessKey
from openbourse.ledger.seal.witnessing import Offer, Refused, judge, parse_offer

log = logging.getLogger(__name__)

EVIDENCE_MOST = 100
# The mode of its own files.
PRIVATE = 0o600
# A checkpoint with its proof; far more than either needs.
BODY_BYTES_MOST = notes.NOTE_BYTES_MOST + 16 * 1024


class Witness:
    """One log's witness, with its state in a folder that one process has at a time."""

    def __init__(self, folder: Path, name: str, first_key: bytes) -> None:
        """`first_key` is the log's first public key in DER. Raises Invalid and OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._first_key = first_key
        self._turn = asyncio.Lock()
        self.announced: list[Note] = []
        self.last: Note | None = None
        self._lock_file = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._private = _load_key(folder / "witness.key")
            public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.key = WitnessKey(require_origin(name), public)
            self._read()
        except BlockingIOError:
            self.close()
            raise Invalid(f"{folder}: another witness works with this folder") from None
        except Invalid:
            self.close()
            raise

    def close(self) -> None:
        """Leaves the folder to the next one."""
        self._lock_file.close()

    def _read(self) -> None:
        path = self._folder / "state.json"
        if not path.exists():
            return
        try:
            state = json.loads(path.read_text())
            self.announced = [notes.parse(text) for text in state["keys"]]
            self.last = notes.parse(state["last"]) if state["last"] else None
            chain = self._chain()
            if self.last is not None:
                chain.checkpoint(self.last)
        except (ValueError, KeyError, TypeError, Diverged) as error:
            raise Invalid(f"{path} is not what this witness has left: {error}") from error

    def _chain(self) -> KeyChain:
        return keychain.follow(self._first_key, self.announced)

    def _checkpoint(self) -> Checkpoint | None:
        return self._chain().checkpoint(self.last) if self.last is not None else None

    def _write(self, announced: list[Note], last: Note | None) -> None:
        """Durable when it returns."""
        state = {"keys": [str(note) for note in announced], "last": str(last) if last else None}
        durable.write(self._folder / "state.json", json.dumps(state, indent=1).encode(), PRIVATE)
        self.announced, self.last = announced, last

    async def add_key(self, note: Note) -> None:
        """The announcement of the log's next key; one that is known does nothing. Raises Invalid and Diverged."""
        async with self._turn:
            if any(known.text == note.text for known in self.announced):
                return
            keychain.follow(self._first_key, [*self.announced, note])
            await asyncio.to_thread(self._write, [*self.announced, note], self.last)

    async def add_checkpoint(self, offer: Offer) -> Signature | Refused:
        """The countersignature, remembered before it is given."""
        async with self._turn:
            if not self.announced:
                return Refused(403, "no key of this log was announced yet")
            last = self._checkpoint()
            verdict = judge(self._chain(), last, offer, time.time_ns() // 1000)
            if isinstance(verdict, Refused):
                log.warning("refused: %s", verdict.sentence)
                if verdict.is_evidence:
                    await asyncio.to_thread(self._keep_evidence, offer, verdict)
                return verdict
            if last == verdict and self.last is not None:
                # The same again: its answer was lost.
                return next(line for line in self.last.signatures if line.key_id == self.key.key_id)
            line = notes.cosign(offer.note, self.key.name, self._private, int(time.time()))
            await asyncio.to_thread(self._write, self.announced, offer.note.with_signatures(line))
            return line

    def _keep_evidence(self, offer: Offer, refused: Refused) -> None:
        """The two checkpoints that cannot both be; or one that came without a proof, which anybody can bring about."""
        folder = self._folder / "evidence"
        folder.mkdir(exist_ok=True)
        kind = "fork" if refused.status == 409 else "unproven"
        path = folder / f"{kind}-{text_hash(offer.note.text).hex()[:32]}.json"
        if path.exists():
            return
        # Each kind by itself, so that what anybody can bring about leaves room for the other.
        if len(list(folder.glob(f"{kind}-*"))) >= EVIDENCE_MOST:
            log.error("%s holds %d cases of %s: look at them; this one is not kept", folder, EVIDENCE_MOST, kind)
            return
        case = {"why": refused.sentence, "countersigned": str(self.last or ""), "offered": str(offer)}
        durable.write(path, json.dumps(case, indent=1).encode(), PRIVATE)

    def status(self) -> dict[str, object]:
        last = self._checkpoint()
        return {
            "component": "witness",
            "ready": True,
            "reason": "",
            "key": str(self.key),
            "checkpoint": last.number if last else 0,
            "leaves": last.size if last else 0,
            "log_time_us": last.time_us if last else 0,
            "forks": len(list((self._folder / "evidence").glob("fork-*.json"))),
        }


def make_witness(witness: Witness) -> FastAPI:
    """The application: it is asked by anybody, and believes signatures alone."""
    app = FastAPI(title="OpenBourse witness", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        try:
            answer = await witness.add_checkpoint(parse_offer(await request.body()))
        except Invalid as error:
            return PlainTextResponse(f"{error}\n", 400)
        if isinstance(answer, Signature):
            return PlainTextResponse(str(answer))
        if answer.size is not None and not answer.is_evidence:
            # The protocol knows this type without a charset.
            return Response(f"{answer.size}\n", answer.status, {"content-type": "text/x.tlog.size"})
        return PlainTextResponse(f"{answer.sentence}\n", answer.status)

    @app.post("/add-key")
    async def add_key(request: Request) -> Response:
        try:
            await witness.add_key(notes.parse(await request.body()))
        except Invalid as error:
            return PlainTextResponse(f"{error}\n", 400)
        except Diverged as error:
            return PlainTextResponse(f"{error}\n", 403)
        return PlainTextResponse("known\n")

    @app.get("/checkpoint")
    async def checkpoint() -> Response:
        if witness.last is None:
            return PlainTextResponse("nothing was countersigned yet\n", 404)
        return PlainTextResponse(str(witness.last))

    @app.get("/key")
    async def key() -> Response:
        return PlainTextResponse(f"{witness.key}\n")

    @app.get("/livez")
    @app.get("/readyz")
    @app.get("/status")
    async def status() -> JSONResponse:
        return JSONResponse(witness.status())

    return app


def _load_key(path: Path) -> Ed25519PrivateKey:
    """Makes the file, readable by its owner alone, if there is none; never overwrites one."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        durable.write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise Invalid(f"{path} is no private key in PEM: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Invalid(f"{path} must be an Ed25519 key")
    return private
