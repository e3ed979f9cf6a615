"""Certificates in a real API server: the authority is rotated, or cert-manager makes them and the operator orders."""

import base64
import datetime
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from fixtures import cert_managers
from fixtures.stored_worlds import World, make_world, running
from openbourse.contracts.apiserver import ApiServer, Refused
from openbourse.contracts.certificates import make_authority
from openbourse.contracts.resources import Exchange
from openbourse.contracts.rotations import asking
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observed import Observed

pytestmark = pytest.mark.server

LEAF = "demo-gateway-tls"
ISSUED = (
    *("demo-cli-tls", "demo-engine-main-tls", LEAF, "demo-ledger-main-tls", "demo-marketdata-main-tls"),
    "demo-operator-tls",
)


@pytest.fixture
async def world(api: ApiServer, http: aiohttp.ClientSession) -> World:
    return await make_world(api, http)


async def certificates(world: World, secret: str, file: str) -> list[x509.Certificate]:
    stored = await world.api.get(kinds.SECRET, world.namespace, secret)
    assert stored is not None
    return x509.load_pem_x509_certificates(base64.b64decode(stored["data"][file]))


def current(observed: Observed) -> tuple[str, str]:
    assert observed.exchange is not None
    (found,) = [one for one in observed.exchange.status.conditions if one.type == "CertificatesCurrent"]
    return found.reason, found.message


async def ask(world: World, rotation: str) -> None:
    exchange = await world.api.get(Exchange.resource, world.namespace, "demo")
    assert exchange is not None
    asked = asking(world.namespace, "demo", exchange["metadata"]["uid"], rotation)
    await world.api.apply(Exchange.resource, asked, "test")


async def test_a_rotation_waits_for_a_process_that_says_nothing_and_then_leaves_one_authority(world: World) -> None:
    await running(world)
    (old,) = await certificates(world, "demo-authority", "tls.crt")
    before = {name: await certificates(world, name, "tls.crt") for name in ISSUED}
    labels = {names.EXCHANGE_LABEL: "demo", names.COMPONENT_LABEL: "gateway"}
    container: dict[str, Any] = {"name": "gateway", "image": "openbourse:dev"}
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    metadata = {"name": "silent", "namespace": world.namespace, "labels": labels}
    spec = {"containers": [container], "securityContext": security, "automountServiceAccountToken": False}
    await world.api.create(kinds.POD, {"metadata": metadata, "spec": spec})
    await ask(world, "first")
    await world.converge()
    seen = await world.converge()
    assert current(seen)[0] == "NextIsToBeTrusted"
    assert "silent does not say which authorities it trusts" in current(seen)[1]
    assert await certificates(world, "demo-authority", "tls.crt") == [old]
    (new,) = await certificates(world, "demo-authority", "next.crt")
    for name in ISSUED:
        assert await certificates(world, name, "ca.crt") == [old, new]
        assert await certificates(world, name, "tls.crt") == before[name]
    await world.api.call("DELETE", kinds.POD.path(world.namespace, "silent"), {"gracePeriodSeconds": "0"})
    await world.converge()
    seen = await world.converge()
    assert current(seen)[0] == "Current"
    secret = await world.api.get(kinds.SECRET, world.namespace, "demo-authority")
    assert secret is not None
    assert set(secret["data"]) == {"tls.crt", "tls.key"}
    for name in ISSUED:
        assert await certificates(world, name, "ca.crt") == [new]
        (held,) = await certificates(world, name, "tls.crt")
        held.verify_directly_issued_by(new)
    assert seen.exchange is not None
    status = seen.exchange.status.certificates
    assert status is not None
    assert (status.rotation, [one.use for one in status.authorities]) == ("first", ["signing"])
    assert {leaf.secret for leaf in status.leaves} == set(ISSUED)
    # What was asked for once is done once.
    await world.converge()
    assert await certificates(world, "demo-authority", "tls.crt") == [new]


async def test_an_authority_that_was_deleted_is_replaced_and_trusted_first(world: World) -> None:
    await running(world)
    (old,) = await certificates(world, LEAF, "ca.crt")
    await world.api.delete(kinds.SECRET, world.namespace, "demo-authority")
    seen = await world.converge()
    (new,) = await certificates(world, "demo-authority", "tls.crt")
    assert new != old
    seen = await world.converge()
    assert current(seen)[0] == "Current"
    assert await certificates(world, LEAF, "ca.crt") == [new]


async def test_with_an_issuer_and_no_cert_manager_nothing_is_made_and_the_status_says_why(
    api: ApiServer, http: aiohttp.ClientSession
) -> None:
    world = await make_world(api, http, issuer="house")
    seen = await world.converge()
    assert current(seen)[0] == "NoCertManager"
    assert "it is not installed" in current(seen)[1]
    assert not [name for kind, name in await world.children() if kind in {"Secret", "StatefulSet"}]


async def test_certificates_are_ordered_of_cert_manager_whose_controller_is_played_here(
    api: ApiServer, http: aiohttp.ClientSession
) -> None:
    async with cert_managers.installed(api):
        world = await make_world(api, http, issuer="house")
        for _ in range(20):
            seen = await world.converge()
            ordered, _ = await api.list(kinds.CERTIFICATE, world.namespace) if seen.cert_manager else ([], "")
            if ordered:
                break
        assert {one["metadata"]["name"] for one in ordered} == set(ISSUED)
        assert {one["spec"]["issuerRef"]["name"] for one in ordered} == {"house"}
        assert current(await world.converge())[0] == "CertificateMissing"
        house = make_authority("house", datetime.datetime.now(datetime.UTC))
        assert await cert_managers.issue_all(api, world.namespace, house) == len(ISSUED)
        seen = await running(world)
        assert current(seen)[0] == "Current"
        assert ("StatefulSet", "demo-engine-main") in await world.children()
        assert await api.get(kinds.SECRET, world.namespace, "demo-authority") is None
        versions = {one["metadata"]["resourceVersion"] for one in ordered}
        again, _ = await api.list(kinds.CERTIFICATE, world.namespace)
        assert {one["metadata"]["resourceVersion"] for one in again} == versions


async def test_who_makes_the_certificates_is_fixed(world: World) -> None:
    exchange = await world.api.get(Exchange.resource, world.namespace, "demo")
    assert exchange is not None
    exchange["spec"]["certificates"] = {"issuerRef": {"name": "house"}}
    with pytest.raises(Refused, match="fixed when the exchange is made"):
        await world.api.replace(Exchange.resource, exchange)
