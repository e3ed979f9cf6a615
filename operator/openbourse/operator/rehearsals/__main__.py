"""What runs rehearsals, as a process of its own: it alone may make pods that break things.

OPENBOURSE_NAMESPACE=openbourse-rehearsals OPENBOURSE_IMAGE=openbourse/openbourse:dev \\
    python -m openbourse.operator.rehearsals
"""

import asyncio
import logging
import os
import socket
import sys
import uuid

import aiohttp

from openbourse.contracts import logs
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.component import Component
from openbourse.operator import process
from openbourse.operator.rehearsals.keeping import Keeper
from openbourse.operator.rehearsals.signing import Signing
from openbourse.operator.rehearsals.striking import House


def main() -> int:
    parser = process.parser(
        "openbourse.operator.rehearsals",
        __doc__,
        namespace="openbourse-rehearsals",
        of="of this process, its keys and its pods: privileged pods are admitted there",
    )
    parser.add_argument(
        "--image",
        default=os.environ.get("OPENBOURSE_IMAGE", ""),
        help="of the pods that it makes: its own (OPENBOURSE_IMAGE)",
    )
    parser.add_argument(
        "--operator",
        default=os.environ.get("OPENBOURSE_OPERATOR_NAMESPACE", "openbourse-system"),
        metavar="NS",
        help="the namespace of the operator, which some scenarios kill (OPENBOURSE_OPERATOR_NAMESPACE)",
    )
    arguments = parser.parse_args()
    if not arguments.image:
        parser.error("--image, or OPENBOURSE_IMAGE, must name the image of the pods that it makes")
    logs.configure(Component.OPERATOR)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    asyncio.run(_run(House(arguments.namespace, arguments.image, arguments.operator), arguments.watch))
    return 0


async def _run(house: House, watched: tuple[str, ...]) -> None:
    stop = asyncio.Event()
    process.stop_on_signals(stop)
    identity = f"{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
    connector = aiohttp.TCPConnector(limit=64)
    async with ApiServer.connect() as api, aiohttp.ClientSession(connector=connector) as http:
        sys.stderr.write(f"rehearsals ready {identity}\n")
        await Keeper(api, http, house, identity, watched, Signing(api, house.namespace)).run(stop)


if __name__ == "__main__":
    raise SystemExit(main())
