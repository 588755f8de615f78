//! Segments of spans.

use std::sync::Arc;

use icecore::model::{Lookout, StopSign, TimeRange, TraceId};
use icecore::storage::fs::Mapped;
use icecore::storage::segment::Segment;
use icecore::storage::traces::{SpanHead, SpanRows, SpansWriter, TracesSegment, write_generation};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use prost::Message;

use super::store::NOW;
use super::{check_text, fixture, is_update};

/// Spans that need every part and every type of attribute of version 1.
fn spans() -> Vec<Span> {
    let attribute = |key: &str, value| {
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: key.to_owned(), value, key_strindex: 0 }
    };
    let span = |i: u64| Span {
        trace_id: vec![(i / 4 + 1) as u8; 16],
        span_id: vec![(i + 1) as u8; 8],
        parent_span_id: if i.is_multiple_of(4) { Vec::new() } else { vec![i as u8; 8] },
        name: if i.is_multiple_of(2) { "GET /cart".to_owned() } else { format!("select {}", i * 37) },
        kind: (i % 3 + 1) as i32,
        start_time_unix_nano: (NOW as u64 + i) * 1_000_000 + i,
        end_time_unix_nano: (NOW as u64 + 5 * i) * 1_000_000 + 7 * i,
        attributes: vec![
            attribute("http.method", AttributeValue::StringValue("GET".to_owned())),
            attribute("http.status_code", AttributeValue::IntValue(200 + i as i64 / 10)),
            attribute("ratio", AttributeValue::DoubleValue(i as f64 / 8.0)),
            attribute("cached", AttributeValue::BoolValue(i.is_multiple_of(3))),
        ],
        ..Span::default()
    };
    let mut spans: Vec<Span> = (0..12).map(span).collect();
    let odd = &mut spans[5];
    odd.parent_span_id = vec![0xee; 8];
    odd.trace_state = "ot=th:8".to_owned();
    odd.flags = 0x101;
    odd.dropped_links_count = 3;
    odd.status = Some(Status { code: 2, message: "no such cart".to_owned() });
    odd.attributes.push(attribute("", AttributeValue::BytesValue(vec![1, 2])));
    odd.attributes.push(attribute("http.method", AttributeValue::StringValue("POST".to_owned())));
    odd.events.push(Event { time_unix_nano: 7, name: "exception".to_owned(), ..Event::default() });
    odd.links.push(Link { trace_id: vec![9; 16], span_id: vec![8; 8], ..Link::default() });
    spans[6].attributes.clear();
    spans
}

fn write_spans() -> Vec<u8> {
    let name = Some(AnyValue { value: Some(AttributeValue::StringValue("cart".to_owned())) });
    let service = KeyValue { key: "service.name".to_owned(), value: name, key_strindex: 0 };
    let resource = Resource { attributes: vec![service], ..Resource::default() };
    let origin = ResourceSpans { resource: Some(resource), ..ResourceSpans::default() };
    let mut rows = SpanRows::default();
    rows.origins.push(origin.encode_to_vec());
    for span in spans() {
        let id = TraceId::from_bytes(&span.trace_id).unwrap();
        let (start, end) = (span.start_time_unix_nano as i64, span.end_time_unix_nano as i64);
        rows.push(id, 0, start, end, &span.encode_to_vec());
    }
    let head = Arc::new(SpanHead::new());
    SpansWriter::new(head.clone()).append(rows, &mut Vec::new());
    write_generation(&[head], TimeRange::ALL, (5, 17), Vec::new()).unwrap().unwrap().0
}

#[test]
fn a_traces_segment_of_version_1_holds_what_it_held() {
    let path = fixture("v1_traces.seg");
    if is_update() {
        std::fs::write(&path, write_spans()).unwrap();
    }
    check_text("v1_traces.seg", "v1_traces.txt");

    for file in [std::fs::read(&path).unwrap(), write_spans()] {
        let segment = TracesSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), &path).unwrap());
        segment.verify().unwrap();
        let mut found = Vec::new();
        for trace in 1..=3 {
            segment.trace(TraceId([trace; 16]), &Lookout::new(&StopSign::never()), &mut found).unwrap();
        }
        assert!(found.iter().all(|span| span.origin.service_name() == Some("cart")));
        assert_eq!(found.into_iter().map(|found| found.span).collect::<Vec<_>>(), spans());
    }
}
