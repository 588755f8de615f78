"""Sends every instrument of the OpenTelemetry SDK three times, and prints when (one Unix time in ns a line).

Usage: every_instrument.py SERVICE grpc|http ENDPOINT none|gzip cumulative|delta
"""

import sys
import time

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

service, protocol, endpoint, compression, temporality = sys.argv[1:]

if protocol == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    options = {"insecure": True}
    compressions = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    options = {}
    compressions = {"none": Compression.NoCompression, "gzip": Compression.Gzip}

kinds = (Counter, Histogram, ObservableCounter) if temporality == "delta" else ()


class Exporter(OTLPMetricExporter):
    def export(self, metrics_data, *args, **kwargs):
        points = [
            point
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]
        result = super().export(metrics_data, *args, **kwargs)
        times = {point.time_unix_nano for point in points}
        print(result.name, len(points), *sorted(times))
        return result


reader = PeriodicExportingMetricReader(
    Exporter(
        endpoint=endpoint,
        compression=compressions[compression],
        preferred_temporality={kind: AggregationTemporality.DELTA for kind in kinds},
        **options,
    ),
    export_interval_millis=float("inf"),
)
provider = MeterProvider(
    metric_readers=[reader],
    resource=Resource({"service.name": service, "service.instance.id": "one", "host.name": "here"}),
    views=[
        View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation(max_scale=0)),
        View(instrument_name="wait", aggregation=ExplicitBucketHistogramAggregation([1, 10])),
    ],
    shutdown_on_exit=False,
)
meter = provider.get_meter("tests")

turn = 0
counter = meter.create_counter("orders", description="Orders taken.")
up_down = meter.create_up_down_counter("in.flight", unit="{request}")
wait = meter.create_histogram("wait", unit="s")
size = meter.create_histogram("size", unit="By")
gauge = meter.create_gauge("temperature", unit="Cel")
meter.create_observable_counter("cpu.time", [lambda _: [Observation(1.5 * turn)]], unit="s")
meter.create_observable_up_down_counter("queue", [lambda _: [Observation(10 - turn)]])
meter.create_observable_gauge("load", [lambda _: [Observation(turn / 4)]], unit="1")

for turn in (1, 2, 3):
    counter.add(turn, {"kind": "a.b", "größe": "é"})
    counter.add(0.25, {"kind": "other"})
    up_down.add(-turn)
    for seconds in (0.5, 5 * turn, 50):
        wait.record(seconds, {"path": "/"})
    for byte_count in (1.5, 3, 3, 24):
        size.record(byte_count)
    gauge.set(-273.15 + turn)
    if not provider.force_flush():
        sys.exit("the export failed")
    time.sleep(0.01)
