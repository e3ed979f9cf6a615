"""Frames come out as they went in, however the stream is cut."""

import pytest

from openbourse.contracts import v1
from openbourse.contracts.frames import MAX_FRAME_BYTES, Decoder, FrameTooLarge, enclosed, encode
from openbourse.contracts.session import COMMAND_TAG

HELLO = v1.ClientFrame(hello=v1.Hello(shard="main", client="test"))
QUERY = v1.ClientFrame(query=v1.Query(query_id=7, depth=v1.DepthQuery(symbol="BTCUSDT", limit=5)))
EMPTY = v1.ClientFrame()


def test_frames_survive_every_way_to_cut_them_in_three() -> None:
    stream = encode(HELLO) + encode(EMPTY) + encode(QUERY)
    expected = [message.SerializeToString() for message in (HELLO, EMPTY, QUERY)]
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            decoder = Decoder()
            pieces = (stream[:first], stream[first:second], stream[second:])
            assert [body for piece in pieces for body in decoder.feed(piece)] == expected


def test_a_frame_that_is_too_long_is_refused_before_its_body_comes() -> None:
    with pytest.raises(FrameTooLarge):
        Decoder().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000])
def test_a_message_that_was_encoded_before_makes_the_same_frame(size: int) -> None:
    command = v1.Command(command_id=b"c" * size)
    assert enclosed(COMMAND_TAG, command.SerializeToString()) == encode(v1.ClientFrame(command=command))
