"""What the operator and what runs rehearsals are both told as processes: where they work, and when to stop."""

import argparse
import asyncio
import os
import signal


def parser(module: str, description: str, *, namespace: str, of: str) -> argparse.ArgumentParser:
    """With `--namespace`, which is `namespace` by default and is that `of` something, and `--watch`."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--namespace",
        default=os.environ.get("OPENBOURSE_NAMESPACE", namespace),
        help=f"{of} (OPENBOURSE_NAMESPACE)",
    )
    made.add_argument(
        "--watch",
        type=_namespaces,
        default=os.environ.get("OPENBOURSE_WATCH_NAMESPACES", ""),
        metavar="NS,NS",
        help="the namespaces of exchanges; none: all of the cluster (OPENBOURSE_WATCH_NAMESPACES)",
    )
    return made


def stop_on_signals(stop: asyncio.Event) -> None:
    """From now on, in place of whoever heard them before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
