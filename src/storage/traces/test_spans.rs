//! Random spans for the tests of this room: few ids and texts, so that traces meet, and every oddity OTLP allows.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::span::nanos;
use super::{Candidate, Candidates, SpanRows};
use crate::model::TraceId;

/// Nanoseconds at the start of the tests' day.
pub const START: u64 = 1_700_006_400_000_000_000;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["GET /api", "db.select", "", "ünï", "cache.get"]).prop_map(str::to_owned),
        2 => (0..50u32).prop_map(|n| format!("/api/v1/cart/{n}")),
        1 => "\\PC{0,12}",
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    let usual = vec!["http.method", "http.status_code", "user.id", "", "net.peer.ip"];
    prop::sample::select(usual).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    let simple = || {
        prop_oneof![
            any_text().prop_map(Value::StringValue),
            prop_oneof![Just(200i64), any::<i64>()].prop_map(Value::IntValue),
            prop_oneof![Just(-0.0), -10.0..10.0f64].prop_map(Value::DoubleValue),
            any::<bool>().prop_map(Value::BoolValue),
            vec(any::<u8>(), 0..4).prop_map(Value::BytesValue),
        ]
    };
    let pair = |(key, value)| KeyValue { key, value: Some(AnyValue { value: Some(value) }), key_strindex: 0 };
    prop_oneof![
        12 => simple().prop_map(Some),
        1 => Just(None),
        1 => vec(simple(), 0..3).prop_map(|values| {
            let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
            Some(Value::ArrayValue(ArrayValue { values }))
        }),
        1 => vec((any_key(), simple()).prop_map(pair), 0..3)
            .prop_map(|values| Some(Value::KvlistValue(KeyValueList { values }))),
    ]
}

pub fn any_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = prop_oneof![9 => any_value().prop_map(|value| Some(AnyValue { value })), 1 => Just(None)];
    let strindex = prop_oneof![9 => Just(0), 1 => Just(7)];
    vec(
        (any_key(), value, strindex).prop_map(|(key, value, key_strindex)| KeyValue {
            key,
            value,
            key_strindex,
        }),
        0..6,
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any_text(), any_attributes(), 0..3u32).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn any_link() -> impl Strategy<Value = Link> {
    (vec(any::<u8>(), 16), any_text(), any_attributes(), any::<u32>()).prop_map(
        |(trace_id, trace_state, attributes, flags)| Link {
            span_id: trace_id[..8].to_vec(),
            trace_id,
            trace_state,
            attributes,
            flags,
            dropped_attributes_count: 1,
        },
    )
}

/// A span of one of a few traces, within some hours from [`START`] on.
pub fn any_span() -> impl Strategy<Value = Span> {
    let ids = (1..8u8, 1..12u8, prop_oneof![2 => Just(0), 6 => 1..12u8, 1 => 200..255u8]);
    let times = (0..7_200u64, prop_oneof![0..5_000_000_000u64, Just(u64::MAX)]);
    let rare = |max| prop_oneof![9 => Just(0u32), 1 => 0..max];
    let odd =
        (rare(u32::MAX), rare(9), rare(9), rare(9), prop_oneof![4 => Just(String::new()), 1 => any_text()]);
    let status =
        prop::option::of((any_text(), -1..4i32).prop_map(|(message, code)| Status { message, code }));
    let lists = (any_attributes(), vec(any_event(), 0..2), vec(any_link(), 0..2));
    (ids, any_text(), -1..7i32, times, odd, status, lists).prop_map(
        |((trace, id, parent), name, kind, (second, duration), odd, status, (attributes, events, links))| {
            let start_time_unix_nano = START + second * 1_000_000_000;
            let (flags, dropped_attributes_count, dropped_events_count, dropped_links_count, trace_state) =
                odd;
            Span {
                trace_id: vec![trace; 16],
                span_id: vec![id; 8],
                parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
                trace_state,
                flags,
                name,
                kind,
                start_time_unix_nano,
                end_time_unix_nano: start_time_unix_nano.wrapping_add(duration),
                attributes,
                dropped_attributes_count,
                events,
                dropped_events_count,
                links,
                dropped_links_count,
                status,
            }
        },
    )
}

/// The origin of a service's spans, encoded.
pub fn origin_bytes(service: &str) -> Vec<u8> {
    let text = |value: &str| Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    let pair = |key: &str, value: &str| KeyValue { key: key.to_owned(), value: text(value), key_strindex: 0 };
    let attributes = vec![pair("service.name", service), pair("host.name", "node-1")];
    let scope = InstrumentationScope {
        name: "tests".to_owned(),
        attributes: vec![pair("build", "7")],
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: Vec::new(), schema_url: "scope".to_owned() };
    let encoded = ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![scope_spans],
        schema_url: "resource".to_owned(),
    };
    encoded.encode_to_vec()
}

/// Everything that a search is offered.
pub fn all(mut candidates: Candidates<'_>) -> Vec<Candidate> {
    std::iter::from_fn(|| candidates.next(|| Ok::<_, ()>(())).unwrap()).collect()
}

/// Rows as a receiver makes them, all of one service.
pub fn rows(service: &str, spans: &[Span]) -> SpanRows {
    let mut rows = SpanRows::default();
    rows.origins.push(origin_bytes(service));
    for span in spans {
        let id = TraceId::from_bytes(&span.trace_id).expect("a test's trace has an id");
        let (start, end) = (nanos(span.start_time_unix_nano), nanos(span.end_time_unix_nano));
        rows.push(id, 0, start, end, &span.encode_to_vec());
    }
    rows
}
