//! The two traces that questions about traces are asked of.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message;

use crate::common::{Answer, Server, now_ms, request};

pub const CHECKOUT: u8 = 0x0a;
pub const CART: u8 = 0x0b;

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn attributes(pairs: Vec<(&str, Value)>) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, Value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    };
    pairs.into_iter().map(pair).collect()
}

/// A span that starts `at_ms` after the trace's base and takes `ms`.
fn span(trace: u8, id: u8, parent: u8, name: &str, base_ms: i64, at_ms: i64, ms: i64) -> Span {
    let start = (base_ms + at_ms) as u64 * 1_000_000;
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms as u64 * 1_000_000,
        ..Default::default()
    }
}

fn resource_spans(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: attributes(vec![("service.name", text(service)), ("host.name", text("h1"))]),
            ..Default::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "otel".to_owned(),
                version: "1".to_owned(),
                ..Default::default()
            }),
            spans,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Two traces: `checkout` (shop calls db, which fails) and, a second later, `cart` (shop alone).
pub fn server_with_traces() -> (Server, i64, TracesData) {
    let server = Server::start(&[]);
    let base = now_ms() / 1_000 * 1_000 - 60_000;
    let mut root = span(CHECKOUT, 1, 0, "POST /checkout", base, 0, 200);
    root.attributes = attributes(vec![
        ("http.status_code", Value::IntValue(500)),
        ("ratio", Value::DoubleValue(0.5)),
        ("retried", Value::BoolValue(true)),
        ("tags", Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(text("a")) }] })),
    ]);
    let mut query = span(CHECKOUT, 2, 1, "select", base, 50, 100);
    query.kind = 3;
    query.status = Some(Status { code: 2, message: "dead<lock>".to_owned() });
    query.events = vec![Event {
        time_unix_nano: query.start_time_unix_nano + 1_000_000,
        name: "exception".to_owned(),
        attributes: attributes(vec![("exception.type", text("Deadlock"))]),
        ..Default::default()
    }];
    query.links = vec![Link { trace_id: vec![CART; 16], span_id: vec![7; 8], ..Default::default() }];
    let cart = span(CART, 7, 0, "GET /cart", base, 1_000, 20);
    let sent = TracesData {
        resource_spans: vec![
            resource_spans("shop", vec![root]),
            resource_spans("db", vec![query]),
            resource_spans("shop", vec![cart]),
        ],
    };
    let headers = [("content-type", "application/x-protobuf")];
    let answer = server.post("/v1/traces", &headers, sent.encode_to_vec());
    assert_eq!(answer.status, 200, "{}", answer.body);
    (server, base, sent)
}

pub fn get_as(server: &Server, path: &str, accept: &str) -> Answer {
    request("GET", &format!("{}{path}", server.url), &[("accept", accept)], Vec::new())
}

/// The id of a trace or span whose bytes are all the same.
pub fn hex(byte: u8, bytes: usize) -> String {
    format!("{byte:02x}").repeat(bytes)
}

/// The spans of one trace, as they were sent.
pub fn sent_of(sent: &TracesData, trace: u8) -> TracesData {
    let groups = sent.resource_spans.iter().cloned();
    let of_trace = |group: &ResourceSpans| group.scope_spans[0].spans[0].trace_id == [trace; 16];
    TracesData { resource_spans: groups.filter(of_trace).collect() }
}
