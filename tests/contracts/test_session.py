"""What an EngineSession makes of a shard that takes no commands, on a real socket."""

from collections.abc import Awaitable

import pytest

from fixtures.shards import COMMAND, TIMEOUT_S, not_taken, shard
from openbourse.contracts import v1
from openbourse.contracts.session import NotTaken
from openbourse.contracts.unanswered import Unavailable


async def raised(asked: Awaitable[v1.Reply]) -> Exception:
    with pytest.raises(Unavailable) as caught:
        await asked
    return caught.value


async def test_a_command_that_was_sent_once_and_refused_was_not_taken_and_may_be_sent_again() -> None:
    refusals = 1

    def answer(command: v1.Command, _connections: int) -> v1.Reply:
        nonlocal refusals
        refusals -= 1
        return not_taken(command) if refusals >= 0 else v1.Reply(command_id=command.command_id, seq=7, done=v1.Done())

    async with shard(answer) as session:
        error = await raised(session.command(COMMAND, TIMEOUT_S))
        assert type(error) is NotTaken
        assert "no room" in str(error)
        assert (await session.command(COMMAND, TIMEOUT_S)).seq == 7


async def test_of_a_command_that_was_sent_twice_a_refusal_says_nothing() -> None:
    def answer(command: v1.Command, connections: int) -> v1.Reply | None:
        return None if connections == 1 else not_taken(command)

    async with shard(answer) as session:
        error = await raised(session.command(COMMAND, TIMEOUT_S))
        assert type(error) is Unavailable, error
        assert "cannot say what became of it" in str(error)
