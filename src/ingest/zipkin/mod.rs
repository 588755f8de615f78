//! Zipkin's spans in JSON, version 2, as OTLP's.
//!
//! What the OpenTelemetry exporters write into tags comes back as what it was: scope, status, attributes of events.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::IngestError;
use super::admission::{Echo, Reason, Rejection};
use super::json::{Object, parse};
use super::refusals::Refusals;
use crate::model::{SpanId, TraceId};

const NANOS_IN_MICRO: u64 = 1_000;

/// Where a span comes from: its service's name, and its scope's name and version.
type Origin = (String, String, String);

/// Reads a list of spans; those that are none are refused one by one.
pub(super) fn decode(body: &[u8], refusals: &mut Refusals) -> Result<ExportTraceServiceRequest, IngestError> {
    let spans: Vec<Value> = parse(body)?;
    let mut by_origin: BTreeMap<Origin, Vec<Span>> = BTreeMap::new();
    for value in &spans {
        let Some(object) = value.as_object() else {
            refusals.refuse(Rejection::new(Reason::Malformed, "a span is not an object"), 1);
            continue;
        };
        match read_span(object) {
            Ok((origin, span)) => by_origin.entry(origin).or_default().push(span),
            Err(rejection) => refusals.refuse(rejection, 1),
        }
    }
    Ok(ExportTraceServiceRequest { resource_spans: by_origin.into_iter().map(resource_spans).collect() })
}

fn resource_spans(((service, name, version), spans): (Origin, Vec<Span>)) -> ResourceSpans {
    let service = (!service.is_empty()).then(|| attribute("service.name", &service));
    let scope = InstrumentationScope { name, version, ..Default::default() };
    let scope = Some(scope).filter(|scope| *scope != InstrumentationScope::default());
    ResourceSpans {
        resource: Some(Resource { attributes: service.into_iter().collect(), ..Default::default() }),
        scope_spans: vec![ScopeSpans { scope, spans, ..Default::default() }],
        ..Default::default()
    }
}

impl From<IngestError> for Rejection {
    /// Of a field of one span.
    fn from(error: IngestError) -> Rejection {
        Rejection::new(Reason::Malformed, error.to_string())
    }
}

fn read_span(object: &Map<String, Value>) -> Result<(Origin, Span), Rejection> {
    let object = Object(object);
    let mut span = Span {
        trace_id: id::<TraceId>(object, "traceId")?.0.to_vec(),
        span_id: id::<SpanId>(object, "id")?.0.to_vec(),
        name: object.text("name")?,
        kind: kind(&object.text("kind")?) as i32,
        ..Default::default()
    };
    if !object.text("parentId")?.is_empty() {
        span.parent_span_id = id::<SpanId>(object, "parentId")?.0.to_vec();
    }
    let local = Endpoint::read(object, "localEndpoint")?;
    let remote = Endpoint::read(object, "remoteEndpoint")?;
    if object.bool("shared")? {
        make_own(&mut span, &local.service);
    }
    let mut tags = tags(object)?;
    let mut take = |names: [&str; 2]| {
        let found = names.map(|name| tags.remove(name));
        found.into_iter().flatten().next().unwrap_or_default()
    };
    let scope_name = take(["otel.scope.name", "otel.library.name"]);
    let scope_version = take(["otel.scope.version", "otel.library.version"]);
    span.status = status(&mut tags);
    local.describe(["net.host.ip", "net.host.port"], &mut span.attributes);
    remote.describe(["net.peer.ip", "net.peer.port"], &mut span.attributes);
    if !remote.service.is_empty() && !tags.contains_key("peer.service") {
        span.attributes.push(attribute("peer.service", &remote.service));
    }
    span.attributes.extend(tags.iter().map(|(key, value)| attribute(key, value)));
    span.events = object.objects("annotations", event)?;
    span.start_time_unix_nano = start(object, &span)?;
    let duration = object.u64("duration")?.saturating_mul(NANOS_IN_MICRO);
    span.end_time_unix_nano = span.start_time_unix_nano.saturating_add(duration);
    Ok(((local.service, scope_name, scope_version), span))
}

/// Who shares another's span may leave the times to it; then its first annotation says when it was.
fn start(object: Object<'_>, span: &Span) -> Result<u64, Rejection> {
    let timestamp = object.u64("timestamp")?.saturating_mul(NANOS_IN_MICRO);
    let of_events = span.events.iter().map(|event| event.time_unix_nano).filter(|&time| time > 0);
    let start = Some(timestamp).filter(|&time| time > 0).or(of_events.min());
    start.ok_or_else(|| {
        let name = Echo(span.name.as_bytes());
        let message = format!("span \"{name}\" has no timestamp, nor an annotation with one");
        Rejection::new(Reason::SpanTimes, message)
    })
}

