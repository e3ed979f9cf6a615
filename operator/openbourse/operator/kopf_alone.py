"""Kopf without the package `kubernetes`, whose objects it would know: there are none here, and an operator that starts
spends half of its imports on them."""

import sys

_is_there = "kubernetes" in sys.modules
if not _is_there:
    # Python's own way to say that a module is not to be had.
    sys.modules["kubernetes"] = None  # type: ignore[assignment]
try:
    import kopf
finally:
    if not _is_there:
        del sys.modules["kubernetes"]

__all__ = ["kopf"]
