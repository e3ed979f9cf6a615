"""The SQL of the ledger by name: `-- name: lock_watermark` in a file of `sql/` begins a statement."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)


def load(file: str) -> dict[str, str]:
    """The statements of one file of `sql/`, without their leading sentences."""
    parts = _NAME.split((files("openbourse.ledger") / "sql" / file).read_text())[1:]
    names, bodies = parts[::2], parts[1::2]
    assert len(set(names)) == len(names), f"{file} names a statement twice"
    return {
        name: "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
        for name, body in zip(names, bodies, strict=True)
    }
