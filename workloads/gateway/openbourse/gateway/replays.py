"""A signed request to trade that somebody sends on is not carried out again while it is good. No clock of its own.

The same bytes come twice where somebody sends on what he saw, and where a client makes two equal requests within a
millisecond, as it may. What tells them apart is how they come: see `is_twin`. One whose outcome its sender was not told
may be sent again, and gets the same command id, under which the engine gives its first answer.

This is one gateway's memory. Another one knows nothing of it.
"""

import hashlib
import os

from msgspec import Struct
from msgspec.structs import replace

# Some 300 bytes each. Beyond, those that are good for the shortest time are forgotten first.
REMEMBERED_MOST = 200_000
# Equal requests of one client over HTTP come within this, however many it sends at once.
TWIN_WITHIN_US = 5_000_000


class Sending(Struct, frozen=True, gc=False):
    """How a request came: from whose address and when; over WebSocket also over which connection and under which name.

    `connection` is any number that no other connection of WebSocket has.
    """

    address: str
    at_us: int
    connection: int = 0
    name: str = ""
    # Its sender was told that the outcome is not known, or that nothing was done.
    is_open: bool = False


def is_twin(first: Sending, again: Sending) -> bool:
    """Whether it is another request with the same bytes, and not the same one once more.

    It is from the same address: over WebSocket over the same connection, under another name than the one before; over
    HTTP at nearly the same time. Clients take whichever of their connections is free, so these tell nothing there.
    """
    if again.address != first.address or again.connection != first.connection:
        return False
    return again.name != first.name or (not again.name and again.at_us - first.at_us < TWIN_WITHIN_US)


class Replays:
    """What came to one gateway."""

    def __init__(self) -> None:
        # Of each process: two equal requests to two gateways are two commands.
        self._salt = os.urandom(16)
        # By the second in which they are good no more: the same bytes are always good for the same time.
        self._seen: dict[int, dict[bytes, Sending]] = {}
        self._count = 0
        # The second in which it was last looked for what is not good any more.
        self._forgot_s = 0

    def __len__(self) -> int:
        return self._count

    def request_id(self, api_key: str, call: str, signed: bytes) -> bytes:
        """16 bytes that name a key's request by what was signed, and to which call."""
        request = b"%s %s\n%s" % (api_key.encode(), call.encode(), signed)
        return hashlib.blake2b(request, digest_size=16, key=self._salt).digest()

    def take(self, request_id: bytes, good_until_us: int, sending: Sending) -> bytes | None:
        """The id of the request's command; `b""` for a twin, whose command has its own; None for what came before."""
        if (now_s := sending.at_us // 1_000_000) != self._forgot_s or self._count > REMEMBERED_MOST:
            self._forgot_s = now_s
            self._forget(now_s)
        seen = self._seen.setdefault(good_until_us // 1_000_000, {})
        first = seen.get(request_id)
        if first is not None and not (first.is_open and first.address == sending.address):
            if not is_twin(first, sending):
                return None
            seen[request_id] = replace(first, name=sending.name)
            return b""
        self._count += first is None
        seen[request_id] = sending
        return request_id

    def reopen(self, request_id: bytes, good_until_us: int) -> None:
        """What came as this may be sent again."""
        seen = self._seen.get(good_until_us // 1_000_000, {})
        if (sending := seen.get(request_id)) is not None:
            seen[request_id] = replace(sending, is_open=True)

    def _forget(self, now_s: int) -> None:
        """Those that are not good any more, and what is too many."""
        while self._seen and ((first := min(self._seen)) < now_s or self._count > REMEMBERED_MOST):
            self._count -= len(self._seen.pop(first))
