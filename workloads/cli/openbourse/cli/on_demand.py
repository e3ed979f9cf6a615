"""Commands that are imported once they are asked for: the help that lists them pays for none."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from openbourse.cli.entries import Entry


class OnDemand(TyperCommand):
    """Stands for a command until one of its words is to be read."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary)
        self._entry = entry

    def load(self) -> Any:
        """The command itself."""
        module, _, attribute = self._entry.place.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(self.name)(found)
            found = alone
        return get_command(found)

    def make_context(self, *args: Any, **options: Any) -> Any:
        return self.load().make_context(*args, **options)


def group(entries: Mapping[str, Entry]) -> type[TyperGroup]:
    """For a Typer's `cls`."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            commands = {name: OnDemand(name, entry) for name, entry in entries.items()}
            super().__init__(**options | {"commands": commands})

    return Group
