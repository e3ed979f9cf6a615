"""The few calls on a Kubernetes API server that the engine and the operator need, each with a time-out.

Objects are plain dictionaries as the API writes them. Nothing here retries, caches or decides: a caller that is told
`Unavailable` asks again later, one that is told `Refused` has asked for something wrong. The large generated client is
not used here: importing it costs a starting engine more than a second.
"""

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp

Object = dict[str, Any]

CALL_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
GOODBYE_S = 0.25
# A bound service account token is renewed on disk long before it runs out.
TOKEN_AGE_MAX_S = 60.0
PAGE_LIMIT = 500
LINE_BYTES_MAX = 4 * 1024 * 1024
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server did not do what it was asked to do."""


class Unavailable(ApiError):
    """Not reached, overloaded or broken: the same call may succeed later, and may have been carried out."""


class Refused(ApiError):
    """Reached, and it said no. `status` is the HTTP status, the text is the server's own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_missing(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        return self.status == HTTPStatus.CONFLICT


class WatchExpired(ApiError):
    """The watch asked for a version that the server no longer keeps: list again."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and where the API server keeps it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Object


class Credentials:
    """Where the API server is and how a caller shows who it is. The token is read again as it is renewed."""

    def __init__(self, url: str, context: ssl.SSLContext | None, token: str = "", token_file: Path | None = None):
        self.url = url.rstrip("/")
        self.context = context
        self._token = token
        self._token_file = token_file
        self._token_read_at = -TOKEN_AGE_MAX_S

    @classmethod
    def from_environment(cls) -> Self:
        """Of the pod that this runs in, or of the file that KUBECONFIG names. Raises Unavailable when there is none."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST")
        if host:
            port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
            address = f"[{host}]" if ":" in host else host
            context = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
            return cls(f"https://{address}:{port}", context, token_file=SERVICE_ACCOUNT / "token")
        file = os.environ.get("KUBECONFIG")
        if file:
            return cls.from_kubeconfig(Path(file))
        raise Unavailable("no API server: neither in a pod (KUBERNETES_SERVICE_HOST) nor given a file by KUBECONFIG")

    @classmethod
    def from_kubeconfig(cls, file: Path) -> Self:
        """The current context of a kubeconfig that names its files by path or carries their contents."""
        # Only at a desk and in tests: in a pod nobody pays for this import.
        import yaml  # noqa: PLC0415
        from kubernetes.config.kube_config import KubeConfigLoader  # noqa: PLC0415

        class Target:
            host: str
            ssl_ca_cert: str | None = None
            cert_file: str | None = None
            key_file: str | None = None
            verify_ssl: bool = True

            def __init__(self) -> None:
                self.api_key: dict[str, str] = {}

        target = Target()
        make: Any = KubeConfigLoader
        loader = make(yaml.safe_load(file.read_text()), config_base_path=str(file.parent))
        loader.load_and_set(target)
        context = None
        if target.host.startswith("https"):
            context = ssl.create_default_context(cafile=target.ssl_ca_cert)
            if target.cert_file:
                context.load_cert_chain(target.cert_file, target.key_file)
        return cls(target.host, context, token=target.api_key.get("BearerToken", "").removeprefix("Bearer "))

    def headers(self) -> dict[str, str]:
        if self._token_file is not None and time.monotonic() - self._token_read_at >= TOKEN_AGE_MAX_S:
            self._token = self._token_file.read_text().strip()
            self._token_read_at = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


class ApiServer:
    """One connection pool to one API server. Use `connect`, which closes it."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        self._credentials = credentials
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, credentials: Credentials | None = None) -> AsyncIterator[Self]:
        credentials = credentials or Credentials.from_environment()
        connector = aiohttp.TCPConnector(limit=32)
        if credentials.context is not None:
            connector = aiohttp.TCPConnector(limit=32, ssl=credentials.context)
        try:
            async with aiohttp.ClientSession(connector=connector, read_bufsize=LINE_BYTES_MAX) as session:
                # aiohttp would send a PUT again, unasked, when its connection breaks: the first one has landed, the
                # second is a conflict, and a compare-and-set that succeeded is told to have failed.
                session._retry_connection = False
                yield cls(credentials, session)
        finally:
            # A closed session still has connections that say goodbye in TLS: a loop that ends before leaves them open.
            await asyncio.sleep(GOODBYE_S)

    async def list(self, resource: Resource, namespace: str | None, labels: str = "") -> tuple[list[Object], str]:
        """All objects, and the version from which a watch goes on without a gap."""
        # The items of a list come without what they all have in common.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        items: list[Object] = []
        query = {"limit": str(PAGE_LIMIT)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = await self.call("GET", resource.path(namespace), query=query)
            items += [kind | item for item in page["items"]]
            more = page["metadata"].get("continue")
            if not more:
                return items, str(page["metadata"]["resourceVersion"])
            query["continue"] = more

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return await self.call("GET", resource.path(namespace, name))
        except Refused as error:
            if error.is_missing:
                return None
            raise

    async def apply(
        self, resource: Resource, manifest: Object, manager: str, subresource: str | None = None, *, force: bool = True
    ) -> Object:
        """Server-side apply: makes the object, or its named fields, be as in `manifest`."""
        metadata = manifest["metadata"]
        return await self.call(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"], subresource),
            query={"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"},
            body={"apiVersion": resource.api_version, "kind": resource.kind, **manifest},
            content_type="application/apply-patch+yaml",
        )

    async def create(self, resource: Resource, manifest: Object) -> Object:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        path = resource.path(manifest["metadata"].get("namespace"))
        return await self.call("POST", path, query={"fieldValidation": "Strict"}, body=body)

    async def replace(self, resource: Resource, manifest: Object) -> Object:
        """Compare and set: refused as a conflict when the object's resourceVersion is no longer the one given."""
        metadata = manifest["metadata"]
        assert metadata["resourceVersion"]
        return await self.call("PUT", resource.path(metadata.get("namespace"), metadata["name"]), body=manifest)

    async def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None) -> None:
        """Deletes this very object (if `uid` is given), in the background; that it is gone already is fine."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self.call("DELETE", resource.path(namespace, name), body=body)
        except Refused as error:
            if not error.is_missing:
                raise

    async def watch(
        self, resource: Resource, namespace: str | None, resource_version: str, timeout_s: int
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, for at most `timeout_s`. Raises WatchExpired when it is too old."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            "allowWatchBookmarks": "true",
        }
        # A half-open stream ends by the client's own clock.
        timeout = aiohttp.ClientTimeout(total=timeout_s + CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self._session.get(
                self._credentials.url + resource.path(namespace),
                params=query,
                headers=self._credentials.headers(),
                timeout=timeout,
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, await response.text())
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(int(event["object"].get("code", 500)), json.dumps(event["object"]))
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise Unavailable(f"watch of {resource.plural}: {type(error).__name__} {error}") from error

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request. Raises Refused or Unavailable."""
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body), content_type
        try:
            headers |= self._credentials.headers()
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._session.request(
                    method, self._credentials.url + path, params=query, data=data, headers=headers
                ) as response,
            ):
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__} {error}") from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, text)
        result: Object = json.loads(text)
        return result


def _refusal(status: int, text: str) -> ApiError:
    try:
        message = str(json.loads(text).get("message") or text)
    except ValueError:
        message = text[:500]
    if status == HTTPStatus.GONE:
        return WatchExpired(message)
    if (
        status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return Unavailable(f"{status}: {message}")
    return Refused(status, message)
