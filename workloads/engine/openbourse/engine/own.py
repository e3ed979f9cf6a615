"""The engine's own commands and queries. They take the same way as everybody's: sequenced, durable, answered."""

import asyncio
import secrets
from typing import TypeVar

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, encode
from openbourse.contracts.session import NotTaken
from openbourse.engine._core import ITSELF
from openbourse.engine.errors import Refused
from openbourse.engine.loop import Loop

TIMEOUT_S = 30.0

A = TypeVar("A", v1.Reply, v1.Answer)


class OwnRequests:
    """The peer of the connection ITSELF."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._decoder = Decoder()
        self._replies: dict[bytes, asyncio.Future[v1.Reply]] = {}
        self._answers: dict[int, asyncio.Future[v1.Answer]] = {}
        self._last_query_id = 0
        loop.peers[ITSELF] = self

    def submit(self, command: v1.Command) -> asyncio.Future[v1.Reply]:
        """Queues a command, which gets a command id if it has none; one id has one future. Raises Refused."""
        command.command_id = command.command_id or secrets.token_bytes(16)
        self._receive(v1.ClientFrame(command=command))
        return self._replies.setdefault(command.command_id, asyncio.get_running_loop().create_future())

    async def sequence(self, command: v1.Command) -> v1.Reply:
        """The committed answer, which may be a rejection. Raises Refused, and NotTaken: look, and send it again."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await asyncio.shield(self.submit(command))
        except TimeoutError:
            raise NotTaken(f"not committed within {TIMEOUT_S:g} s") from None
        if reply.rejection.reason == v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE:
            raise NotTaken(reply.rejection.detail)
        return reply

    async def ask(self, query: v1.Query) -> v1.Answer:
        """Raises NotTaken where no answer is committed in time."""
        self._last_query_id += 1
        query.query_id = self._last_query_id
        future: asyncio.Future[v1.Answer] = asyncio.get_running_loop().create_future()
        self._answers[query.query_id] = future
        self._receive(v1.ClientFrame(query=query))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await future
        except TimeoutError:
            raise NotTaken(f"not committed within {TIMEOUT_S:g} s") from None

    def _receive(self, frame: v1.ClientFrame) -> None:
        asked = self._loop.receive(ITSELF, encode(frame))
        if asked is not None and asked[2]:
            (body,) = Decoder().feed(asked[0])
            raise Refused(v1.ServerFrame.FromString(body).problem.detail)

    def send(self, frames: bytes) -> None:
        for body in self._decoder.feed(frames):
            message = v1.ServerFrame.FromString(body)
            if message.WhichOneof("frame") == "reply":
                _resolve(self._replies.pop(message.reply.command_id, None), message.reply)
            else:
                _resolve(self._answers.pop(message.answer.query_id, None), message.answer)

    def resume_reading(self) -> None:
        """Own requests are few and each is waited for: nothing reads ahead."""


def _resolve(future: asyncio.Future[A] | None, value: A) -> None:
    if future is not None and not future.done():
        future.set_result(value)
