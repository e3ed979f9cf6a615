"""`kubectl bourse certificates` reads the status alone; `rotate-authority` asks for what the operator can do."""

import datetime
import json
from typing import Any

import pytest

from fixtures.bourses import Cluster
from fixtures.operator_worlds import NOW, an_exchange
from openbourse.cli.bourse.certificates import listed
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.resources import Exchange
from openbourse.contracts.rotations import ANNOTATION

UNTIL = NOW + datetime.timedelta(days=90)


def status(reason: str, *uses: str) -> dict[str, Any]:
    authorities = [{"use": use, "fingerprint": f"{use}-1234567", "until": UNTIL.isoformat()} for use in uses]
    leaf = {"secret": "demo-gateway-tls", "component": "gateway", "until": UNTIL.isoformat(), "authority": "a" * 32}
    condition = {
        **{"type": "CertificatesCurrent", "status": str(reason == "Current"), "reason": reason, "message": "because"},
        **{"lastTransitionTime": NOW.isoformat(), "observedGeneration": 1},
    }
    return {"certificates": {"authorities": authorities, "leaves": [leaf]}, "conditions": [condition]}


def test_what_the_status_says_is_listed() -> None:
    exchange = an_exchange().model_dump(by_alias=True)
    seen = listed(Exchange.model_validate(exchange | {"status": status("NextIsToBeTrusted", "signing", "next")}))
    assert [one.use for one in seen.authorities] == ["signing", "next"]
    assert [(one.use, one.secret) for one in seen.certificates] == [("gateway", "demo-gateway-tls")]
    assert (seen.is_current, seen.reason) == (False, "NextIsToBeTrusted")
    with pytest.raises(NotDone, match="says nothing of certificates"):
        listed(an_exchange())


@pytest.mark.server
def test_a_rotation_is_asked_for_once_and_not_while_another_goes_on(bourse_cluster: Cluster) -> None:
    silent = bourse_cluster.bourse("rotate-authority", "--yes", "--no-wait")
    assert silent.returncode == 2
    assert "says nothing of certificates" in silent.stderr

    def says(said: dict[str, Any]) -> None:
        bourse_cluster.kubectl(
            "patch", "exchange", "demo", "--subresource=status", "--type=merge", "-p", json.dumps({"status": said})
        )

    says(status("Current", "signing"))
    shown = bourse_cluster.bourse("certificates")
    assert shown.returncode == 0, shown.stderr
    assert "demo-gateway-tls" in shown.stdout
    unsaid = bourse_cluster.bourse("rotate-authority")
    assert unsaid.returncode != 0
    assert "Make a new certificate authority for demo?" in unsaid.stdout + unsaid.stderr
    asked = bourse_cluster.bourse("rotate-authority", "--yes", "--no-wait", "-o", "json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["reason"] == "Asked"
    stored = json.loads(bourse_cluster.kubectl("get", "exchange", "demo", "-o", "json"))
    assert stored["metadata"]["annotations"][ANNOTATION] in json.loads(asked.stdout)["message"]
    says(status("NextIsToBeTrusted", "signing", "next"))
    again = bourse_cluster.bourse("rotate-authority", "--yes")
    assert again.returncode == 2
    assert "is being rotated already: because" in again.stderr
    assert bourse_cluster.bourse("certificates").returncode == 1
