"""`kubectl bourse bundle`: what is in the archive, and that nothing that was planted as a secret is."""

import json
import tarfile
from pathlib import Path

import pytest

from fixtures.bourses import Cluster
from openbourse.cli.bourse.redaction import REDACTED, Redactor, secrets_in, without_secrets

PLANTED = {
    "password of the DSN": "pw-4a1f-postgres",
    "secret of an API key": "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
    "password of Redis": "pw-77cd-redis",
    "value of an environment": "hunter2-in-an-env",
    "what kubectl remembers": "remembered-9d2f",
    "in an event": "pw-e7e7-event",
}


def _pod(namespace: str) -> str:
    container = {
        "name": "engine",
        "image": "x",
        "env": [{"name": "THE_PASSWORD", "value": PLANTED["value of an environment"]}],
        "ports": [{"name": "status", "containerPort": 7001}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "demo-engine-main-0",
            "namespace": namespace,
            "labels": {"openbourse.dev/exchange": "demo"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED["what kubectl remembers"]},
        },
        "spec": {"containers": [container]},
    }
    return json.dumps(pod)


@pytest.mark.server
def test_the_archive_has_what_is_needed_and_nothing_that_was_planted(bourse_cluster: Cluster, tmp_path: Path) -> None:
    dsn = f"postgresql://app:{PLANTED['password of the DSN']}@db/x"
    keys = json.dumps({"keys": [{"key": "k", "secret": PLANTED["secret of an API key"]}]})
    url = f"redis://:{PLANTED['password of Redis']}@redis/0"
    exchange = json.loads(bourse_cluster.kubectl("get", "exchange", "demo", "-o", "json"))["spec"]
    database, keys_secret = exchange["ledger"]["databaseSecret"], exchange["gateway"]["keysSecret"]
    bourse_cluster.kubectl("create", "secret", "generic", database, f"--from-literal=dsn={dsn}")
    bourse_cluster.kubectl("create", "secret", "generic", keys_secret, f"--from-literal=keys.json={keys}")
    bourse_cluster.kubectl("apply", "-f", "-", input_=_pod(bourse_cluster.namespace))
    # What a log, an event or a condition may say of them, whoever wrote it.
    told = f"{url} {PLANTED['secret of an API key']} postgresql://o:{PLANTED['in an event']}@db/x"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": bourse_cluster.namespace},
        "involvedObject": {"kind": "Pod", "name": "demo-engine-main-0", "namespace": bourse_cluster.namespace},
        "message": f"cannot reach {told}",
        "reason": "Failed",
        "type": "Warning",
    }
    bourse_cluster.kubectl("create", "-f", "-", input_=json.dumps(event))
    file = tmp_path / "demo.tar.gz"
    done = bourse_cluster.bourse("bundle", "-o", str(file))
    # No node runs here, so there are no status pages, and the log is empty.
    assert done.returncode == 1, done.stderr
    assert "reading demo-engine-main-0" in done.stderr
    files = _files(file)
    everything = "\n".join(files.values())
    assert {what: planted in everything for what, planted in PLANTED.items()} == dict.fromkeys(PLANTED, False)
    assert {
        "bundle/objects/Exchange/demo.yaml",
        "bundle/objects/EngineShard/main.yaml",
        "bundle/objects/Symbol/btcusdt.yaml",
        f"bundle/objects/Secret/{database}.yaml",
        "bundle/objects/Pod/demo-engine-main-0.yaml",
        "bundle/versions.json",
        "bundle/events.json",
        "bundle/plan.json",
    } <= files.keys()
    assert "demo-engine-main-0/status" in files["bundle/could-not-be-read.txt"]
    assert files["bundle/pods/demo-engine-main-0/engine.log"] == ""
    assert "cannot reach" in files["bundle/events.json"]
    assert file.stat().st_mode & 0o777 == 0o600
    again = bourse_cluster.bourse("bundle", "-o", str(file))
    assert (again.returncode, "there is such a file" in again.stderr) == (2, True)


def _files(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar.getmembers()]
        return {name: stream.read().decode() for name, stream in members if stream is not None}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://app:s3cret@db:5432/x", f"postgresql://app:{REDACTED}@db:5432/x"),
        ("redis://:s3cret@redis", f"redis://:{REDACTED}@redis"),
        ("Authorization: Bearer abcdefgh.ijkl", f"Authorization: {REDACTED} {REDACTED}"),
        ('{"password": "s3cret", "port": 5}', f'{{"password": "{REDACTED}", "port": 5}}'),
        ("OPENBOURSE_TOKEN=s3cret next", f"OPENBOURSE_TOKEN={REDACTED} next"),
        ("POST /api?x=1&signature=abc&y=2", f"POST /api?x=1&signature={REDACTED}&y=2"),
        ("a eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln b", f"a {REDACTED} b"),
        ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\nafter", f"{REDACTED}\nafter"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIGH", REDACTED),
        ("shard main: epoch 3, seq 17, lag 2 ms", "shard main: epoch 3, seq 17, lag 2 ms"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", None),
        ("https://db:5432/path", None),
        ("databaseSecret: demo-database\nsecretName: tls", None),
        ("automountServiceAccountToken: false", None),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_the_rest_stays(text: str, shown: str | None) -> None:
    assert Redactor(()).text(text) == (text if shown is None else shown)


def test_known_values_are_taken_out_wherever_they_stand_but_for_words() -> None:
    known = [
        value for text in ('{"keys": [{"secret": "AbCdEfGh"}]}', "line-one\nline-two") for value in secrets_in(text)
    ]
    shown = Redactor([*known, "true"]).text("AbCdEfGh and line-two is true")
    assert shown == f"{REDACTED} and {REDACTED} is true"


def test_a_secret_is_shown_by_the_names_of_its_keys() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s", "managedFields": [{}]}, "data": {"dsn": "eA=="}}
    assert without_secrets(secret) == {"kind": "Secret", "metadata": {"name": "s"}, "data": {"dsn": REDACTED}}
