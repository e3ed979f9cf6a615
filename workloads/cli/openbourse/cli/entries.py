"""A command in a table: enough to list it, and to find it when it is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """`summary`: the first sentence of its help. `place`: module:name of a function, or of a Typer with its own."""

    summary: str
    place: str
