"""`python -m openbourse.ledger.seal`: seal what the ledger settles, be a witness of a ledger's seal, make a token."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

from openbourse.contracts import logs
from openbourse.contracts.listen import listening
from openbourse.contracts.probes import make_status
from openbourse.contracts.session import Address
from openbourse.contracts.tls_material import Material
from openbourse.ledger.database import dsn_from_environment
from openbourse.ledger.errors import LedgerError
from openbourse.ledger.seal import notes, soft_hsm, witness
from openbourse.ledger.seal.archive import FolderArchive
from openbourse.ledger.seal.checkpoint import require_origin
from openbourse.ledger.seal.metrics import SealMetrics
from openbourse.ledger.seal.notes import WitnessKey
from openbourse.ledger.seal.progress import SealProgress
from openbourse.ledger.seal.sealer import EVERY_S, Sealer
from openbourse.ledger.seal.token import TokenSettings
from openbourse.ledger.seal.witness import Witness, make_witness
from openbourse.ledger.seal.witness_client import WitnessClient

_SERVE = """\
The database comes from OPENBOURSE_DATABASE, as for the ledger; the role is openbourse_sealer. The token comes from
OPENBOURSE_PKCS11_MODULE, OPENBOURSE_PKCS11_TOKEN and OPENBOURSE_PKCS11_PIN_FILE.

example: OPENBOURSE_DATABASE=postgresql://openbourse_sealer@db/openbourse \\
           OPENBOURSE_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so OPENBOURSE_PKCS11_TOKEN=seal \\
           OPENBOURSE_PKCS11_PIN_FILE=/etc/openbourse/pin python -m openbourse.ledger.seal serve \\
           --origin exchange.example/ledger --archive /mnt/archive --status 0.0.0.0:7201
"""
_WITNESS = """\
Makes its own key in its folder at the first start, and prints it.

example: python -m openbourse.ledger.seal witness --name witness.example/w1 --state /var/lib/witness \\
           --log-key seal.pem --listen 0.0.0.0:7300
"""
_MAKE = """\
Module, label and PIN come from OPENBOURSE_PKCS11_MODULE, OPENBOURSE_PKCS11_TOKEN and OPENBOURSE_PKCS11_PIN_FILE, as for
the sealer. Whoever uses the token needs SOFTHSM2_CONF=DIR/softhsm2.conf.

example: OPENBOURSE_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so OPENBOURSE_PKCS11_TOKEN=seal \\
           OPENBOURSE_PKCS11_PIN_FILE=/etc/openbourse/pin python -m openbourse.ledger.seal token --folder /var/lib/seal
"""


def main() -> int:
    arguments = _parser().parse_args()
    logs.configure("seal")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if arguments.command == "token":
            made = soft_hsm.make(arguments.folder, TokenSettings.from_environment(origin=""))
            _say(f"{arguments.folder}: {'a token was made' if made else 'there is a token already'}")
        else:
            asyncio.run(_serve(arguments) if arguments.command == "serve" else _witness(arguments))
    except (LedgerError, ValueError, OSError) as error:
        print(f"openbourse.ledger.seal: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    if (arguments.witness is None) != (arguments.witness_key is None):
        raise ValueError("--witness and --witness-key belong together")
    client = None
    if arguments.witness is not None:
        client = WitnessClient(arguments.witness, WitnessKey.parse(arguments.witness_key))
    progress = SealProgress()
    sealer = Sealer(
        dsn_from_environment(),
        TokenSettings.from_environment(require_origin(arguments.origin)),
        FolderArchive(arguments.archive),
        progress,
        witness=client,
        every_s=arguments.every,
    )
    app = make_status(progress, SealMetrics(progress).text)
    async with _until_stopped() as stop, listening(app, arguments.status, None) as port, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sealer.run())
        _say(f"sealer up, status http://{arguments.status.host}:{port}")
        await stop.wait()
        task.cancel()


async def _witness(arguments: argparse.Namespace) -> None:
    known = Witness(arguments.state, arguments.name, notes.p256_from_pem(arguments.log_key.read_bytes()))
    app = make_witness(known)
    with contextlib.closing(known):
        await _answer(known, app, arguments)


async def _answer(known: Witness, app: FastAPI, arguments: argparse.Namespace) -> None:
    tls = None if arguments.tls is None else Material.load(arguments.tls)
    async with (
        _until_stopped() as stop,
        listening(app, arguments.listen, tls, witness.BODY_BYTES_MOST) as port,
        asyncio.TaskGroup() as tasks,
    ):
        watching = [tasks.create_task(tls.watch())] if tls is not None else []
        _say(f"witness up, http{'s' if arguments.tls else ''}://{arguments.listen.host}:{port} key {known.key}")
        await stop.wait()
        for task in watching:
            task.cancel()


@contextlib.asynccontextmanager
async def _until_stopped() -> AsyncIterator[asyncio.Event]:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    yield stop


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m openbourse.ledger.seal", description="Signed checkpoints of an exchange's ledger."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    serving = commands.add_parser("serve", help="seal what is settled", epilog=_SERVE, formatter_class=raw)
    serving.add_argument("--origin", required=True, help="the ledger's name in its checkpoints, for ever")
    serving.add_argument("--archive", type=Path, required=True, metavar="DIR", help="out of the reach of the database")
    serving.add_argument("--status", type=Address.parse, required=True, metavar="HOST:PORT", help="probes, plain HTTP")
    serving.add_argument("--witness", metavar="URL", help="who countersigns, such as http://witness:7300")
    serving.add_argument("--witness-key", metavar="KEY", help="the witness's key, as the witness prints it")
    serving.add_argument("--every", type=float, default=EVERY_S, metavar="S", help="seconds between two checkpoints")
    witnessing = commands.add_parser("witness", help="countersign what continues", epilog=_WITNESS, formatter_class=raw)
    witnessing.add_argument("--name", required=True, help="the witness's name in its signatures")
    witnessing.add_argument("--state", type=Path, required=True, metavar="DIR", help="its key and what it has seen")
    witnessing.add_argument("--log-key", type=Path, required=True, metavar="PEM", help="the ledger's first public key")
    witnessing.add_argument("--listen", type=Address.parse, required=True, metavar="HOST:PORT", help="the API")
    witnessing.add_argument("--tls", type=Path, metavar="DIR", help="folder of ca.crt, tls.crt, tls.key: mutual TLS")
    making = commands.add_parser("token", help="make a SoftHSM token, once", epilog=_MAKE, formatter_class=raw)
    making.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where it is kept")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
