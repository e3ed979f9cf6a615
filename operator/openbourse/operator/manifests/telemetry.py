"""How the processes of an exchange log and where they send traces, as variables of their containers."""

from openbourse.contracts import logs
from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import Exchange


def environment(exchange: Exchange) -> list[Object]:
    """Of a process that goes on; a Job never changes, and has none."""
    wanted = exchange.spec.telemetry
    variables: dict[str, str] = {logs.VARIABLE: wanted.logs}
    if wanted.traces is not None:
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": wanted.traces.endpoint,
            "OTEL_TRACES_SAMPLER_ARG": f"{wanted.traces.per_thousand / 1000:g}",
        }
    return [{"name": name, "value": value} for name, value in variables.items()]
