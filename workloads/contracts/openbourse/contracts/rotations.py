"""A rotation of an exchange's certificate authority as it is asked for: one annotation of the Exchange, the asker's id.

Nothing here decides or carries out. What was begun is in `status.certificates.rotation`, under the same id; an id is
begun with once.
"""

import re
from collections.abc import Mapping
from typing import Final

from openbourse.contracts.apiserver import Object

ANNOTATION: Final = "openbourse.dev/rotate-authority"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


class BadRotation(ValueError):
    """The annotation is no id."""


def rotation_of(annotations: Mapping[str, str]) -> str:
    """Its id; empty: none is asked for. Raises BadRotation."""
    wanted = annotations.get(ANNOTATION, "")
    if wanted and _ID.fullmatch(wanted) is None:
        raise BadRotation(
            f"the annotation {ANNOTATION} is no id of letters, digits, - and . (63 at most): {wanted[:80]!r}"
        )
    return wanted


def asking(namespace: str, exchange: str, uid: str, rotation: str) -> Object:
    """The part of the Exchange that asks. For a field manager of its own."""
    return {"metadata": {"namespace": namespace, "name": exchange, "uid": uid, "annotations": {ANNOTATION: rotation}}}
