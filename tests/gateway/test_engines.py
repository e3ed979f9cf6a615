"""What a trader is told while a shard takes no commands."""

import pytest

from fixtures.shards import COMMAND, not_taken, shard
from openbourse.gateway import errors
from openbourse.gateway.engines import Engine
from openbourse.gateway.errors import Unavailable


async def test_an_order_that_the_log_has_no_room_for_is_refused_and_its_outcome_is_known() -> None:
    async with shard(lambda command, _connections: not_taken(command)) as session:
        with pytest.raises(Unavailable) as refused:
            await Engine(session).command(COMMAND)
    assert (refused.value.code, refused.value.status) == (errors.BUSY.code, 503)
    assert "no room" in refused.value.detail


async def test_an_order_that_was_sent_twice_has_an_unknown_outcome() -> None:
    async with shard(lambda command, connections: None if connections == 1 else not_taken(command)) as session:
        with pytest.raises(Unavailable) as refused:
            await Engine(session).command(COMMAND)
    assert refused.value.code == errors.TIMEOUT.code
