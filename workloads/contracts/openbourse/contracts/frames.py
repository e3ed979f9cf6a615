"""Length-prefixed frames: a 4-byte big-endian length and one Protobuf message. Bytes in, bytes out, no sockets."""

import functools
import struct

from google.protobuf.message import Message

# What an engine may send in one piece: all events of one command, all balances of a shard. An engine takes far less.
MAX_FRAME_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct(">I")


class FrameTooLarge(ValueError):
    """A peer announced a frame longer than MAX_FRAME_BYTES: close the connection, there is no way to go on."""


def encode(message: Message) -> bytes:
    body = message.SerializeToString()
    return _LENGTH.pack(len(body)) + body


def enclosed(tag: bytes, message: bytes) -> bytes:
    """The frame of a message whose one field, of that tag, is `message`, which was encoded before."""
    return _head(tag, len(message)) + message


@functools.lru_cache(maxsize=4_096)
def _head(tag: bytes, size: int) -> bytes:
    """Most messages have one of a few sizes."""
    length = _varint(size)
    return _LENGTH.pack(len(tag) + len(length) + size) + tag + length


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


class Decoder:
    """Cuts a stream of bytes, in pieces of any size, into the bodies of its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies completed by `data`, in order. Raises FrameTooLarge."""
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME_BYTES:
                raise FrameTooLarge(f"a frame of {length} bytes was announced, at most {MAX_FRAME_BYTES} are taken")
            end = start + _LENGTH.size + length
            if end > len(self._buffer):
                break
            bodies.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return bodies
