"""What is cut out of a stream of frames is what the library reads in it, however the stream comes in pieces."""

import itertools
import os

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from openbourse.gateway.websocket_frames import Cutter, text_frame

MOST = 64 * 1024


def masked(opcode: Opcode, data: bytes, *, final: bool = True) -> bytes:
    return Frame(opcode, data, final).serialize(mask=True)


TEXTS = st.binary(max_size=300) | st.integers(120, 70_000).map(os.urandom)
FRAMES = st.one_of(
    TEXTS.map(lambda data: masked(Opcode.TEXT, data)),
    TEXTS.map(lambda data: masked(Opcode.TEXT, data)),
    TEXTS.map(lambda data: masked(Opcode.TEXT, data)),
    st.binary(max_size=125).map(lambda data: masked(Opcode.PING, data)),
    st.binary(max_size=125).map(lambda data: masked(Opcode.PONG, data)),
    st.sampled_from(
        [
            masked(Opcode.TEXT, b"begun", final=False),
            masked(Opcode.CONT, b"and ended"),
            masked(Opcode.BINARY, b"bytes"),
            masked(Opcode.CLOSE, b"\x03\xe8"),
            # Nobody may send these.
            Frame(Opcode.TEXT, b"bare").serialize(mask=False),
            b"\x91\x80abcd",
            b"\xc1\x80abcd",
            b"\x83\x80abcd",
            b"\x89\xfe\x00\x80abcd" + bytes(128),
            b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05abcdefghi",
            b"\x81\xfe\x00\x05abcdefghi",
        ]
    ),
)


def library() -> Protocol:
    return Protocol(Side.SERVER, state=State.OPEN, max_size=MOST)


def texts_of(protocol: Protocol) -> list[bytes]:
    """Whole ones, and those that came in fragments."""
    texts: list[bytes] = []
    parts: list[bytes] | None = None
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT:
            parts = []
        if frame.opcode in (Opcode.TEXT, Opcode.CONT) and parts is not None:
            parts.append(bytes(frame.data))
            if frame.fin:
                texts.append(b"".join(parts))
                parts = None
    return texts


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=6), st.lists(st.integers(0, 400_000), max_size=4))
def test_every_stream_is_read_as_the_library_reads_it(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames)
    expected = library()
    expected.receive_data(stream)
    cutter, behind = Cutter(MOST), library()
    texts: list[bytes] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        cut = cutter.feed(stream[begin:end])
        texts += cut.texts
        if cut.rest and behind.parser_exc is None:
            behind.receive_data(cut.rest)
            texts += texts_of(behind)
    event("plain" if cutter.is_plain else "given to the library")
    assert texts == texts_of(expected)
    assert repr(behind.parser_exc) == repr(expected.parser_exc)
    assert behind.close_rcvd == expected.close_rcvd


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_text_is_the_frame_that_the_library_makes(size: int) -> None:
    assert text_frame("x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)


def test_what_is_not_whole_is_held_once() -> None:
    text = b"x" * (MOST - 1)
    cutter, frame = Cutter(MOST), masked(Opcode.TEXT, text)
    assert [cutter.feed(bytes((byte,))).texts for byte in frame[:-1]] == [[]] * (len(frame) - 1)
    assert cutter.feed(frame[-1:]).texts == [text]
