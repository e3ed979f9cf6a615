"""The loop over a real core: whatever goes wrong in the core ends the engine."""

import asyncio
from pathlib import Path

import pytest

from fixtures.commits import Alone
from openbourse.contracts import v1
from openbourse.engine import _core
from openbourse.engine.errors import Fatal, Refused
from openbourse.engine.loop import Loop
from openbourse.engine.own import OwnRequests


async def test_a_panic_of_the_core_ends_the_engine(tmp_path: Path) -> None:
    core = _core.Engine(tmp_path, "main")
    loop = Loop(core)
    Alone(loop).lead()
    with pytest.raises(BaseException, match="begins to lead once"):
        loop.lead(9)
    with pytest.raises(Fatal, match="the core failed"):
        await asyncio.wait_for(loop.failed, 5)


async def test_an_own_command_that_is_none_is_refused_and_the_next_one_goes_on(tmp_path: Path) -> None:
    core = _core.Engine(tmp_path, "main")
    loop = Loop(core)
    Alone(loop).lead()
    own = OwnRequests(loop)
    with pytest.raises(Refused, match="does not allow CreditFunds"):
        own.submit(v1.Command(credit_funds=v1.CreditFunds(account=1001, asset="BTC", amount=1)))
    reply = await own.sequence(v1.Command(define_asset=v1.DefineAsset(asset="BTC", scale=8)))
    assert reply.WhichOneof("result") == "done"
    assert (core.committed_seq, loop.idle.is_set(), loop.syncing_for_s) == (1, True, 0.0)
    loop.stop()