fn id<T: std::str::FromStr>(object: Object<'_>, key: &'static str) -> Result<T, Rejection>
where
    T::Err: std::fmt::Display,
{
    let text = object.text(key)?;
    text.parse().map_err(|e| {
        let message = format!("{key} \"{}\": {e}", Echo(text.as_bytes()));
        Rejection::new(Reason::SpanIds, message)
    })
}

/// What has no kind is inside its service.
fn kind(name: &str) -> span::SpanKind {
    match name {
        "CLIENT" => span::SpanKind::Client,
        "SERVER" => span::SpanKind::Server,
        "PRODUCER" => span::SpanKind::Producer,
        "CONSUMER" => span::SpanKind::Consumer,
        _ => span::SpanKind::Internal,
    }
}

/// A server that shares its client's span id gets a span of its own below it, the same whenever it is sent.
fn make_own(span: &mut Span, service: &str) {
    let client = std::mem::take(&mut span.span_id);
    let seed = [&span.trace_id, &client, service.as_bytes()].concat();
    span.span_id = xxh3_64(&seed).max(1).to_be_bytes().to_vec();
    span.parent_span_id = client;
}

#[derive(Default)]
struct Endpoint {
    service: String,
    ip: String,
    port: u32,
}

impl Endpoint {
    fn read(object: Object<'_>, key: &'static str) -> Result<Endpoint, Rejection> {
        let endpoint = object.object(key, |endpoint| {
            let (v4, v6) = (endpoint.text("ipv4")?, endpoint.text("ipv6")?);
            let ip = if v4.is_empty() { v6 } else { v4 };
            Ok(Endpoint { service: endpoint.text("serviceName")?, ip, port: endpoint.u32("port")? })
        })?;
        Ok(endpoint.unwrap_or_default())
    }

    fn describe(&self, [ip, port]: [&str; 2], to: &mut Vec<KeyValue>) {
        if !self.ip.is_empty() {
            to.push(attribute(ip, &self.ip));
        }
        if self.port > 0 {
            to.push(key_value(port, any_value::Value::IntValue(self.port.into())));
        }
    }
}

/// Values that are no texts, against the specification, are taken as they are written.
fn tags(object: Object<'_>) -> Result<BTreeMap<String, String>, IngestError> {
    let tags = object.object("tags", |tags| {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(tags.0.iter().map(|(key, value)| (key.clone(), text(value))).collect())
    })?;
    Ok(tags.unwrap_or_default())
}

/// By Zipkin's tag, whose value says what went wrong, and OpenTelemetry's, which says if something did.
fn status(tags: &mut BTreeMap<String, String>) -> Option<Status> {
    let code = tags.remove("otel.status_code");
    let described = tags.remove("otel.status_description");
    let error = tags.remove("error").filter(|error| error != "false");
    let code = match (code.as_deref(), &error) {
        (Some("OK"), _) => status::StatusCode::Ok,
        (Some("ERROR"), _) | (None, Some(_)) => status::StatusCode::Error,
        _ => return None,
    };
    let message = described.or(error.filter(|error| error != "true")).unwrap_or_default();
    Some(Status { code: code as i32, message })
}

/// An annotation; OpenTelemetry's exporter writes `{"name": {attributes}}` into its value.
fn event(object: Object<'_>) -> Result<span::Event, IngestError> {
    let time_unix_nano = object.u64("timestamp")?.saturating_mul(NANOS_IN_MICRO);
    let value = object.text("value")?;
    if let Ok(Value::Object(map)) = serde_json::from_str(&value)
        && map.len() == 1
        && let Some((name, Value::Object(attributes))) = map.iter().next()
    {
        let attributes = attributes.iter().map(|(key, value)| key_value(key, value_of(value))).collect();
        return Ok(span::Event { time_unix_nano, name: name.clone(), attributes, ..Default::default() });
    }
    Ok(span::Event { time_unix_nano, name: value, ..Default::default() })
}

/// Lists and maps stay JSON.
fn value_of(value: &Value) -> any_value::Value {
    match value {
        Value::String(text) => any_value::Value::StringValue(text.clone()),
        Value::Bool(yes) => any_value::Value::BoolValue(*yes),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => any_value::Value::IntValue(whole),
            (None, Some(float)) => any_value::Value::DoubleValue(float),
            (None, None) => any_value::Value::StringValue(number.to_string()),
        },
        _ => any_value::Value::StringValue(value.to_string()),
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    key_value(key, any_value::Value::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
