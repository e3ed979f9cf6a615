"""`kubectl_complete-bourse`: what kubectl runs to complete `kubectl bourse ...`, by its convention for plugins.

It is given the words behind `kubectl bourse`, the last of them unfinished, and prints candidates, one a line, and then
a directive. So `source <(kubectl completion bash)`, or that of zsh or fish, completes `kubectl bourse` as well.
"""

import os
import shlex
import sys

from openbourse.cli.bourse.commands import COMMANDS

PROGRAM = "kubectl-bourse"
# Of kubectl's library: no names of files where there is no candidate.
NO_FILES = ":4"


def main() -> None:
    *before, unfinished = sys.argv[1:] or [""]
    try:
        if before or unfinished.startswith("-"):
            _complete_options(before, unfinished)
        else:
            # At once: somebody waits at a keyboard, and every import is felt.
            for name, entry in COMMANDS.items():
                if name.startswith(unfinished):
                    print(name, entry.summary, sep="\t")
    finally:
        print(NO_FILES)


def _complete_options(before: list[str], unfinished: str) -> None:
    """By Typer, which has to import the command that is meant."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415

    from openbourse.cli.bourse.app import app  # noqa: PLC0415

    # Typer completes for fish: a candidate a line, and what it is behind a tab, which is also how kubectl reads it.
    words = " ".join((PROGRAM, *(shlex.quote(word) for word in before), unfinished))
    variable = f"_{PROGRAM}_COMPLETE".replace("-", "_").upper()
    os.environ |= {variable: "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": words}
    # As an app with options for completion does it by itself.
    completion_init()
    app(prog_name=PROGRAM)
