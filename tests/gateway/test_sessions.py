"""What a session may still ask for when its connection has gone while a request of it was under way."""

import time
from pathlib import Path

import pytest

from fixtures.shards import shards_away
from openbourse.gateway.calls import Call
from openbourse.gateway.errors import Invalid
from openbourse.gateway.guards.keeper import Keeper
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.keys import create_key
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.parameters import Parameters
from openbourse.gateway.replays import Sending
from openbourse.gateway.sockets import Peer
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.user_data.hub import UserData
from openbourse.gateway.websocket_api.sessions import Session, SessionCalls


async def test_a_connection_that_is_gone_begins_to_hear_nothing(tmp_path: Path) -> None:
    file, now_us = tmp_path / "keys.json", time.time_ns() // 1000
    key = create_key(file, account=1001)
    ring = KeyRing(file)
    shards = shards_away(marketdata="https://127.0.0.1:9")
    user_data = UserData(shards, Streams(), ring, None)
    # Or it would wait for its feed, and be refused for that.
    user_data.following["main"].begin()
    calls = SessionCalls(shards, user_data, Keeper(shards))
    session = Session(Peer(10, 1000), now_us, "127.0.0.1", microseconds=False, return_rate_limits=True)
    here, charge = "127.0.0.1", Charge("127.0.0.1", now_us // 1000)
    call = Call(Parameters({}), b"", "", now_us, False, here, charge, Sending(here, now_us))
    call.session, call.holder = session, ring.holder(key.api_key, "127.0.0.1", now_us)
    calls.closed(session)
    with pytest.raises(Invalid) as refused:
        await calls.subscribe_by_signature(call)
    assert refused.value.detail == "the connection has ended"
    assert not session.subscriptions
    await shards.close()
