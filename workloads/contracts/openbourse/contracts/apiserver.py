"""The few calls on a Kubernetes API server that the engine and the operator need, each with a time-out.

Objects are plain dictionaries as the API writes them. Nothing here retries, caches or decides: a caller that is told
`Unavailable` asks again later, one that is told `Refused` has asked for something wrong. The large generated client is
not used here: importing it costs a starting engine more than a second. aiohttp is a fifth of its start, and imported
by `connect`: an engine whose record is a file, and most of what a person runs, asks no API server.
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
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
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
        credentials, _ = cls.of_context(str(file), None)
        return credentials

    @classmethod
    def of_context(cls, files: str, context: str | None) -> tuple[Self, str]:
        """Of a context, or of the current one, of files with a colon between them; and the context's namespace.

        Raises OSError and ValueError.
        """
        # Only at a desk and in tests: in a pod nobody pays for this import.
        from openbourse.contracts import kubeconfig  # noqa: PLC0415

        found = kubeconfig.read(files, context)
        return cls(found.url, found.tls, token=found.token), found.namespace

    def headers(self) -> dict[str, str]:
        if self._token_file is not None and time.monotonic() - self._token_read_at >= TOKEN_AGE_MAX_S:
            self._token = self._token_file.read_text().strip()
            self._token_read_at = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


class ApiServer:
    """One connection pool to one API server. Use `connect`, which closes it."""

    def __init__(
        self, credentials: Credentials, session: "aiohttp.ClientSession", broken: type["aiohttp.ClientError"]
    ) -> None:
        """`broken` is what the session raises."""
        self._credentials = credentials
        self._session = session
        self._broken = broken

    @classmethod
    @asynccontextmanager
    async def connect(cls, credentials: Credentials | None = None) -> AsyncIterator[Self]:
        import aiohttp  # noqa: PLC0415

        credentials = credentials or Credentials.from_environment()
        connector = aiohttp.TCPConnector(limit=32)
        if credentials.context is not None:
            connector = aiohttp.TCPConnector(limit=32, ssl=credentials.context)
        try:
            async with aiohttp.ClientSession(connector=connector, read_bufsize=LINE_BYTES_MAX) as session:
                # aiohttp would send a PUT again, unasked, when its connection breaks: the first one has landed, the
                # second is a conflict, and a compare-and-set that succeeded is told to have failed.
                session._retry_connection = False
                yield cls(credentials, session, aiohttp.ClientError)
        finally:
            # A closed session still has connections that say goodbye in TLS: a loop that ends before leaves them open.
            await asyncio.sleep(GOODBYE_S)

    @property
    def url(self) -> str:
        return self._credentials.url

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

    async def merge(self, resource: Resource, manifest: Object, manager: str) -> Object:
        """A merge patch of this very object, if `manifest` has its uid: what is null in it is taken away."""
        metadata = manifest["metadata"]
        return await self.call(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"]),
            query={"fieldManager": manager, "fieldValidation": "Strict"},
            body=manifest,
            content_type="application/merge-patch+json",
        )

    async def create(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        """`dry_run`: everything is judged and nothing stored, here and in `replace`."""
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        path = resource.path(manifest["metadata"].get("namespace"))
        return await self.call("POST", path, query={"fieldValidation": "Strict"} | _dry(dry_run), body=body)

    async def replace(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        """Compare and set: refused as a conflict when the object's resourceVersion is no longer the one given."""
        metadata = manifest["metadata"]
        assert metadata["resourceVersion"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self.call("PUT", path, query=_dry(dry_run), body=manifest)

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
        from aiohttp import ClientTimeout  # noqa: PLC0415

        # A half-open stream ends by the client's own clock.
        timeout = ClientTimeout(total=timeout_s + CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
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
        except (self._broken, TimeoutError, ValueError, OSError) as error:
            raise Unavailable(f"watch of {resource.plural}: {type(error).__name__} {error}") from error

    async def text(self, path: str, query: Mapping[str, str] | None = None, *, bytes_max: int) -> tuple[str, bool]:
        """What is no object, such as a log, and whether there was more than `bytes_max`.

        Raises Refused or Unavailable.
        """
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._session.get(
                    self._credentials.url + path, params=query, headers=self._credentials.headers()
                ) as response,
            ):
                read = b""
                while len(read) <= bytes_max and (part := await response.content.read(bytes_max + 1 - len(read))):
                    read += part
        except (self._broken, TimeoutError, OSError) as error:
            raise Unavailable(f"GET {path}: {type(error).__name__} {error}") from error
        text = read[:bytes_max].decode(errors="replace")
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, text)
        return text, len(read) > bytes_max

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request. Raises Refused or Unavailable."""
        # A list of a thousand objects takes longer to pack than to send.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
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
        except (self._broken, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__} {error}") from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, text)
        result: Object = json.loads(text)
        return result


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


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
