"""Signed roots: what a finished segment of the log holds, signed, so that nobody can rewrite history with a new chain.

A root lies beside its segment as `<segment>.sig` and stays when the segment is recycled. It names the chain before its
segment and at its end, so that the roots join into one. Signing is never on the way of an order: a segment is signed
once it is finished and committed, so that no standby cuts what is signed, and recycled only after it is signed.
"""

import asyncio
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from openbourse.contracts import durable
from openbourse.engine import _core
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import files

log = logging.getLogger(__name__)

POLL_S = 1.0
KEY_FILE = "signing-key.pem"
# Tells this signature from one over anything else.
_DOMAIN = b"openbourse segment root 1\n"


@dataclass(frozen=True, slots=True)
class Root:
    """What a finished segment holds. Hashes and chains are hexadecimal; `sha256` is over what is in use of it."""

    shard: str
    first_seq: int
    last_seq: int
    first_epoch: int
    last_epoch: int
    records: int
    chain_before: str
    chain: str
    used_bytes: int
    sha256: str

    def signed_bytes(self) -> bytes:
        return _DOMAIN + json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


class Signer(Protocol):
    """A private key, wherever it is kept."""

    @property
    def key_id(self) -> str: ...

    def sign(self, content: bytes) -> bytes:
        """An Ed25519 signature."""


class FileKey:
    """An Ed25519 key in a PEM file, its public key beside it as `<file>.pub`."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key_id = key_id(private.public_key())

    @classmethod
    def load(cls, path: Path) -> "FileKey":
        """Makes the file, readable by its owner alone, if there is none; never overwrites one.

        Raises OSError and Fatal.
        """
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            durable.create(path, pem, mode=0o600)
            log.info("made the key %s that signs segments: %s", key_id(made.public_key()), path)
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise Fatal(f"{path} is no private key in PEM: {error}. Restore it, or name another file") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise Fatal(f"{path} must be an Ed25519 key")
        public = path.with_name(f"{path.name}.pub")
        if not public.exists():
            durable.write(public, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return cls(private)

    def sign(self, content: bytes) -> bytes:
        return self._private.sign(content)


def key_id(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def public_key(path: Path) -> Ed25519PublicKey:
    """Raises OSError, and ValueError for what is no Ed25519 public key in PEM."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it must be an Ed25519 public key")
    return key


def root_of(folder: Path, segment: str) -> Root:
    """Reads and checks the whole segment. Raises Fatal."""
    shard, first_seq, last_seq, first_epoch, last_epoch, records, before, chain, size, digest = _core.segment_root(
        folder, segment
    )
    return Root(
        shard, first_seq, last_seq, first_epoch, last_epoch, records, before.hex(), chain.hex(), size, digest.hex()
    )


def finished(folder: Path) -> list[str]:
    """The segments that are not written any more, in order."""
    return [files.segment(first_seq) for first_seq in files.segments(folder)[:-1]]


def sign_finished(folder: Path, signer: Signer, committed_seq: int) -> list[str]:
    """Signs each finished segment of which all is committed and that is not signed yet.

    Raises Fatal and OSError; call it again.
    """
    signed = []
    for first_seq, next_seq in itertools.pairwise(files.segments(folder)):
        if next_seq - 1 > committed_seq:
            # A new leader may have something else there, and then it is cut.
            break
        segment = files.segment(first_seq)
        path = folder / f"{segment}{files.SIGNATURE}"
        if path.exists():
            continue
        root = root_of(folder, segment)
        signature = signer.sign(root.signed_bytes())
        document = {"root": asdict(root), "key": signer.key_id, "signature": signature.hex()}
        durable.write(path, json.dumps(document, indent=2).encode() + b"\n")
        signed.append(segment)
    return signed


async def keep_signed(folder: Path, signer: Signer, stop: asyncio.Event, committed_seq: Callable[[], int]) -> None:
    """Until `stop`. What goes wrong is said and tried again: trading does not wait for it, recycling does."""
    while not stop.is_set():
        try:
            for segment in await asyncio.to_thread(sign_finished, folder, signer, committed_seq()):
                log.info("signed the root of %s", segment)
        except (Fatal, OSError) as error:
            log.error("segments are not signed, and not recycled: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), POLL_S)
        except TimeoutError:
            continue


@dataclass(frozen=True, slots=True)
class Checked:
    """What the signatures in a folder say. `wrong` names files with what is wrong with them."""

    signed: int
    unsigned: tuple[str, ...]
    wrong: tuple[str, ...]


def check(folder: Path, key: Ed25519PublicKey) -> Checked:
    """Checks each signature, each segment against its root, and that roots join each other. Raises OSError."""
    wrong = []
    roots = []
    for path in sorted(folder.glob(f"*.wal{files.SIGNATURE}")):
        try:
            root = _read(path, key)
            _compare(folder, path.name.removesuffix(files.SIGNATURE), root)
        except (ValueError, Fatal) as error:
            wrong.append(f"{path.name}: {error}")
        else:
            roots.append((path.name, root))
    wrong += _gaps(roots)
    unsigned = [segment for segment in finished(folder) if not (folder / f"{segment}{files.SIGNATURE}").exists()]
    return Checked(len(roots), tuple(unsigned), tuple(wrong))


def _read(path: Path, key: Ed25519PublicKey) -> Root:
    try:
        document = json.loads(path.read_bytes())
        root = Root(**document["root"])
        signature = bytes.fromhex(document["signature"])
        signer = document["key"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it is no signed root ({error!r})") from None
    if signer != key_id(key):
        raise ValueError(f"it is signed by key {signer}, not by {key_id(key)}")
    try:
        key.verify(signature, root.signed_bytes())
    except InvalidSignature:
        raise ValueError("its signature is not one of this key over this root") from None
    return root


def _compare(folder: Path, segment: str, root: Root) -> None:
    if segment != files.segment(root.first_seq):
        raise ValueError(f"it is the root of a segment that begins at seq {root.first_seq}")
    if not (folder / segment).exists():
        return  # recycled; the root has outlived it
    found = root_of(folder, segment)
    different = [name for name, value in asdict(root).items() if value != asdict(found)[name]]
    if different:
        raise ValueError(f"the segment is not the one that was signed: {', '.join(different)} differ")


def _gaps(roots: Sequence[tuple[str, Root]]) -> list[str]:
    return [
        f"{name}: it does not continue {previous_name}"
        for (previous_name, previous), (name, root) in itertools.pairwise(roots)
        if (root.first_seq, root.chain_before, root.shard) != (previous.last_seq + 1, previous.chain, previous.shard)
    ]
