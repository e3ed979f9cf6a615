"""`openbourse limits`: what addresses, API keys and accounts may use, in a file that gateways read when it changes."""

from pathlib import Path
from typing import NoReturn

import typer
from pydantic import ValidationError

from openbourse.contracts.documents import first_problem
from openbourse.contracts.rate_limits import LimitsDocument, Override, RateLimits, network
from openbourse.gateway.limits.file import (
    LimitsFileInvalid,
    NoSuchOverride,
    read_limits,
    remove_override,
    set_defaults,
    set_override,
)

app = typer.Typer(no_args_is_help=True, help="Set, list and remove the limits of traders.")

File = typer.Option(..., "--file", help="The gateway's file of limits (its --limits).")
Account = typer.Option(None, help="For this account.")
ApiKey = typer.Option(None, help="For this API key.")
Address = typer.Option(None, help="For this address, or each address of a network: 192.0.2.0/24.")

_OF_ALL = "say a limit, and no reason, for all; for an exception say --account, --api-key or --address"


@app.command("set")
def set_(
    *,
    file: Path = File,
    account: int | None = Account,
    api_key: str | None = ApiKey,
    address: str | None = Address,
    weight_per_minute: int | None = typer.Option(None, help="Of an address."),
    requests_per_5m: int | None = typer.Option(None, "--requests-per-5m", help="Signed requests of an API key."),
    orders_per_10s: int | None = typer.Option(None, "--orders-per-10s", help="Of an account."),
    orders_per_day: int | None = typer.Option(None, help="Of an account."),
    reason: str = typer.Option("", help="Why, for whoever lists it: an exception must have one."),
) -> None:
    """Set an exception for one account, API key or address, in place of the one before; or the limits of all others.

    \b
    openbourse limits set --file limits.json --weight-per-minute 6000 --orders-per-10s 100
    openbourse limits set --file limits.json --account 1001 --orders-per-10s 5000 --reason "market maker"
    openbourse limits set --file limits.json --address 192.0.2.0/24 --weight-per-minute 0 --reason "abuse, ticket 7"
    """
    limits = {
        "weight_per_minute": weight_per_minute,
        "requests_per_5m": requests_per_5m,
        "orders_per_10s": orders_per_10s,
        "orders_per_day": orders_per_day,
    }
    try:
        if account is None and api_key is None and address is None:
            if reason:
                raise ValueError(_OF_ALL)
            set_defaults(file, of_all(limits))
        else:
            of = {"account": account, "api_key": api_key, "address": address}
            set_override(file, Override.model_validate({**of, **limits, "reason": reason}))
    except ValidationError as error:
        _fail(first_problem(error))
    except (OSError, ValueError) as error:
        _fail(error)
    _list(file)


@app.command("list")
def list_(file: Path = File) -> None:
    """List the limits and the exceptions.

    \b
    openbourse limits list --file limits.json
    """
    _list(file)


@app.command()
def remove(
    file: Path = File, account: int | None = Account, api_key: str | None = ApiKey, address: str | None = Address
) -> None:
    """Take an exception away.

    \b
    openbourse limits remove --file limits.json --account 1001
    """
    try:
        remove_override(file, subject(account, api_key, address))
    except (OSError, ValueError, NoSuchOverride) as error:
        _fail(error)
    _list(file)


def of_all(limits: dict[str, int | None]) -> RateLimits:
    """Raises ValueError where none is said."""
    wanted = RateLimits.model_validate(limits)
    if not wanted.said():
        raise ValueError(_OF_ALL)
    return wanted


def subject(account: int | None, api_key: str | None, address: str | None) -> tuple[str, str]:
    """What an exception is for. Raises ValueError."""
    of = {"account": account, "api_key": api_key, "address": str(network(address)) if address else None}
    named = [(name, str(value)) for name, value in of.items() if value is not None]
    if len(named) != 1:
        raise ValueError("say exactly one of --account, --api-key and --address")
    return named[0]


def listed(document: LimitsDocument) -> str:
    """For people."""
    lines = [f"everybody  {_shown(document.defaults) or 'as the gateway is told'}"]
    lines += ["{} {}  {}  {}".format(*each.subject, _shown(each), each.reason) for each in document.overrides]
    return "\n".join((*lines, f"{len(document.overrides)} exceptions"))


def _list(file: Path) -> None:
    try:
        typer.echo(listed(read_limits(file)))
    except (OSError, LimitsFileInvalid) as error:
        _fail(error)


def _shown(limits: RateLimits) -> str:
    return "  ".join(f"{name} {value}" for name, value in limits.said().items())


def _fail(error: object) -> NoReturn:
    typer.echo(f"openbourse limits: {error}", err=True)
    raise typer.Exit(1)
