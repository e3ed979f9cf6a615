"""Frames of a WebSocket that are plain: a whole masked text, in and out. Bytes in, bytes out, no sockets.

What is anything else (control frames, fragments, lengths and bits that nobody may send) is given to the library that
knows all of the protocol. Nothing here answers or refuses.
"""

from dataclasses import dataclass, field

from websockets.speedups import apply_mask

_TEXT_WHOLE = 0x81
# Pings and pongs. After a close nothing is plain any more.
_CONTROL = (0x89, 0x8A)
_MASKED = 0x80
_SHORT_MOST = 125
_TWO_BYTES = 126


@dataclass(slots=True)
class Cut:
    """What of the stream was understood: texts in their order, and what the library has to see before and after."""

    texts: list[bytes] = field(default_factory=list)
    # Control frames, and everything from the first on that is not plain.
    rest: bytes = b""


class Cutter:
    """Cuts what a client sends. Of one that sends what is not plain all goes to the library from then on."""

    def __init__(self, text_bytes_most: int) -> None:
        self._most = text_bytes_most
        self._begun = b""
        self.is_plain = True

    def feed(self, data: bytes) -> Cut:
        """Holds one frame that is not whole at most."""
        cut = Cut()
        if not self.is_plain:
            cut.rest = data
            return cut
        buffer = self._begun + data if self._begun else data
        at, size = 0, len(buffer)
        while size - at >= 2:
            first, second = buffer[at], buffer[at + 1]
            length, body = second - _MASKED, at + 6
            if first == _TEXT_WHOLE and length == _TWO_BYTES:
                if size - at < 4:
                    break
                length, body = buffer[at + 2] << 8 | buffer[at + 3], at + 8
                usual = length <= self._most
            else:
                usual = 0 <= length <= _SHORT_MOST and (first == _TEXT_WHOLE or first in _CONTROL)
            if not usual:
                self.is_plain = False
                cut.rest += buffer[at:]
                at = size
                break
            end = body + length
            if end > size:
                break
            if first == _TEXT_WHOLE:
                cut.texts.append(apply_mask(buffer[body:end], buffer[body - 4 : body]))
            else:
                cut.rest += buffer[at:end]
            at = end
        self._begun = buffer[at:]
        return cut


def text_frame(text: str) -> bytes:
    """As a server sends it."""
    body = text.encode()
    size = len(body)
    if size <= _SHORT_MOST:
        return bytes((_TEXT_WHOLE, size)) + body
    if size < 1 << 16:
        return bytes((_TEXT_WHOLE, _TWO_BYTES, size >> 8, size & 0xFF)) + body
    return bytes((_TEXT_WHOLE, _TWO_BYTES + 1)) + size.to_bytes(8) + body
