"""Why an engine ends.

Fatal (from the Rust core)   the log or the disk: stop with exit code 1, look at the place that it names
BeginAgain                   a leader stands down: the process begins again, as a standby
Refused                      our own command was no command of this protocol: a bug of the caller
"""

from openbourse.engine._core import Fatal

__all__ = ["BeginAgain", "Fatal", "Refused"]


class BeginAgain(Exception):
    """What the kernel has carried out is ahead of what the next leader has: only a boot, from a snapshot, goes back."""


class Refused(Exception):
    """The pipeline refused one of the engine's own frames."""
