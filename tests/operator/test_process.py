"""The operator as a process, with the chart's rights and no others: makes an exchange, gives way, stops cleanly."""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures import cert_managers
from fixtures.apiservers import OPERATOR_USER, RunningApiServer
from fixtures.figures import Show
from fixtures.operator_processes import (
    SYSTEM,
    an_exchange,
    an_operator,
    eventually,
    forget_exchanges,
    install_rights,
    is_there,
    let_everything_happen_once,
)
from fixtures.rights import compared, granted
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.operator.leader import DURATION_S, LEASE, LEASE_NAME, RENEW_EVERY_S
from openbourse.operator.manifests import kinds


@pytest.fixture
async def chart(api_server: RunningApiServer, api: ApiServer, tmp_path: Path) -> list[Object]:
    await forget_exchanges(api)
    return await install_rights(api_server, api, tmp_path)


@pytest.mark.alone
@pytest.mark.server
async def test_it_makes_an_exchange_and_stops_cleanly(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    with an_operator(api_server, tmp_path / "operator.log") as operator:
        await eventually(lambda: asyncio.to_thread(operator.leads), operator)
        namespace = await an_exchange(api)
        await eventually(lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main"), operator)
        # An event, not the period, brings the next look: three repairs in a row take less than one period.
        times = []
        for _ in range(3):
            await api.delete(kinds.STATEFUL_SET, namespace, "demo-engine-main")
            repaired = lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main")  # noqa: E731
            times.append(await eventually(repaired, operator))
        assert sorted(times)[1] < 3, times
        began = time.monotonic()
        assert operator.stop() == 0, operator.log()[-4000:]
        # Kopf by itself would wait for five.
        assert time.monotonic() - began < 4.5
    assert "Traceback" not in operator.log()
    lease = await api.get(LEASE, SYSTEM, LEASE_NAME)
    assert lease is not None
    assert not lease["spec"].get("holderIdentity")


@pytest.mark.server
async def test_two_replicas_have_one_leader_and_the_other_takes_over(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(an_operator(api_server, tmp_path / f"{name}.log")) for name in ("first", "second")
        )

        async def one_leads() -> bool:
            return first.leads() or second.leads()

        await eventually(one_leads, first)
        leader, other = (first, second) if first.leads() else (second, first)
        assert not other.leads()
        assert leader.stop() == 0
        assert await eventually(lambda: asyncio.to_thread(other.leads), other) < 10
        # Somebody takes the Lease: the one who held it ends, and says why.
        lease = await api.get(LEASE, SYSTEM, LEASE_NAME)
        assert lease is not None
        lease["spec"]["holderIdentity"] = "another"
        await api.replace(LEASE, lease)
        assert await asyncio.to_thread(other.process.wait, 15) == 3
        assert "LeadershipLost: the lease is held by another" in other.log()


@pytest.mark.alone
@pytest.mark.server
async def test_a_leader_that_is_killed_is_followed_when_its_lease_has_stood_still(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path, show: Show
) -> None:
    with an_operator(api_server, tmp_path / "first.log") as first:
        await eventually(lambda: asyncio.to_thread(first.leads), first)
        with an_operator(api_server, tmp_path / "second.log") as second:
            await asyncio.sleep(3)
            assert not second.leads()
            first.kill()
            took_s = await eventually(lambda: asyncio.to_thread(second.leads), second)
            namespace = await an_exchange(api)
            await eventually(lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main"), second)
    show(f"an operator's leading replica killed: another leads after {took_s:.1f} s")
    # It looks every two seconds; the renewal before the end counts, so that it is not much sooner either.
    assert DURATION_S - RENEW_EVERY_S - 1 < took_s < DURATION_S + 2 * RENEW_EVERY_S + 2


@pytest.mark.server
async def test_the_rights_granted_are_the_rights_used(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    # Other tests speak in the operator's name too, and some to be refused.
    of_others = len(api_server.calls_of(OPERATOR_USER))
    with an_operator(api_server, tmp_path / "operator.log") as operator:
        namespace = await an_exchange(api)
        await eventually(lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main"), operator)
        await let_everything_happen_once(api, namespace, operator)
        async with cert_managers.installed(api):
            ordering = await an_exchange(api, certificates={"issuerRef": {"name": "house"}})
            await eventually(lambda: is_there(api, kinds.CERTIFICATE, ordering, "demo-gateway-tls"), operator)
            edited = {"metadata": {"name": "demo-gateway-tls", "namespace": ordering}, "spec": {"duration": "1h0m0s"}}
            await api.merge(kinds.CERTIFICATE, edited, "test")
            await eventually(lambda: is_renewed_in_time(api, ordering), operator)
        assert operator.stop() == 0
    calls = api_server.calls_of(OPERATOR_USER)[of_others:]
    assert [call for call in calls if call["responseStatus"]["code"] == 403] == []
    # Other roles of the chart are people's.
    roles = [item for item in chart if item["kind"] in ("ClusterRole", "Role")]
    grants = granted(item for item in roles if item["metadata"]["name"].startswith("openbourse-operator"))
    unused, ungranted = compared(grants, calls)
    assert ungranted == set()
    # Who grants a right has to hold it; and a signer's are asked about when the request is written to.
    engine = granted(await roles_of(api, namespace))
    role = "openbourse-operator"
    passed_on = {(role, *grant.right[1:]) for grant in engine}
    signers = {right for right in unused if right[2] == "signers"}
    assert {verb for *_, verb in signers} == {"approve", "sign"}
    # Said when a symbol moves, which takes engines and ledgers: `test_moves_whole`, before this one or after it.
    of_moves = {(role, "", "events", "create")}
    assert unused - signers - of_moves <= passed_on
    assert unused - signers - of_moves == {(role, "coordination.k8s.io", "leases", "update")}


async def is_renewed_in_time(api: ApiServer, namespace: str) -> bool:
    found = await api.get(kinds.CERTIFICATE, namespace, "demo-gateway-tls")
    return found is not None and found["spec"]["duration"] == "2160h0m0s"


async def roles_of(api: ApiServer, namespace: str) -> list[Object]:
    """The Roles that the operator made there."""
    roles, _ = await api.list(kinds.ROLE, namespace)
    assert roles
    return roles
