"""Traces: the few requests that are followed, and what tells where their time went. W3C Trace Context, OpenTelemetry.

Whoever lets a request in decides once whether it is followed; its command carries the traceparent, and so do its
events, so that each process behind adds its span without deciding anything. A request that is not followed costs one
draw of a number. Set up by the variables of OpenTelemetry: OTEL_EXPORTER_OTLP_ENDPOINT (without it there are no
traces), OTEL_TRACES_SAMPLER_ARG (the share that is followed), OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Protocol

SHARE_DEFAULT = 0.01

Value = str | int | bool


class BadSettings(ValueError):
    """A variable of OpenTelemetry says something that cannot be done."""


class Span(Protocol):
    """One that is open."""

    @property
    def traceparent(self) -> str:
        """For whoever goes on with it."""

    def end(self, *, error: str = "", **attributes: Value) -> None:
        """Now. `error` says what went wrong on our side."""


class Tracing(Protocol):
    """Where spans go. One for each process."""

    @property
    def is_on(self) -> bool:
        """Somebody gets them."""

    def begin(self, name: str, traceparent: str | None, **attributes: Value) -> Span | None:
        """Of a request that comes in now, and what its sender says of its trace; None: it is not followed."""

    def record(self, name: str, traceparent: str, began_us: int, ended_us: int, **attributes: Value) -> None:
        """Of a request that is followed: a span under the one that the traceparent names. Any other text is none."""

    def stop(self) -> None:
        """Sends what is left, within a few seconds. Blocks."""


class NoTracing:
    """Follows nothing."""

    is_on = False

    def begin(self, name: str, traceparent: str | None, **attributes: Value) -> Span | None:
        return None

    def record(self, name: str, traceparent: str, began_us: int, ended_us: int, **attributes: Value) -> None:
        pass

    def stop(self) -> None:
        pass


NO_TRACING: Tracing = NoTracing()


def start(component: str, environment: Mapping[str, str] = os.environ) -> Tracing:
    """As the environment says. Raises BadSettings."""
    if not any(environment.get(f"OTEL_EXPORTER_OTLP_{of}ENDPOINT") for of in ("", "TRACES_")):
        return NO_TRACING
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NO_TRACING
    share = _share(environment)
    try:
        # Only where somebody gets them.
        exported = importlib.import_module("openbourse.contracts.exported_traces")
    except ImportError as error:
        raise BadSettings(f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is missing") from None
    traces: Tracing = exported.exporting(component, share)
    return traces


def _share(environment: Mapping[str, str]) -> float:
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    try:
        share = float(text) if text else SHARE_DEFAULT
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise BadSettings(f"OTEL_TRACES_SAMPLER_ARG is {text!r}: the share that is traced is from 0 to 1, such as 0.01")
    return share
