"""The traders' page, as it was built into this package, and why each market is as it is.

The files are read once, at the start, and given out as they are: nothing is rendered, and no weight of limits is spent.
The page itself speaks the same wire as every other client.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openbourse.gateway.errors import Unavailable
from openbourse.gateway.shards import Shards
from openbourse.gateway.wire import Receive, Scope, Send

FOLDER = Path(__file__).with_name("page")
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
NOT_BUILT = "This gateway has no page: it was started from sources without it. `make run` builds it.\n"

# The names of assets say what is in them; whatever else is asked for again each time, and mostly not sent again.
FOR_EVER = b"public, max-age=31536000, immutable"
ASK_AGAIN = b"no-cache"

# Scripts and styles are files of ours alone, connections go to this gateway alone, and nobody puts the page in a frame.
SAFETY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class File:
    """One answer, as it is and compressed."""

    content: bytes
    compressed: bytes
    kind: bytes
    caching: bytes
    etag: bytes


def read_files(folder: Path) -> dict[str, File]:
    """By path of the URL. Empty when nothing was built."""
    if not (folder / "index.html").exists():
        return {}
    found: dict[str, File] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in TYPES:
            continue
        name = path.relative_to(folder).as_posix()
        content, compressed = path.read_bytes(), path.with_name(f"{path.name}.gz").read_bytes()
        caching = FOR_EVER if name.startswith("assets/") else ASK_AGAIN
        found["/" if name == "index.html" else f"/{name}"] = File(
            content, compressed, TYPES[path.suffix], caching, _etag(content)
        )
    return found


def _etag(content: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()


class Web:
    """An ASGI application for each path in `paths`."""

    def __init__(self, shards: Shards, files: Mapping[str, File]) -> None:
        self._shards = shards
        self._files = files or {"/": _sentence(NOT_BUILT)}

    @property
    def paths(self) -> list[str]:
        return [*self._files, "/page/markets"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = [*SAFETY]
        if scope["method"] not in ("GET", "HEAD"):
            await _send(send, scope, 405, [*headers, (b"allow", b"GET, HEAD")], b"")
        elif scope["path"] == "/page/markets":
            await self._markets(scope, send, headers)
        else:
            await _file(scope, send, headers, self._files[scope["path"]])

    async def _markets(self, scope: Scope, send: Send, headers: Headers) -> None:
        """Of each market what exchangeInfo says of its state, and why, which exchangeInfo has no word for."""
        headers += [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        try:
            markets = await self._shards.markets(fresh=True)
        except Unavailable as refusal:
            await _send(send, scope, refusal.status, headers, json.dumps(refusal.as_json()).encode())
            return
        rows = [
            {"symbol": market.symbol, "status": market.status, "reason": market.reason}
            for market in markets.by_symbol.values()
        ]
        await _send(send, scope, 200, headers, json.dumps(rows).encode())


async def _file(scope: Scope, send: Send, headers: Headers, file: File) -> None:
    sent = {name: value for name, value in scope["headers"] if name in (b"accept-encoding", b"if-none-match")}
    headers += [(b"etag", file.etag), (b"cache-control", file.caching), (b"vary", b"accept-encoding")]
    # A cache in between that compressed the answer itself says so with W/.
    known = {each.strip().removeprefix(b"W/") for each in sent.get(b"if-none-match", b"").split(b",")}
    if known & {file.etag, b"*"}:
        await _send(send, scope, 304, headers, None)
        return
    headers.append((b"content-type", file.kind))
    if _takes_gzip(sent.get(b"accept-encoding", b"")):
        await _send(send, scope, 200, [*headers, (b"content-encoding", b"gzip")], file.compressed)
    else:
        await _send(send, scope, 200, headers, file.content)


def _takes_gzip(accepted: bytes) -> bool:
    """A weight of nought means not at all."""
    codings = [each.partition(b";") for each in accepted.replace(b" ", b"").lower().split(b",")]
    return any(name == b"gzip" and not _is_nought(weight) for name, _, weight in codings)


def _is_nought(weight: bytes) -> bool:
    return weight.startswith(b"q=0") and not weight[3:].strip(b".0")


def _sentence(text: str) -> File:
    content = text.encode()
    return File(content, gzip.compress(content), b"text/plain; charset=utf-8", ASK_AGAIN, _etag(content))


async def _send(send: Send, scope: Scope, status: int, headers: Headers, body: bytes | None) -> None:
    """`body` None: an answer that has none and says no length."""
    if body is not None:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body or b""})
