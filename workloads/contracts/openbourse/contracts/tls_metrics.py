"""What Prometheus reads of a process's TLS material, asked for at each reading."""

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.contracts.tls_material import Material


class TlsMetrics(Collector):
    def __init__(self, material: Material) -> None:
        self._material = material

    def collect(self) -> Iterable[Metric]:
        material = self._material
        yield GaugeMetricFamily(
            "openbourse_tls_expiry_seconds",
            "Until the certificate that is in use ends; negative: since then.",
            value=material.in_use.not_after_s - time.time(),
        )
        for name, what, count in (
            ("renewals", "That the material in use was replaced by what the folder has.", material.renewals),
            ("failures", "That the folder changed to what is no good, and was not taken.", material.failures),
        ):
            yield CounterMetricFamily(f"openbourse_tls_{name}", what, value=count)
