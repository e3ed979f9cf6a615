"""`kubectl bourse version`: of this program, of the API server, and of each exchange's image."""

import json
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected, read_all
from openbourse.cli.bourse.console import Output, OutputOption, run, show
from openbourse.contracts.resources import API_VERSION, Exchange

VERSION_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Versions:
    """`server` is empty, and `images` too, where nobody asked the cluster."""

    client: str
    resources: str
    server: str
    # Of each exchange of the namespace.
    images: dict[str, str]


def version(
    *,
    client: Annotated[bool, typer.Option("--client", help="Of this program alone: asks no cluster.")] = False,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show which version this is, and those of the API server and of the exchanges.

    \b
    kubectl bourse version --client
    kubectl bourse version -n exchange -o json
    """
    own = Versions(version_of("openbourse"), API_VERSION, "", {})
    seen = own if client else run(_asked(Target(namespace, context, kubeconfig), own))
    lines = [f"kubectl bourse {seen.client}  ({seen.resources})"]
    lines += [f"API server {seen.server}"] if seen.server else []
    lines += [f"Exchange {name}  {image}" for name, image in seen.images.items()]
    show(seen, output, "\n".join(lines))


async def _asked(target: Target, own: Versions) -> Versions:
    async with connected(target) as (api, namespace):
        text, _ = await api.text("/version", bytes_max=VERSION_BYTES_MAX)
        exchanges = await read_all(api, Exchange, namespace)
    images = {exchange.metadata.name: exchange.spec.image for exchange in exchanges}
    return Versions(own.client, own.resources, str(json.loads(text)["gitVersion"]), images)
