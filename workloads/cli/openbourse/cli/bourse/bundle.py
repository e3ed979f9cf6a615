"""`kubectl bourse bundle`: everything that helps to find a fault, in one archive that may be given away.

Bounded in every direction, and without secrets: a Secret is its name and the names of its keys, and what is known or
looks to be secret is taken out of all text (`redaction`). What could not be read is said in the archive, and skipped.
"""

import base64
import binascii
import io
import json
import os
import tarfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
import yaml

from openbourse.cli.bourse import planned
from openbourse.cli.bourse.cluster import (
    Context,
    ExchangeOption,
    Kubeconfig,
    Namespace,
    Target,
    connected,
    read_all,
    the_exchange,
)
from openbourse.cli.bourse.console import fail, now, run
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.redaction import Redactor, secrets_in, without_secrets
from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Resource
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import Exchange
from openbourse.contracts.resources.definitions import MODELS
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observe import observe
from openbourse.operator.status_pages import through_api_server

EVENTS = Resource("", "v1", "events", "Event")
NODES = Resource("", "v1", "nodes", "Node")
SYSTEM = "openbourse-system"
LOG_LINES = 5000
LOG_BYTES_MAX = 1024 * 1024
STATUS_BYTES_MAX = 64 * 1024
EVENTS_MOST = 2000
PODS_MOST = 100
ARCHIVE_BYTES_MAX = 200 * 1024 * 1024


@dataclass(slots=True)
class Archive:
    """Files by name, as they will be; what is too much for it is not in it, and said."""

    redactor: Redactor
    files: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, text: str) -> None:
        content = self.redactor.text(text).encode()
        if self.size + len(content) > ARCHIVE_BYTES_MAX:
            self.missing.append(f"{name}: the archive has {ARCHIVE_BYTES_MAX >> 20} MiB already")
            return
        self.size += len(content)
        self.files[name] = content

    def add_objects(self, items: list[Object]) -> None:
        for item in items:
            text = yaml.safe_dump(without_secrets(item), sort_keys=False)
            self.add(f"objects/{item['kind']}/{item['metadata']['name']}.yaml", text)

    def packed(self, at: float) -> bytes:
        missing = self.redactor.text("\n".join(self.missing))
        everything = self.files | {"could-not-be-read.txt": f"{missing}\n".encode()}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for name, content in sorted(everything.items()):
                entry = tarfile.TarInfo(f"bundle/{name}")
                entry.size, entry.mtime, entry.mode = len(content), int(at), 0o600
                tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()


