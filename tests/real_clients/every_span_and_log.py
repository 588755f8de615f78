"""Sends spans and log records with the OpenTelemetry SDK, and prints what it sent as JSON.

Usage: every_span_and_log.py SERVICE grpc|http|zipkin ENDPOINT none|gzip
"""

import json
import logging
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

service, protocol, endpoint, compression = sys.argv[1:]
resource = Resource({"service.name": service, "host.name": "here", "service.instance.id": "one"})
log_exporter = None

if protocol == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    compressed = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}[compression]
    options = {"endpoint": endpoint, "insecure": True, "compression": compressed}
    span_exporter, log_exporter = OTLPSpanExporter(**options), OTLPLogExporter(**options)
elif protocol == "http":
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    compressed = {"none": Compression.NoCompression, "gzip": Compression.Gzip}[compression]
    span_exporter = OTLPSpanExporter(endpoint=endpoint + "/v1/traces", compression=compressed)
    log_exporter = OTLPLogExporter(endpoint=endpoint + "/v1/logs", compression=compressed)
else:
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    span_exporter = ZipkinExporter(endpoint=endpoint + "/api/v2/spans")


results = []


def judged(exporter, seen=lambda batch: None):
    """Remembers the results of an exporter, so that a failed export fails the script."""
    export = exporter.export

    def export_and_remember(batch):
        seen(batch)
        results.append(export(batch))
        return results[-1]

    exporter.export = export_and_remember
    return exporter


tracing = TracerProvider(resource=resource)
tracing.add_span_processor(SimpleSpanProcessor(judged(span_exporter)))
tracer = tracing.get_tracer("shop.lib", "1.2")

linked = SpanContext(0x5B8AA5A2D2C872E8321CF37308D69DF2, 0x051581BF3CB55C13, True, TraceFlags(1))
with tracer.start_as_current_span("GET /é", kind=SpanKind.SERVER, links=[Link(linked, {"why": "retry"})]) as root:
    root.set_attributes({"http.status_code": 500, "ratio": 0.5, "is.cached": False, "tags": ["a", "b"]})
    root.add_event("cache miss", {"key": "k1", "tries": 2})
    with tracer.start_as_current_span("query", kind=SpanKind.CLIENT) as child:
        child.set_attribute("db.system", "sqlite")
    root.set_status(Status(StatusCode.ERROR, "it broke"))

sent = {
    "trace_id": f"{root.get_span_context().trace_id:032x}",
    "root_id": f"{root.get_span_context().span_id:016x}",
    "child_id": f"{child.get_span_context().span_id:016x}",
    "root": [root.start_time, root.end_time],
    "child": [child.start_time, child.end_time],
    "event": root.events[0].timestamp,
    "flags": str(int(root.get_span_context().trace_flags)),
}

if log_exporter is not None:
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

    records = []
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(SimpleLogRecordProcessor(judged(log_exporter, records.extend)))
    logger = logging.getLogger("shop")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(LoggingHandler(logger_provider=logs))
    with trace.use_span(root):
        logger.error("it broke: %s", "é", extra={"user.id": 7, "http.route": "/"})
    logger.info("all is well")
    sent["logs"] = [[each.log_record.timestamp, each.log_record.observed_timestamp] for each in records]

assert results and all(result.name == "SUCCESS" for result in results), results
print(json.dumps(sent))
