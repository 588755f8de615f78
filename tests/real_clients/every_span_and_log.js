// Sends spans and log records with the OpenTelemetry SDK for JavaScript, which speaks OTLP in JSON, and prints what it
// sent as JSON.
//
// Usage: every_span_and_log.js MODULES SERVICE ENDPOINT none|gzip

const [modules, service, endpoint, compression] = process.argv.slice(2);
const load = (name) => require(`${modules}/node_modules/@opentelemetry/${name}`);

const { trace, context, SpanKind, SpanStatusCode } = load("api");
const { SeverityNumber } = load("api-logs");
const { resourceFromAttributes } = load("resources");
const { BasicTracerProvider, SimpleSpanProcessor } = load("sdk-trace-base");
const { LoggerProvider, SimpleLogRecordProcessor } = load("sdk-logs");
const { OTLPTraceExporter } = load("exporter-trace-otlp-http");
const { OTLPLogExporter } = load("exporter-logs-otlp-http");

const nanos = ([seconds, rest]) => (BigInt(seconds) * 1000000000n + BigInt(rest)).toString();

// Remembers the results of an exporter, so that a failed export fails the script.
function judged(exporter, results) {
  const inner = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    inner(items, (result) => {
      results.push(result);
      done(result);
    });
  return exporter;
}

async function main() {
  const results = [];
  const resource = resourceFromAttributes({ "service.name": service, "host.name": "here" });
  const spans = judged(new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, compression }), results);
  const tracing = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(spans)] });
  const tracer = tracing.getTracer("shop.lib", "1.2");
  const root = tracer.startSpan("GET /é", {
    kind: SpanKind.SERVER,
    attributes: { "http.status_code": 500, ratio: 0.5, "is.cached": false, tags: ["a", "b"] },
  });
  root.addEvent("cache miss", { key: "k1", tries: 2 });
  const child = tracer.startSpan("query", { kind: SpanKind.CLIENT }, trace.setSpan(context.active(), root));
  child.end();
  root.setStatus({ code: SpanStatusCode.ERROR, message: "it broke" });
  root.end();

  const logExporter = judged(new OTLPLogExporter({ url: `${endpoint}/v1/logs`, compression }), results);
  const logs = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: logExporter })] });
  const logger = logs.getLogger("shop");
  const timestamp = Date.now();
  logger.emit({
    timestamp,
    observedTimestamp: timestamp,
    severityNumber: SeverityNumber.ERROR,
    severityText: "Error",
    body: "it broke: é",
    attributes: { "user.id": 7, map: { deep: { er: true } } },
    context: trace.setSpan(context.active(), root),
  });
  await tracing.forceFlush();
  await logs.forceFlush();
  await Promise.all([tracing.shutdown(), logs.shutdown()]);
  if (results.length !== 3 || results.some((result) => result.code !== 0)) {
    throw new Error(JSON.stringify(results.map((result) => [result.code, String(result.error)])));
  }
  console.log(
    JSON.stringify({
      trace_id: root.spanContext().traceId,
      root_id: root.spanContext().spanId,
      child_id: child.spanContext().spanId,
      root: [nanos(root.startTime), nanos(root.endTime)],
      child: [nanos(child.startTime), nanos(child.endTime)],
      event: nanos(root.events[0].time),
      log_time: `${timestamp}000000`,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
