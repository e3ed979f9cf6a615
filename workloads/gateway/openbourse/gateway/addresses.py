"""Whose address a request comes from, and whether a list of networks has it. Texts in, texts out; nothing is looked up.

What a client says of its address is not believed: only a proxy that the operator named may say for whom it speaks.
"""

import functools
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from openbourse.contracts.networks import Network

Application = Callable[[MutableMapping[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]

FORWARDED_FOR = b"x-forwarded-for"
# A chain of proxies is short; what stands further left is not read.
HOPS_MOST = 32


@functools.lru_cache(maxsize=16_384)
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """False too for what is no address."""
    found = _address(address)
    return found is not None and any(found.version == each.version and found in each for each in networks)


def client_address(peer: str, forwarded: Iterable[bytes], trusted: tuple[Network, ...]) -> str:
    """The socket's peer; where that is a trusted proxy, the rightmost address in `forwarded` that is none.

    `forwarded` are the values of X-Forwarded-For in the order in which they came. Where a trusted proxy named what is
    no address, or nobody, the request is the proxy's own.
    """
    if not is_within(peer, trusted):
        return peer
    hops = [hop.strip() for value in forwarded for hop in value.decode("latin-1").split(",")]
    nearest = peer
    for hop in reversed(hops[-HOPS_MOST:]):
        address = _address(hop)
        if address is None:
            break
        nearest = str(address)
        if not is_within(nearest, trusted):
            break
    return nearest


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def behind_proxies(application: Application, trusted: Sequence[Network]) -> Application:
    """The application, told of each request whose it is: `scope["client"]` has the client's address, and port 0 where a
    proxy named it."""
    if not trusted:
        return application
    networks = tuple(trusted)

    async def named(scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if client := scope.get("client"):
            forwarded = [value for name, value in scope["headers"] if name == FORWARDED_FOR]
            address = client_address(client[0], forwarded, networks)
            if address != client[0]:
                scope["client"] = (address, 0)
        await application(scope, receive, send)

    return named
