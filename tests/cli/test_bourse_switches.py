"""`kubectl bourse cancel-all`, `kill-account`, `revive-account`, `account`: by whom the API server says that it is.

A real API server, the operator's signing, a real gateway and engine. Forwarded ports need nodes: tests/cluster.
"""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fixtures.admins import AdminVenue, audits
from fixtures.apiservers import PERSON, PERSON_TOKEN
from fixtures.bourses import Cluster, Done
from fixtures.people_requests import rights_of_a_person
from openbourse.contracts.apiserver import ApiServer
from openbourse.operator.manifests import kinds
from openbourse.operator.people.sign import sign_for_people

pytestmark = pytest.mark.server


@dataclass(slots=True)
class Desk:
    """A person who may operate an exchange, before its gateway."""

    cluster: Cluster
    venue: AdminVenue
    home: Path

    async def bourse(self, *arguments: str, gateway: bool = True) -> Done:
        place = ("--gateway", self.venue.url) if gateway else ()
        return await asyncio.to_thread(self.cluster.bourse, *arguments, *place, token=PERSON_TOKEN, home=self.home)


@pytest.fixture
async def desk(bourse_cluster: Cluster, admin_venue: AdminVenue, tmp_path: Path) -> AsyncIterator[Desk]:
    rights = yaml.safe_dump_all(rights_of_a_person("inspect", "operate"))
    bourse_cluster.kubectl("apply", "-f", "-", input_=rights)
    files = {name: (admin_venue.tls / "authority" / name).read_text() for name in ("tls.crt", "tls.key")}
    home = tmp_path / "home"
    home.mkdir()
    async with ApiServer.connect(bourse_cluster.server.credentials()) as api:
        metadata = {"name": "demo-authority", "namespace": bourse_cluster.namespace}
        await api.create(kinds.SECRET, {"metadata": metadata, "stringData": files, "type": "kubernetes.io/tls"})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sign_for_people(api, (bourse_cluster.namespace,)))
            yield Desk(bourse_cluster, admin_venue, home)
            task.cancel()


async def test_an_account_is_killed_by_whom_the_api_server_knows_and_the_log_says_who(desk: Desk) -> None:
    trader = desk.venue.trader
    await trader.place("BUY", "0.1", "20000")
    killed = await desk.bourse("kill-account", "1001", "--reason", "margin call", "--yes")
    assert (killed.returncode, killed.stdout) == (
        0,
        "account 1001 is killed: it places no orders; 0 orders are open\n",
    ), killed.stderr
    assert await trader.open_orders() == []
    line = audits(desk.venue)[-1]
    said = {name: line[name] for name in ("audit", "who", "role", "account", "why", "outcome")}
    assert said == {
        "audit": "kill",
        "who": PERSON,
        "role": "operator",
        "account": 1001,
        "why": "margin call",
        "outcome": "done",
    }
    revived = await desk.bourse("revive-account", "1001", "--reason", "paid", "--yes")
    assert revived.returncode == 2
    assert f"{PERSON} may not administer the exchange {desk.cluster.namespace}/demo" in revived.stderr
    shown = await desk.bourse("account", "1001", "-o", "json")
    assert (shown.returncode, json.loads(shown.stdout)["killed"]) == (0, True)


async def test_orders_are_cancelled_in_a_market_of_an_account_and_not_without_saying_which(desk: Desk) -> None:
    trader = desk.venue.trader
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await trader.place("BUY", "0.1", "2000", symbol=symbol)
    why = ("--reason", "a bad tick", "--yes")
    done = await desk.bourse("cancel-all", "--symbol", "BTCUSDT", *why, "-o", "yaml")
    assert (done.returncode, yaml.safe_load(done.stdout)["canceled"]) == (0, 1), done.stderr
    done = await desk.bourse("cancel-all", "--account", "1001", *why)
    assert (done.returncode, done.stdout) == (0, "1 orders of account 1001 were cancelled\n")
    for scope in ((), ("--whole-shard", "--symbol", "BTCUSDT")):
        done = await desk.bourse("cancel-all", *scope, *why)
        assert (done.returncode, done.stderr) == (
            2,
            "kubectl bourse: say whose: --account, --symbol, both of them, or --whole-shard alone\n",
        )
    unlisted = await desk.bourse("cancel-all", "--symbol", "XRPUSDT", *why)
    assert (unlisted.returncode, unlisted.stderr[:28]) == (2, "NotFound: XRPUSDT is not lis")


async def test_a_certificate_is_kept_for_its_hour_and_asked_for_anew_when_it_is_over(desk: Desk) -> None:
    for _ in range(2):
        assert (await desk.bourse("account", "1001")).returncode == 0
    [folder] = (desk.home / ".openbourse" / "people").iterdir()
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == dict.fromkeys(("ca.crt", "tls.crt", "tls.key"), 0o600)
    requests = json.loads(desk.cluster.kubectl("get", "csr", "-o", "json"))["items"]
    mine = [r for r in requests if r["metadata"]["annotations"]["openbourse.dev/namespace"] == desk.cluster.namespace]
    assert len(mine) == 1
    # As if it had run out.
    old = (desk.venue.tls / "authority" / "tls.crt").read_text()
    expired = _expired(desk.venue.tls / "authority")
    assert expired != old.encode()
    (folder / "tls.crt").write_bytes(expired)
    assert (await desk.bourse("account", "1001")).returncode == 0
    assert (folder / "tls.crt").read_bytes() != expired


async def test_without_the_port_given_kubectl_forwards_it_and_says_why_it_cannot(desk: Desk) -> None:
    done = await desk.bourse("account", "1001", gateway=False)
    assert done.returncode == 2
    assert done.stderr.startswith("kubectl bourse: kubectl port-forward deployment/demo-gateway: "), done.stderr


def _expired(authority: Path) -> bytes:
    from openbourse.contracts.certificates import Issued, issue  # noqa: PLC0415
    from openbourse.contracts.component import Component  # noqa: PLC0415

    signer = Issued(*((authority / name).read_bytes() for name in ("tls.crt", "tls.key")))
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    return issue(signer, "demo", Component.PERSON, (), then, person=PERSON, days=1).certificate
