"""How the status pages of pods are asked: over the pods' own network, or from outside through the API server.

Nothing here knows what a page says, or asks twice.
"""

import json
from collections.abc import Awaitable, Callable

import aiohttp

from openbourse.contracts.apiserver import ApiError, ApiServer, Object

TIMEOUT_S = 1.0
# The names of a thousand symbols are in it.
BYTES_MAX = 256 * 1024


class NoAnswer(Exception):
    """There was none in time, or none of the kind that was asked for."""


# A pod that has an address, and the port of its status page, to the page's JSON. Raises NoAnswer.
Ask = Callable[[Object, int], Awaitable[bytes]]


def over_pod_network(session: aiohttp.ClientSession) -> Ask:
    """For a process in the cluster."""

    async def ask(pod: Object, port: int) -> bytes:
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with session.get(f"http://{host}:{port}/status", timeout=timeout) as response:
                response.raise_for_status()
                return await whole(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswer(f"{type(error).__name__} {error}") from error

    return ask


async def whole(content: aiohttp.StreamReader) -> bytes:
    """One read gives what has come, which may be less than all. Raises NoAnswer."""
    page = bytearray()
    async for part in content.iter_any():
        page += part
        if len(page) > BYTES_MAX:
            raise NoAnswer(f"more than {BYTES_MAX} bytes")
    return bytes(page)


def through_api_server(api: ApiServer) -> Ask:
    """For a person at a desk, who needs the right to `get` on `pods/proxy`."""

    async def ask(pod: Object, port: int) -> bytes:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}:{port}/proxy/status"
        try:
            return json.dumps(await api.call("GET", path)).encode()
        except (ApiError, ValueError) as error:
            raise NoAnswer(str(error)) from error

    return ask
