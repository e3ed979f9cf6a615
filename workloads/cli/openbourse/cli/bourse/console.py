"""What the commands of `kubectl bourse` say, and how they end: tables, JSON or YAML, a sentence for what went wrong.

Exit codes: 0 done, 1 done but not all is well, 2 not done.
"""

import asyncio
import dataclasses
import datetime
import json
from collections.abc import Coroutine
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import yaml
from rich.console import Console

from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import ApiError, Refused

console = Console(highlight=False)
_Result = TypeVar("_Result")


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How it is printed.")]


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What it gives. Ends the command with 2 and a sentence on NotDone and ApiError."""
    try:
        return asyncio.run(work)
    except Refused as error:
        fail(str(error) if error.status != 403 else f"{error}: ask for the right, or use another context")
    except (ApiError, NotDone) as error:
        fail(str(error))


def fail(sentence: str) -> NoReturn:
    typer.echo(f"kubectl bourse: {sentence}", err=True)
    raise typer.Exit(2)


def show(value: Any, output: Output, table: Any) -> None:
    """A dataclass, or what is a document already, as one; or the table or text of it that is for people."""
    match output:
        case Output.TABLE:
            console.print(table, markup=False, soft_wrap=isinstance(table, str))
        case Output.JSON:
            typer.echo(json.dumps(_plain(value), indent=2))
        case Output.YAML:
            typer.echo(yaml.safe_dump(_plain(value), sort_keys=False), nl=False)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _plain(value: Any) -> Any:
    document = value if isinstance(value, dict) else dataclasses.asdict(value)
    return json.loads(json.dumps(document, default=str))
