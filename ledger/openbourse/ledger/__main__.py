"""`python -m openbourse.ledger`: serve the ledger of one shard, or migrate its database."""

import argparse
import asyncio
import logging
import math
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from openbourse.contracts import logs
from openbourse.contracts.component import Component
from openbourse.contracts.session import Address
from openbourse.ledger.database import ROLE, SEALER_ROLE, dsn_from_environment
from openbourse.ledger.errors import LedgerError
from openbourse.ledger.migrate import Phase, migrate
from openbourse.ledger.reconciling import EVERY_LEAST_S, EVERY_S
from openbourse.ledger.run import Settings, serve

_ENVIRONMENT = """\
The database comes from OPENBOURSE_DATABASE (postgresql://user@host/database) or from the file that
OPENBOURSE_DATABASE_FILE names. With a standby name both hosts, host,host: the one that takes writes is found.

example: OPENBOURSE_DATABASE=postgresql://openbourse_ledger@db/openbourse python -m openbourse.ledger serve \\
           --engine engine-0.engine:7000 --listen 0.0.0.0:7100 --status 0.0.0.0:7101 --tls /etc/openbourse/tls
"""
_MIGRATE = """\
Run as the owner of the database: OPENBOURSE_DATABASE is the owner's. Makes the roles openbourse_ledger, as which
the ledger logs in and settles, openbourse_coordinator, which it takes for what people ask for, and openbourse_sealer,
as which it is sealed. If OPENBOURSE_LEDGER_DATABASE or OPENBOURSE_SEALER_DATABASE is set, to what they will have as
OPENBOURSE_DATABASE, the role gets the password in it.

example: OPENBOURSE_DATABASE=postgresql://postgres@db/openbourse python -m openbourse.ledger migrate
"""


def main() -> int:
    arguments = _parser().parse_args()
    logs.configure(Component.LEDGER)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        dsn = dsn_from_environment()
        if arguments.command == "migrate":
            applied = asyncio.run(migrate(dsn, arguments.phase, _passwords(os.environ), arguments.to))
            print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")  # noqa: T201
        else:
            settings = Settings(
                arguments.shard,
                arguments.engine,
                arguments.listen,
                arguments.status,
                arguments.tls,
                dsn,
                arguments.reconcile_every,
            )
            asyncio.run(serve(settings))
    except (LedgerError, ValueError, OSError, ssl.SSLError) as error:
        print(f"openbourse.ledger: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _passwords(environment: Mapping[str, str]) -> dict[str, str]:
    """Role -> password. Raises ValueError when a DSN has a password that is not its role's."""
    found = {}
    for variable, whose, role in (
        ("OPENBOURSE_LEDGER_DATABASE", "the ledger", ROLE),
        ("OPENBOURSE_SEALER_DATABASE", "the sealer", SEALER_ROLE),
    ):
        url = urlsplit(environment.get(variable, ""))
        if url.password is None:
            continue
        if url.username != role:
            raise ValueError(f"{variable} is for user {url.username}, {whose}'s role is {role}")
        found[role] = unquote(url.password)
    return found


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not EVERY_LEAST_S <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {EVERY_LEAST_S:g} on")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m openbourse.ledger", description="The money ledger of an exchange.")
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    serving = commands.add_parser("serve", help="settle one shard and answer", epilog=_ENVIRONMENT, formatter_class=raw)
    serving.add_argument("--shard", default="main", help="the shard to settle (default: main)")
    serving.add_argument(
        "--engine",
        type=Address.parse,
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="an engine of the shard; again for each of its members",
    )
    serving.add_argument("--listen", type=Address.parse, required=True, metavar="HOST:PORT", help="the API, mutual TLS")
    serving.add_argument("--status", type=Address.parse, required=True, metavar="HOST:PORT", help="probes, plain HTTP")
    serving.add_argument("--tls", type=Path, required=True, metavar="DIR", help="folder of ca.crt, tls.crt, tls.key")
    serving.add_argument(
        "--reconcile-every",
        type=_interval,
        default=EVERY_S,
        metavar="SECONDS",
        help=f"how often engine and ledger are compared, {EVERY_LEAST_S:g} s or more (default: {EVERY_S:g})",
    )
    migrating = commands.add_parser("migrate", help="bring the schema up", epilog=_MIGRATE, formatter_class=raw)
    migrating.add_argument(
        "--phase",
        type=Phase,
        choices=list(Phase),
        default=Phase.POST,
        help="pre: only what the code before this release can live with; post: all (default)",
    )
    migrating.add_argument(
        "--to",
        type=int,
        metavar="NUMBER",
        help="no further than this migration, such as 2; never back: a number below what is applied is refused",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
