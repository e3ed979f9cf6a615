"""`openbourse`: what a person does at the command line. Each group of commands has a module of its own."""

from importlib.metadata import version

import typer

from openbourse.cli import account, keys, ledger, limits, local, market, person, shard, wal

app = typer.Typer(
    no_args_is_help=True,
    help="Run and look after an OpenBourse exchange.",
    pretty_exceptions_enable=False,
)
app.command("local")(local.command)
app.add_typer(account.app, name="account")
app.add_typer(market.app, name="market")
app.add_typer(ledger.app, name="ledger")
app.add_typer(keys.app, name="keys")
app.add_typer(limits.app, name="limits")
app.add_typer(person.app, name="person")
app.add_typer(shard.app, name="shard")
app.add_typer(wal.app, name="wal")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("openbourse"))
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print it and end."),
) -> None:
    pass


if __name__ == "__main__":
    app()
