//! A trace in Jaeger's JSON: OTLP's fields where Jaeger has a place for them, tags for what it has none for.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use crate::api::error::ApiError;
use crate::api::json::{JsonWriter, push_string};
use crate::api::tempo::push_any;
use crate::model::{SpanId, TraceId};
use crate::query::traceql::{Kind, Status};
use crate::query::traces::{Trace, is_root, status};
use crate::storage::traces::{Origin, StoredSpan};

/// `warnings`: why the trace may not be whole.
pub fn push_trace(json: &mut JsonWriter, trace: &Trace, warnings: &[String]) -> Result<(), ApiError> {
    let processes = Processes::of(trace);
    json.raw(&format!(r#"{{"traceID":"{}","spans":"#, trace.id));
    json.list(&trace.spans, |json, span| {
        push_span(json.text(), trace.id, span, processes.number(span));
        Ok(())
    })?;
    json.raw(r#","processes":{"#);
    for (i, origin) in processes.origins.iter().enumerate() {
        json.raw(if i > 0 { "," } else { "" });
        json.raw(&format!(r#""p{}":{{"serviceName":"#, i + 1));
        push_string(json.text(), origin.service_name().unwrap_or(""));
        let tags = origin.resource.attributes.iter().filter(|attribute| attribute.key != "service.name");
        push_tags(json.text(), "tags", tags.map(Tag::Attribute));
        json.raw("}");
        json.checkpoint()?;
    }
    json.raw(r#"},"warnings":"#);
    match warnings.is_empty() {
        true => _ = json.raw("null"),
        false => json.strings(warnings)?,
    }
    json.raw("}");
    Ok(())
}

/// Origins of a trace, numbered; those that differ in their scope alone are one process each, which does no harm.
struct Processes<'t> {
    origins: Vec<&'t Arc<Origin>>,
    numbers: HashMap<*const Origin, usize>,
}

impl<'t> Processes<'t> {
    fn of(trace: &'t Trace) -> Processes<'t> {
        let mut processes = Processes { origins: Vec::new(), numbers: HashMap::new() };
        for span in &trace.spans {
            let next = processes.origins.len() + 1;
            let number = *processes.numbers.entry(Arc::as_ptr(&span.origin)).or_insert(next);
            if number == next {
                processes.origins.push(&span.origin);
            }
        }
        processes
    }

    fn number(&self, span: &StoredSpan) -> usize {
        self.numbers[&Arc::as_ptr(&span.origin)]
    }
}

enum Tag<'t> {
    Attribute(&'t KeyValue),
    Text(&'static str, &'t str),
    Bool(&'static str, bool),
}

fn push_span(text: &mut String, trace: TraceId, stored: &StoredSpan, process: usize) {
    let span = &stored.span;
    text.push_str(&format!(
        r#"{{"traceID":"{trace}","spanID":"{}","flags":{},"operationName":"#,
        hex(&span.span_id),
        span.flags
    ));
    push_string(text, &span.name);
    text.push_str(r#","references":["#);
    let mut references = Vec::new();
    if !is_root(span) {
        references.push(("CHILD_OF", trace.to_string(), hex(&span.parent_span_id)));
    }
    for link in &span.links {
        let id = TraceId::from_bytes(&link.trace_id).map_or_else(String::new, |id| id.to_string());
        references.push(("FOLLOWS_FROM", id, hex(&link.span_id)));
    }
    for (i, (kind, trace, span)) in references.iter().enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        text.push_str(&format!(r#"{{"refType":"{kind}","traceID":"{trace}","spanID":"{span}"}}"#));
    }
    let (start, duration) = (stored.start() / 1_000, stored.duration_ns() / 1_000);
    text.push_str(&format!(r#"],"startTime":{start},"duration":{duration}"#));
    let own = span.attributes.iter().map(Tag::Attribute);
    push_tags(text, "tags", own.chain(derived_tags(stored)));
    text.push_str(r#","logs":["#);
    for (i, event) in span.events.iter().enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        push_log(text, event);
    }
    text.push_str(&format!(r#"],"processID":"p{process}","warnings":null}}"#));
}

/// What OTLP has fields for and Jaeger tags.
fn derived_tags(stored: &StoredSpan) -> impl Iterator<Item = Tag<'_>> {
    let (span, scope) = (&stored.span, &stored.origin.scope);
    let kind = Some(Kind::from_code(span.kind)).filter(|kind| *kind != Kind::Unspecified);
    let code = status(span);
    let status_text = match code {
        Status::Unset => None,
        Status::Ok => Some("OK"),
        Status::Error => Some("ERROR"),
    };
    let message = span.status.as_ref().map_or("", |status| status.message.as_str());
    let texts = [
        ("otel.scope.name", scope.name.as_str()),
        ("otel.scope.version", scope.version.as_str()),
        ("span.kind", kind.map_or("", Kind::name)),
        ("otel.status_code", status_text.unwrap_or("")),
        ("otel.status_description", message),
        ("w3c.tracestate", span.trace_state.as_str()),
    ];
    let texts = texts.into_iter().filter(|(_, value)| !value.is_empty());
    let error = (code == Status::Error).then_some(Tag::Bool("error", true));
    texts.map(|(key, value)| Tag::Text(key, value)).chain(error)
}

fn push_tags<'t>(text: &mut String, name: &str, tags: impl Iterator<Item = Tag<'t>>) {
    text.push_str(&format!(r#","{name}":["#));
    for (i, tag) in tags.enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        push_tag(text, &tag);
    }
    text.push(']');
}

fn push_tag(text: &mut String, tag: &Tag) {
    text.push_str(r#"{"key":"#);
    match tag {
        Tag::Attribute(attribute) => {
            push_string(text, &attribute.key);
            push_typed(text, attribute);
        }
        Tag::Text(key, value) => {
            push_string(text, key);
            text.push_str(r#","type":"string","value":"#);
            push_string(text, value);
        }
        Tag::Bool(key, value) => {
            push_string(text, key);
            text.push_str(&format!(r#","type":"bool","value":{value}"#));
        }
    }
    text.push('}');
}

/// Arrays and maps are texts of JSON, as are numbers that JSON has not.
fn push_typed(text: &mut String, attribute: &KeyValue) {
    let value = attribute.value.as_ref();
    match value.and_then(|value| value.value.as_ref()) {
        Some(AnyValue::BoolValue(value)) => text.push_str(&format!(r#","type":"bool","value":{value}"#)),
        Some(AnyValue::IntValue(value)) => text.push_str(&format!(r#","type":"int64","value":{value}"#)),
        Some(AnyValue::DoubleValue(value)) if value.is_finite() => {
            text.push_str(&format!(r#","type":"float64","value":{value}"#));
        }
        Some(AnyValue::BytesValue(value)) => {
            text.push_str(&format!(r#","type":"binary","value":"{}""#, STANDARD.encode(value)));
        }
        Some(AnyValue::StringValue(value)) => {
            text.push_str(r#","type":"string","value":"#);
            push_string(text, value);
        }
        Some(AnyValue::DoubleValue(value)) => {
            text.push_str(&format!(r#","type":"string","value":"{value}""#));
        }
        _ => {
            let mut inner = String::new();
            if let Some(value) = value {
                push_any(&mut inner, value);
            }
            text.push_str(r#","type":"string","value":"#);
            push_string(text, &inner);
        }
    }
}

fn push_log(text: &mut String, event: &Event) {
    text.push_str(&format!(r#"{{"timestamp":{}"#, event.time_unix_nano / 1_000));
    let name = Some(Tag::Text("event", &event.name)).filter(|_| !event.name.is_empty());
    push_tags(text, "fields", name.into_iter().chain(event.attributes.iter().map(Tag::Attribute)));
    text.push('}');
}

fn hex(id: &[u8]) -> String {
    SpanId::from_bytes(id).map_or_else(String::new, |id| id.to_string())
}
