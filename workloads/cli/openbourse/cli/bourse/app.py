"""`kubectl bourse`. Put on the PATH as `kubectl-bourse`, kubectl finds it by that name."""

import typer

from openbourse.cli.bourse.commands import COMMANDS
from openbourse.cli.on_demand import group

app = typer.Typer(
    cls=group(COMMANDS),
    no_args_is_help=True,
    # kubectl completes its plugins itself (`completion`).
    add_completion=False,
    help="See, halt and look after an exchange that runs on Kubernetes.",
    pretty_exceptions_enable=False,
)


@app.callback()
def _no_options_of_its_own() -> None:
    pass


def main() -> None:
    app(prog_name="kubectl bourse")
