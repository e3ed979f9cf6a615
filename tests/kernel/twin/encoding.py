"""The canonical encoding of the section *state hash*: big-endian integers, texts and lists behind their lengths."""

from collections.abc import Iterable


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def u128(value: int) -> bytes:
    return value.to_bytes(16, "big")


def i64(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def text(value: str) -> bytes:
    encoded = value.encode()
    return u32(len(encoded)) + encoded


def counted(items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return u64(len(encoded)) + b"".join(encoded)
