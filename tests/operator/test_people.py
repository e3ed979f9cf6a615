"""Certificates of people: read, allowed or refused with a sentence, signed as what the API server says they are."""

import asyncio
import base64
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fixtures.apiservers import PERSON, PERSON_TOKEN
from fixtures.bourses import Cluster
from fixtures.people_requests import a_csr, a_request, rights_of_a_person
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.certificates import make_authority
from openbourse.contracts.people import EXCHANGE, REQUESTS, ROLE
from openbourse.contracts.roles import Role
from openbourse.operator.manifests import kinds
from openbourse.operator.people.requests import LIFE_MOST, Asked, Malformed, access_review, asked, is_open
from openbourse.operator.people.sign import sign_for_people


def of(user: str = "ann", **more: Any) -> Object:
    """As the API server stores it: with who asked."""
    request = a_request("r", "trading", **more)
    return request | {"spec": request["spec"] | {"username": user, "groups": ["desk"], "uid": "7"}}


def test_a_request_asks_for_what_it_says_for_whom_the_api_server_says() -> None:
    wanted = asked(of(role="admin"))
    assert isinstance(wanted, Asked)
    assert (wanted.namespace, wanted.exchange, wanted.role, wanted.user) == ("trading", "demo", Role.ADMIN, "ann")
    review = access_review(of(role="admin"), wanted)["spec"]
    assert (review["user"], review["groups"], review["uid"]) == ("ann", ["desk"], "7")
    assert review["resourceAttributes"] == {
        "namespace": "trading",
        "name": "demo",
        "group": "openbourse.dev",
        "resource": "exchanges",
        "verb": "administer",
    }


def test_nobody_is_certified_for_longer_than_half_a_day() -> None:
    wanted = asked(of(expirationSeconds=10**9))
    assert isinstance(wanted, Asked) and wanted.life == LIFE_MOST


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (of(role="king"), "it is one of viewer, operator, admin"),
        (of(role=""), f"what for: {ROLE}"),
        (of(exchange=""), f"what for: {EXCHANGE}"),
        (of("a" * 65), "1 to 64 printable characters"),
        (of("ann\nbob"), "1 to 64 printable characters"),
        (of(usages=["client auth", "server auth"]), "usages may be client auth, digital signature"),
        (of(request=a_csr(ec.SECP384R1())), "curve P-256"),
        (of(request="bm8="), "cannot be read"),
    ],
)
def test_what_cannot_be_granted_is_said_why(request_: Object, sentence: str) -> None:
    wanted = asked(request_)
    assert isinstance(wanted, Malformed)
    assert sentence in wanted.why


@pytest.mark.parametrize("status", [{"certificate": "x"}, {"conditions": [{"type": "Denied"}]}])
def test_what_was_answered_is_let_be(status: Object) -> None:
    assert not is_open({"status": status})
    assert is_open({"status": {"conditions": [{"type": "Approved"}]}})


@pytest.fixture
async def signing(bourse_cluster: Cluster) -> AsyncIterator[tuple[Cluster, ApiServer]]:
    """The exchange has its authority, the operator signs, and a person may operate the exchange."""
    cluster = bourse_cluster
    cluster.kubectl("apply", "-f", "-", input_=yaml.safe_dump_all(rights_of_a_person("inspect", "operate")))
    authority = make_authority("demo", datetime.datetime.now(datetime.UTC))
    secret = {"tls.crt": authority.certificate.decode(), "tls.key": authority.key.decode()}
    async with ApiServer.connect(cluster.server.credentials()) as api:
        metadata = {"name": "demo-authority", "namespace": cluster.namespace}
        await api.create(kinds.SECRET, {"metadata": metadata, "stringData": secret, "type": "kubernetes.io/tls"})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sign_for_people(api, (cluster.namespace,)))
            yield cluster, api
            task.cancel()


@pytest.mark.server
async def test_a_person_gets_the_role_that_they_may_have_and_no_other(signing: tuple[Cluster, ApiServer]) -> None:
    cluster, api = signing
    async with ApiServer.connect(cluster.server.credentials(PERSON_TOKEN)) as person:
        for role in ("operator", "admin"):
            await person.create(REQUESTS, a_request(f"{role}-{cluster.namespace}", cluster.namespace, role=role))
    signed = await _answered(api, f"operator-{cluster.namespace}")
    held, authority = x509.load_pem_x509_certificates(base64.b64decode(signed["status"]["certificate"]))
    held.verify_directly_issued_by(authority)
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["openbourse://demo/person?role=operator"]
    assert PERSON in held.subject.rfc4514_string()
    left = held.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=9) < left < datetime.timedelta(minutes=11)
    refused = await _answered(api, f"admin-{cluster.namespace}")
    (condition,) = refused["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Denied", "NotAllowed")
    assert f"{PERSON} may not administer the exchange {cluster.namespace}/demo" in condition["message"]


@pytest.mark.server
async def test_what_somebody_else_approved_is_not_signed_for_who_may_not(signing: tuple[Cluster, ApiServer]) -> None:
    cluster, api = signing
    name = f"approved-{cluster.namespace}"
    async with ApiServer.connect(cluster.server.credentials(PERSON_TOKEN)) as person:
        # Of a namespace of which nobody here is the signer, so that there is time to approve it.
        made = await person.create(REQUESTS, a_request(name, "elsewhere", role="admin"))
    approval = {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "x"}]}
    await api.call("PUT", REQUESTS.path(None, name, "approval"), body=made | {"status": approval})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sign_for_people(api, ("elsewhere",)))
        answered = await _answered(api, name)
        task.cancel()
    assert [entry["type"] for entry in answered["status"]["conditions"]] == ["Approved", "Failed"]
    assert not answered["status"].get("certificate")


async def _answered(api: ApiServer, name: str) -> Object:
    async with asyncio.timeout(20):
        while True:
            found = await api.get(REQUESTS, None, name)
            assert found is not None
            if not is_open(found):
                return found
            await asyncio.sleep(0.05)
