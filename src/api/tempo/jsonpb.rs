//! Traces in the JSON that Tempo writes: that of its protobuf library, in which ids are base64 and enums are names.
//!
//! OTLP's own JSON has hexadecimal ids and numbers instead. Who reads this API reads Tempo's, so that is what it
//! gets; members at their default are left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::api::error::ApiError;
use crate::api::json::{JsonWriter, push_string};
use crate::query::traceql::Value;

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Writes the members of one object, each behind a comma but the first.
struct Members<'j> {
    text: &'j mut String,
    is_first: bool,
}

impl<'j> Members<'j> {
    fn begin(text: &'j mut String) -> Members<'j> {
        text.push('{');
        Members { text, is_first: true }
    }

    fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::replace(&mut self.is_first, false) {
            self.text.push(',');
        }
        self.text.push_str(&format!("\"{name}\":"));
        self.text
    }

    fn string(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            push_string(self.name(name), value);
        }
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            let encoded = STANDARD.encode(value);
            push_string(self.name(name), &encoded);
        }
    }

    /// Of 64 bits, which JSON's readers would round.
    fn long(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.name(name).push_str(&format!("\"{value}\""));
        }
    }

    fn number(&mut self, name: &str, value: u32) {
        if value != 0 {
            self.name(name).push_str(&value.to_string());
        }
    }

    /// By name where OTLP has one for it.
    fn code(&mut self, name: &str, value: i32, names: &[&str]) {
        match usize::try_from(value).ok().and_then(|code| names.get(code)) {
            _ if value == 0 => {}
            Some(word) => push_string(self.name(name), word),
            None => self.name(name).push_str(&value.to_string()),
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], push: impl Fn(&mut String, &T)) {
        if !items.is_empty() {
            push_list(self.name(name), items, push);
        }
    }

    fn end(self) {
        self.text.push('}');
    }
}

fn push_list<T>(text: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    text.push('[');
    for (i, item) in items.iter().enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        push(text, item);
    }
    text.push(']');
}

