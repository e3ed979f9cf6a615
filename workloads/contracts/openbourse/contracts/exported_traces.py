"""Traces that are exported over OTLP/HTTP, with the SDK of OpenTelemetry: what `tracing.start` uses where it is wanted.

Needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http.
"""

import random
import re
import socket
import threading
import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from openbourse.contracts.tracing import Span, Value

# Anybody may send a traceparent that asks for a trace: so many a second get one.
ASKED_MOST_PER_S = 20
STOP_TIMEOUT_S = 3.0

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_SAMPLED = 1


def exporting(component: str, share: float) -> "ExportedTraces":
    """In batches, from a thread of its own; its queue is bounded, and loses spans when it is full."""
    resource = Resource.create({"service.name": f"openbourse-{component}", "service.instance.id": socket.gethostname()})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return ExportedTraces(provider, share, time.monotonic, exporter.shutdown)


class ExportedTraces:
    """Spans of the SDK. `clock` in seconds, monotonic; `give_up` ends an export that is under way."""

    is_on = True

    def __init__(
        self, provider: TracerProvider, share: float, clock: Callable[[], float], give_up: Callable[[], None]
    ) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("openbourse")
        self._share = share
        self._clock = clock
        self._give_up = give_up
        self._second = 0
        self._asked = 0

    def begin(self, name: str, traceparent: str | None, **attributes: Value) -> Span | None:
        followed = random.random() < self._share  # noqa: S311
        if traceparent is not None and (sent := _TRACEPARENT.fullmatch(traceparent)) is not None:
            followed = followed or (bool(int(sent[3], 16) & _SAMPLED) and self._has_room())
        else:
            traceparent = None
        if not followed:
            return None
        return _Span(self._tracer.start_span(name, _context(traceparent), attributes=attributes))

    def _has_room(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._asked = second, 0
        self._asked += 1
        return self._asked <= ASKED_MOST_PER_S

    def record(self, name: str, traceparent: str, began_us: int, ended_us: int, **attributes: Value) -> None:
        if _TRACEPARENT.fullmatch(traceparent) is None:
            return
        context = _context(traceparent)
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=began_us * 1000)
        span.end(ended_us * 1000)

    def stop(self) -> None:
        # The SDK waits for half a minute and longer for a collector that is away.
        patience = threading.Timer(STOP_TIMEOUT_S, self._give_up)
        patience.start()
        self._provider.shutdown()
        patience.cancel()


class _Span:
    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def end(self, *, error: str = "", **attributes: Value) -> None:
        self._span.set_attributes(attributes)
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def _context(traceparent: str | None) -> Context:
    if traceparent is None:
        return Context()
    _, trace_id, span_id, _ = traceparent.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(_SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), Context())
