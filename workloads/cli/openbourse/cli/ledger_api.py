"""The ledger's API at the command line: the options that say where it is and who asks."""

from pathlib import Path
from typing import Annotated

import typer

from openbourse.cli.api_over_tls import Api

Ledger = Annotated[
    str, typer.Option("--ledger", envvar="OPENBOURSE_LEDGER", help="The ledger's API, https://HOST:PORT.")
]
Tls = Annotated[
    Path, typer.Option("--tls", envvar="OPENBOURSE_TLS", help="Folder of ca.crt, tls.crt and tls.key of a `cli`.")
]

# Reconciliation may wait for the ledger to catch up and then read all of its entries.
ledger_api = Api("ledger", "--ledger", "https://127.0.0.1:7100", timeout_s=180.0)
asked, exchange_with = ledger_api.asked, ledger_api.exchange_with
