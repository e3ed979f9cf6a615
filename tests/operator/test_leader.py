"""The operator's own Lease on a real API server: who lets go of it, and who must not."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fixtures.apiservers import RunningApiServer
from openbourse.contracts.apiserver import ApiServer, Resource
from openbourse.operator.leader import LEASE, LEASE_NAME, Leadership

pytestmark = pytest.mark.server

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


class Place:
    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def changed(self, **spec: Any) -> None:
        """By somebody else, or by a renewal that nobody heard of."""
        lease = await self.api.get(LEASE, self.namespace, LEASE_NAME)
        assert lease is not None
        lease["spec"] |= spec
        await self.api.replace(LEASE, lease)

    async def holder(self) -> str:
        lease = await self.api.get(LEASE, self.namespace, LEASE_NAME)
        assert lease is not None
        return str(lease["spec"].get("holderIdentity") or "")


@pytest.fixture
async def place(bare_api_server: RunningApiServer) -> AsyncIterator[Place]:
    async with ApiServer.connect(bare_api_server.credentials()) as api:
        namespace = f"leader-{secrets.token_hex(4)}"
        await api.create(NAMESPACES, {"metadata": {"name": namespace}})
        yield Place(api, namespace)


async def test_a_leader_that_ends_lets_go_though_its_last_renewal_landed_unheard(place: Place) -> None:
    leadership = Leadership(place.api, place.namespace, "one")
    await leadership.acquire()
    await place.changed(renewTime="2026-11-28T18:20:13.000000Z")
    await leadership.release()
    assert await place.holder() == ""
    await Leadership(place.api, place.namespace, "two").acquire()
    assert await place.holder() == "two"


async def test_one_that_lost_the_lease_leaves_it_to_whoever_has_it(place: Place) -> None:
    leadership = Leadership(place.api, place.namespace, "one")
    await leadership.acquire()
    await place.changed(holderIdentity="two")
    await leadership.release()
    assert await place.holder() == "two"
