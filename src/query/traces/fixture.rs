//! Small traces for tests.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::trace::Trace;
use crate::model::TraceId;
use crate::storage::traces::{Origin, StoredSpan};

pub const ID: TraceId = TraceId([1; 16]);

/// A span of service `svc` with these ids and times; parent 0 is none.
pub fn span(id: u64, parent: u64, start: u64, end: u64) -> StoredSpan {
    let parent_span_id = if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() };
    let span = Span {
        trace_id: ID.0.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id,
        name: format!("span-{id}"),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    };
    StoredSpan { origin: origin(&[("service.name", AnyValue::StringValue("svc".to_owned()))]), span }
}

pub fn origin(resource: &[(&str, AnyValue)]) -> Arc<Origin> {
    let resource = Resource { attributes: attributes(resource), ..Resource::default() };
    Arc::new(Origin { resource, ..Origin::default() })
}

pub fn attributes(pairs: &[(&str, AnyValue)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, AnyValue)| KeyValue {
        key: (*key).to_owned(),
        value: Some(Any { value: Some(value.clone()) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

pub fn trace(spans: Vec<StoredSpan>) -> Trace {
    Trace::new(ID, spans).unwrap()
}
