"""Who is followed, and what a span says: with the SDK's own exporter in memory."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openbourse.contracts import tracing
from openbourse.contracts.exported_traces import ASKED_MOST_PER_S, ExportedTraces
from openbourse.contracts.tracing import NO_TRACING, BadSettings

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = f"00-{TRACE}-{PARENT}-01"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Followed:
    """Traces with this share, what of them was exported, and their clock."""

    def __init__(self, share: float) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.clock = Clock()
        self.traces = ExportedTraces(provider, share, self.clock, self._exporter.shutdown)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


def test_a_request_that_asks_for_a_trace_gets_a_span_under_its_own() -> None:
    followed = Followed(0.0)
    span = followed.traces.begin("POST /api/v3/order", ASKED, account=1001)
    assert span is not None
    version, trace, own, flags = span.traceparent.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert own != PARENT
    span.end(code=-2010)
    [made] = followed.spans
    assert made.parent is not None
    assert (made.name, f"{made.parent.span_id:016x}", made.status.is_ok) == ("POST /api/v3/order", PARENT, True)
    assert dict(made.attributes or {}) == {"account": 1001, "code": -2010}


def test_the_processes_behind_record_under_what_the_command_carries() -> None:
    followed = Followed(0.0)
    span = followed.traces.begin("POST /api/v3/order", ASKED)
    assert span is not None
    followed.traces.record("commit", span.traceparent, 1_000_000, 1_000_250, seq=7)
    [made] = followed.spans
    assert made.context is not None
    assert made.parent is not None
    assert f"{made.context.trace_id:032x}" == TRACE
    assert f"{made.parent.span_id:016x}" == span.traceparent.split("-")[2]
    assert (made.start_time, made.end_time) == (1_000_000_000, 1_000_250_000)


def test_who_goes_wrong_on_our_side_is_an_error() -> None:
    followed = Followed(1.0)
    span = followed.traces.begin("GET /api/v3/depth", None)
    assert span is not None
    span.end(error="answered 503 -1001")
    [made] = followed.spans
    assert (made.status.is_ok, made.status.description, made.parent) == (False, "answered 503 -1001", None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"00-{TRACE}-{PARENT}-00",
        f"00-{TRACE}-{PARENT}-02",
        f"01-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01 ",
        f"00-{TRACE}-{PARENT}-01-more",
        ASKED[:-1],
        "00-\N{DEVANAGARI DIGIT ONE}",
    ],
)
def test_who_does_not_ask_as_w3c_has_it_is_followed_by_chance_alone(text: str | None) -> None:
    assert Followed(0.0).traces.begin("GET /api/v3/time", text) is None
    assert Followed(1.0).traces.begin("GET /api/v3/time", text) is not None


def test_nothing_is_recorded_under_a_text_that_is_no_traceparent() -> None:
    followed = Followed(1.0)
    for text in ("", "x" * 55, ASKED.replace("-", "_")):
        followed.traces.record("commit", text, 1, 2)
    assert followed.spans == ()


def test_those_who_ask_get_so_many_traces_a_second() -> None:
    followed = Followed(0.0)
    spans = [followed.traces.begin("GET /api/v3/time", ASKED) for _ in range(ASKED_MOST_PER_S + 5)]
    assert [span is not None for span in spans] == [True] * ASKED_MOST_PER_S + [False] * 5
    followed.clock.now_s += 1.0
    assert followed.traces.begin("GET /api/v3/time", ASKED) is not None


@pytest.mark.parametrize(
    ("environment", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_there_are_traces_where_somebody_gets_them(environment: dict[str, str], is_on: bool) -> None:
    traces = tracing.start("gateway", environment)
    assert traces.is_on is is_on
    traces.stop()


@pytest.mark.parametrize("share", ["-0.1", "1.5", "half", "nan"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_SAMPLER_ARG": share}
    with pytest.raises(BadSettings, match=f"'{share}': the share that is traced is from 0 to 1"):
        tracing.start("gateway", environment)


def test_without_traces_nobody_is_followed() -> None:
    assert NO_TRACING.begin("GET /api/v3/time", ASKED) is None
