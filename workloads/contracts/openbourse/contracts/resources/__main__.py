"""Writes the CustomResourceDefinitions: `python -m openbourse.contracts.resources FOLDER...` (crds and the chart's)."""

import sys
from pathlib import Path

from openbourse.contracts.resources.definitions import files


def main(folders: list[str]) -> int:
    if not folders:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    for folder in map(Path, folders):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (folder / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