/// A list of `ResourceSpans`.
pub fn push_resource_spans(json: &mut JsonWriter, traces: &[ResourceSpans]) -> Result<(), ApiError> {
    json.list(traces, |json, group| {
        json.raw("{");
        if let Some(resource) = &group.resource {
            json.raw(r#""resource":"#);
            push_resource(json.text(), resource);
            json.raw(",");
        }
        json.raw(r#""scopeSpans":"#);
        json.list(&group.scope_spans, push_scope_spans)?;
        push_schema_url(json, &group.schema_url);
        json.raw("}");
        Ok(())
    })
}

fn push_scope_spans(json: &mut JsonWriter, group: &ScopeSpans) -> Result<(), ApiError> {
    json.raw("{");
    if let Some(scope) = &group.scope {
        json.raw(r#""scope":"#);
        push_scope(json.text(), scope);
        json.raw(",");
    }
    json.raw(r#""spans":"#);
    json.list(&group.spans, |json, span| {
        push_span(json.text(), span);
        Ok(())
    })?;
    push_schema_url(json, &group.schema_url);
    json.raw("}");
    Ok(())
}

fn push_schema_url(json: &mut JsonWriter, url: &str) {
    if !url.is_empty() {
        json.raw(r#","schemaUrl":"#);
        push_string(json.text(), url);
    }
}

fn push_resource(text: &mut String, resource: &Resource) {
    let mut members = Members::begin(text);
    members.list("attributes", &resource.attributes, push_attribute);
    members.number("droppedAttributesCount", resource.dropped_attributes_count);
    members.end();
}

fn push_scope(text: &mut String, scope: &InstrumentationScope) {
    let mut members = Members::begin(text);
    members.string("name", &scope.name);
    members.string("version", &scope.version);
    members.list("attributes", &scope.attributes, push_attribute);
    members.number("droppedAttributesCount", scope.dropped_attributes_count);
    members.end();
}

fn push_span(text: &mut String, span: &Span) {
    let mut members = Members::begin(text);
    members.bytes("traceId", &span.trace_id);
    members.bytes("spanId", &span.span_id);
    members.string("traceState", &span.trace_state);
    members.bytes("parentSpanId", &span.parent_span_id);
    members.number("flags", span.flags);
    members.string("name", &span.name);
    members.code("kind", span.kind, &KINDS);
    members.long("startTimeUnixNano", span.start_time_unix_nano);
    members.long("endTimeUnixNano", span.end_time_unix_nano);
    members.list("attributes", &span.attributes, push_attribute);
    members.number("droppedAttributesCount", span.dropped_attributes_count);
    members.list("events", &span.events, push_event);
    members.number("droppedEventsCount", span.dropped_events_count);
    members.list("links", &span.links, push_link);
    members.number("droppedLinksCount", span.dropped_links_count);
    if let Some(status) = &span.status {
        push_status(members.name("status"), status);
    }
    members.end();
}

fn push_status(text: &mut String, status: &Status) {
    let mut members = Members::begin(text);
    members.string("message", &status.message);
    members.code("code", status.code, &STATUS_CODES);
    members.end();
}

fn push_event(text: &mut String, event: &Event) {
    let mut members = Members::begin(text);
    members.long("timeUnixNano", event.time_unix_nano);
    members.string("name", &event.name);
    members.list("attributes", &event.attributes, push_attribute);
    members.number("droppedAttributesCount", event.dropped_attributes_count);
    members.end();
}

fn push_link(text: &mut String, link: &Link) {
    let mut members = Members::begin(text);
    members.bytes("traceId", &link.trace_id);
    members.bytes("spanId", &link.span_id);
    members.string("traceState", &link.trace_state);
    members.list("attributes", &link.attributes, push_attribute);
    members.number("droppedAttributesCount", link.dropped_attributes_count);
    members.number("flags", link.flags);
    members.end();
}

fn push_attribute(text: &mut String, attribute: &KeyValue) {
    let mut members = Members::begin(text);
    members.string("key", &attribute.key);
    if let Some(value) = &attribute.value {
        push_any(members.name("value"), value);
    }
    members.end();
}

/// Nested as deep as receivers let in, which is less than a stack holds.
pub fn push_any(text: &mut String, value: &Any) {
    let mut members = Members::begin(text);
    match &value.value {
        None => {}
        Some(AnyValue::StringValue(value)) => push_string(members.name("stringValue"), value),
        Some(AnyValue::BoolValue(value)) => members.name("boolValue").push_str(&value.to_string()),
        Some(AnyValue::IntValue(value)) => members.name("intValue").push_str(&format!("\"{value}\"")),
        Some(AnyValue::DoubleValue(value)) => push_double(members.name("doubleValue"), *value),
        Some(AnyValue::BytesValue(value)) => push_string(members.name("bytesValue"), &STANDARD.encode(value)),
        Some(AnyValue::ArrayValue(array)) => {
            let mut inner = Members::begin(members.name("arrayValue"));
            inner.list("values", &array.values, push_any);
            inner.end();
        }
        Some(AnyValue::KvlistValue(list)) => {
            let mut inner = Members::begin(members.name("kvlistValue"));
            inner.list("values", &list.values, push_attribute);
            inner.end();
        }
        // Means something in profiles only.
        Some(AnyValue::StringValueStrindex(_)) => {}
    }
    members.end();
}

/// What JSON has no number for is a word.
fn push_double(text: &mut String, value: f64) {
    match value {
        _ if value.is_nan() => text.push_str("\"NaN\""),
        _ if value.is_infinite() => text.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        _ => text.push_str(&value.to_string()),
    }
}

/// A value of the query language, as an `AnyValue`; durations and keywords as texts.
pub fn push_value(text: &mut String, value: &Value) {
    if let Value::Each(values) = value
        && let [only] = &values[..]
    {
        return push_value(text, only);
    }
    let mut members = Members::begin(text);
    match value {
        Value::Bool(value) => members.name("boolValue").push_str(&value.to_string()),
        Value::Int(value) => members.name("intValue").push_str(&format!("\"{value}\"")),
        Value::Float(value) => push_double(members.name("doubleValue"), *value),
        Value::List(values) | Value::Each(values) => {
            let mut inner = Members::begin(members.name("arrayValue"));
            inner.list("values", values, push_value);
            inner.end();
        }
        other => push_string(members.name("stringValue"), &other.to_string()),
    }
    members.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_names_of_otlps_json() {
        for (value, json) in [
            (Value::Int(5), r#"{"intValue":"5"}"#),
            (Value::Float(1.5), r#"{"doubleValue":1.5}"#),
            (Value::Float(f64::NAN), r#"{"doubleValue":"NaN"}"#),
            (Value::Duration(1_500_000), r#"{"stringValue":"1.5ms"}"#),
            (Value::Each(vec![Value::Bool(true)]), r#"{"boolValue":true}"#),
            (
                Value::List(vec![Value::text("a\""), Value::Int(1)]),
                r#"{"arrayValue":{"values":[{"stringValue":"a\""},{"intValue":"1"}]}}"#,
            ),
        ] {
            let mut text = String::new();
            push_value(&mut text, &value);
            assert_eq!(text, json);
        }
    }
}
