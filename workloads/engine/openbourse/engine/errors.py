"""Why an engine ends.

Fatal (from the Rust core)   the log or the disk: stop with exit code 1, look at the place that it names
Refused                      our own command was no command of this protocol: a bug of the caller
"""

from openbourse.engine._core import Fatal

__all__ = ["Fatal", "Refused"]


class Refused(Exception):
    """The pipeline refused one of the engine's own frames."""