def bundle(
    *,
    file: Annotated[Path, typer.Option("--output", "-o", help="The archive: a new file that ends with .tar.gz.")],
    exchange: ExchangeOption = None,
    system: Annotated[str, typer.Option(help="Namespace of the operator.")] = SYSTEM,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Logs of the pods, the last lines of each.")] = True,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Pack what helps to find a fault: objects, events, logs, status pages, versions, and the operator's next plan.

    There are no secrets in it, as far as can be told: look before you give it away. Ends with 1 where something could
    not be read; the archive says what.

    \b
    kubectl bourse bundle -o demo.tar.gz -n exchange
    kubectl bourse bundle -o demo.tar.gz -n exchange --no-logs
    """
    if not file.name.endswith(".tar.gz"):
        fail(f"-o {file}: its name has to end with .tar.gz")
    if file.exists():
        fail(f"-o {file}: there is such a file; name a new one")
    archive = run(_collected(Target(namespace, context, kubeconfig), exchange, system, logs=logs))
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(archive.packed(time.time()))
    except OSError as error:
        fail(f"-o {file}: {error}")
    typer.echo(f"{file}: {len(archive.files)} files, {file.stat().st_size // 1024} KiB")
    if archive.missing:
        typer.echo(f"{len(archive.missing)} could not be read: see could-not-be-read.txt in it", err=True)
    raise typer.Exit(1 if archive.missing else 0)


async def _collected(target: Target, wanted: str | None, system: str, *, logs: bool) -> Archive:
    async with connected(target) as (api, namespace):
        exchange = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace)
        name = exchange.metadata.name
        selected = f"{names.EXCHANGE_LABEL}={name}"
        secrets, missing = await _secrets(api, namespace, exchange, selected)
        known = [text for secret in secrets for value in _values(secret) for text in secrets_in(value)]
        archive = Archive(Redactor(known), missing=missing)
        archive.add_objects(secrets)
        _say("objects")
        for model in MODELS:
            await _listed(archive, api, model.resource, namespace)
        for resource in kinds.LISTED:
            await _listed(archive, api, resource, namespace, selected)
        await _listed(archive, api, LEASE, namespace)
        await _listed(archive, api, NODES, None)
        _say("versions and events")
        await _attempt(archive, "versions.json", lambda: _versions(api, exchange))
        await _attempt(archive, "events.json", lambda: _events(api, namespace))
        await _attempt(archive, "plan.json", lambda: _plan(api, namespace, name))
        operators = "app.kubernetes.io/name=openbourse-operator"
        for where, labels in ((namespace, selected), (system, operators)):
            for pod in await _pods(archive, api, where, labels):
                await _pod(archive, api, pod, logs=logs)
        return archive


async def _attempt(archive: Archive, name: str, read: Callable[[], Awaitable[str]]) -> None:
    """What cannot be read is said, and the rest goes on."""
    try:
        archive.add(name, await read())
    except (ApiError, NotDone, ValueError) as error:
        archive.missing.append(f"{name}: {error}")


async def _listed(archive: Archive, api: ApiServer, kind: Resource, namespace: str | None, labels: str = "") -> None:
    try:
        items, _ = await api.list(kind, namespace, labels)
    except ApiError as error:
        archive.missing.append(f"{kind.kind}: {error}")
        return
    archive.add_objects(items)


async def _secrets(api: ApiServer, namespace: str, exchange: Exchange, labels: str) -> tuple[list[Object], list[str]]:
    """Read so that their values can be taken out of everything else; in the archive is only what they are called."""
    spec = exchange.spec
    given = {spec.ledger.database_secret, spec.gateway.keys_secret, spec.gateway.redis_secret}
    if spec.ledger.seal is not None:
        given.add(spec.ledger.seal.pin_secret)
    found: list[Object] = []
    missing: list[str] = []
    try:
        found, _ = await api.list(kinds.SECRET, namespace, labels)
        stored = [await api.get(kinds.SECRET, namespace, name) for name in sorted(given - {None}, key=str) if name]
        found += [secret for secret in stored if secret is not None]
    except ApiError as error:
        missing.append(f"Secrets, so only what looks like a secret could be taken out of text: {error}")
    return found, missing


def _values(secret: Object) -> list[str]:
    values = []
    for key, value in (secret.get("data") or {}).items():
        # Certificates are for everybody, and in every log of a handshake.
        if key in {"ca.crt", "tls.crt"}:
            continue
        try:
            values.append(base64.b64decode(value, validate=True).decode(errors="replace"))
        except binascii.Error:
            continue
        values.append(value)
    return values


async def _versions(api: ApiServer, exchange: Exchange) -> str:
    server, _ = await api.text("/version", bytes_max=STATUS_BYTES_MAX)
    return json.dumps(
        {
            "kubectl bourse": version("openbourse"),
            "apiServer": json.loads(server),
            "image": exchange.spec.image,
            "at": now().isoformat(timespec="seconds"),
        },
        indent=2,
    )


async def _events(api: ApiServer, namespace: str) -> str:
    items, _ = await api.list(EVENTS, namespace)
    items.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
    return json.dumps([without_secrets(item) for item in items[-EVENTS_MOST:]], indent=1)


async def _plan(api: ApiServer, namespace: str, name: str) -> str:
    observed = await observe(api, through_api_server(api), namespace, name, now=now(), before=None)
    if observed.exchange is None:
        raise NotDone("the exchange was deleted meanwhile")
    return json.dumps(planned.as_document(planned.planned(observed)), indent=2)


async def _pods(archive: Archive, api: ApiServer, namespace: str, labels: str) -> list[Object]:
    try:
        pods, _ = await api.list(kinds.POD, namespace, labels)
    except ApiError as error:
        archive.missing.append(f"pods of {namespace}: {error}")
        return []
    if len(pods) > PODS_MOST:
        archive.missing.append(f"{len(pods) - PODS_MOST} of {len(pods)} pods of {namespace}: there are too many")
    return pods[:PODS_MOST]


async def _pod(archive: Archive, api: ApiServer, pod: Object, *, logs: bool) -> None:
    metadata = pod["metadata"]
    name, path = metadata["name"], f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    _say(name)
    restarts = {entry["name"]: entry["restartCount"] for entry in pod.get("status", {}).get("containerStatuses", ())}
    for container in pod["spec"].get("containers", ()):
        of = container["name"]
        for port in container.get("ports", ()):
            if port.get("name") == "status":
                for page in ("status", "metrics"):
                    await _text(archive, api, f"pods/{name}/{page}", f"{path}:{port['containerPort']}/proxy/{page}")
        if logs:
            query = {"container": of, "tailLines": str(LOG_LINES), "timestamps": "true"}
            await _text(archive, api, f"pods/{name}/{of}.log", f"{path}/log", query)
            if restarts.get(of):
                before = query | {"previous": "true"}
                await _text(archive, api, f"pods/{name}/{of}.before-restart.log", f"{path}/log", before)


async def _text(archive: Archive, api: ApiServer, name: str, path: str, query: dict[str, str] | None = None) -> None:
    async def read() -> str:
        text, is_cut = await api.text(path, query, bytes_max=LOG_BYTES_MAX)
        return text + (f"\n[cut after {LOG_BYTES_MAX} bytes]\n" if is_cut else "")

    await _attempt(archive, name, read)


def _say(what: str) -> None:
    typer.echo(f"reading {what}", err=True)
