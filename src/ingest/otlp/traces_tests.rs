//! Spans, read into a batch, by OTLP and by Zipkin.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;

use super::*;
use crate::ingest::refusals::Refusals;
use crate::ingest::spans::SpanIntake;
use crate::ingest::tests::NOW;
use crate::ingest::{Options, Outcome};
use crate::storage::traces::SpanBatch;
use opentelemetry_proto::tonic::resource::v1::Resource;

const NOW_NANOS: u64 = NOW as u64 * 1_000_000;

/// As [`read_with`], of JSON.
fn read_json(body: &str) -> Result<(SpanBatch, Outcome), IngestError> {
    let options = Options::default();
    let mut intake = SpanIntake::new(&options, 2, NOW);
    let encoded = encoded_spans(body.as_bytes(), BodyFormat::Json, &mut intake.refusals)?;
    read_spans(&encoded, &mut intake)?;
    let (batch, mut outcome, refusals) = intake.finish();
    refusals.tell(&mut outcome);
    Ok((batch, outcome))
}

fn read_with(options: &Options, body: &[u8]) -> Result<(SpanBatch, Outcome), IngestError> {
    let mut intake = SpanIntake::new(options, 2, NOW);
    read_spans(body, &mut intake)?;
    let (batch, mut outcome, refusals) = intake.finish();
    refusals.tell(&mut outcome);
    Ok((batch, outcome))
}

/// All spans of a batch, each with where it comes from, as a request that holds it alone.
fn stored(batch: &SpanBatch) -> Vec<ResourceSpans> {
    let of_shard = |shard: &crate::storage::traces::SpanRows| {
        let whole = |row| {
            let row: &crate::storage::traces::SpanRow = row;
            let mut from = ResourceSpans::decode(&*shard.origins[row.origin as usize]).unwrap();
            assert!(from.scope_spans.len() == 1 && from.scope_spans[0].spans.is_empty());
            let span = Span::decode(shard.encoded(row)).unwrap();
            assert_eq!(span.trace_id, row.trace_id.0);
            assert_eq!(
                (span.start_time_unix_nano, span.end_time_unix_nano),
                (row.start as u64, row.end as u64)
            );
            from.scope_spans[0].spans.push(span);
            from
        };
        shard.spans.iter().map(whole).collect::<Vec<_>>()
    };
    batch.shards.iter().flat_map(of_shard).collect()
}

fn good(id: u8) -> Span {
    Span {
        trace_id: vec![id; 16],
        span_id: vec![id; 8],
        name: format!("s{id}"),
        start_time_unix_nano: NOW_NANOS - 10,
        end_time_unix_nano: NOW_NANOS,
        ..Default::default()
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn text_attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

/// As it is stored: with a name for its service, before all else, if it has none.
fn named(mut resource: Resource) -> Resource {
    let first = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    let value = first.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    if !matches!(value, Some(any_value::Value::StringValue(name)) if !name.is_empty()) {
        resource.attributes.insert(0, text_attribute("service.name", "unknown_service"));
    }
    resource
}

fn read(spans: Vec<Span>) -> (SpanBatch, Outcome) {
    read_with(&Options::default(), &request(spans).encode_to_vec()).unwrap()
}

#[test]
fn json_and_protobuf_say_the_same() {
    let body = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},
        "schemaUrl":"r","scopeSpans":[{"scope":{"name":"lib","version":"1","attributes":[{"key":"a","value":{"intValue":"1"}}]},
        "schemaUrl":"s","spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "parentSpanId":"eee19b7ec3c1b173","name":"GET /","kind":2,"startTimeUnixNano":"NOW","endTimeUnixNano":"NOW",
        "traceState":"ot=th:0","flags":257,"attributes":[{"key":"b","value":{"doubleValue":1.5}}],
        "droppedAttributesCount":1,"events":[{"timeUnixNano":"NOW","name":"e","attributes":[{"key":"c"}]}],
        "links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175","flags":1}],
        "status":{"code":2,"message":"no"}}]}]}]}"#
        .replace("NOW", &NOW_NANOS.to_string());
    let request: ExportTraceServiceRequest = serde_json::from_str(&body).unwrap();
    let (batch, outcome) = read_json(&body).unwrap();
    assert_eq!((outcome.spans, outcome.rejected), (1, 0));
    assert_eq!(stored(&batch), request.resource_spans);
}

#[test]
fn a_bad_span_is_refused_alone() {
    let bad = [
        Span { trace_id: vec![0; 16], ..good(1) },
        Span { trace_id: vec![1; 15], ..good(1) },
        Span { span_id: vec![0; 8], ..good(1) },
        Span { parent_span_id: vec![1; 7], ..good(1) },
        Span { start_time_unix_nano: NOW_NANOS + 1, ..good(1) },
        Span { end_time_unix_nano: u64::MAX, ..good(1) },
        Span { start_time_unix_nano: 0, ..good(1) },
    ];
    let count = bad.len() as u64;
    let words = [
        r#"trace id of span "s1" is only zeros, not 16 bytes"#,
        r#"trace id of span "s1" is 15 bytes, not 16 bytes"#,
        r#"span id of span "s1" is only zeros, not 8 bytes"#,
        r#"parent span id of span "s1" is 7 bytes, not 8 bytes"#,
        r#"span "s1" ends before it starts"#,
    ];
    let (batch, outcome) = read(bad.into_iter().chain([good(2)]).collect());
    assert_eq!((outcome.spans, outcome.rejected), (1, count));
    assert_eq!(outcome.reasons, words);
    assert_eq!(stored(&batch)[0].scope_spans[0].spans, [good(2)]);

    let old = good(3);
    let old = Span { start_time_unix_nano: NOW_NANOS - 8 * 86_400_000_000_000, ..old };
    let (_, outcome) = read(vec![old, Span { name: "x".repeat(1 << 20), ..good(4) }]);
    assert!(outcome.reasons[0].ends_with("is 8 days behind (limit 7d)"), "{outcome:?}");
    assert!(outcome.reasons[1].ends_with(" B > 1048576 (--limits.max-span-bytes)"), "{outcome:?}");
}

#[test]
fn a_span_whose_json_is_not_otlps_is_refused_alone() {
    let span = |id: u8, more: &str| {
        let (trace, span) = (format!("{id:02x}").repeat(16), format!("{id:02x}").repeat(8));
        format!(
            r#"{{"name":"s{id}","traceId":"{trace}","spanId":"{span}","startTimeUnixNano":"{NOW_NANOS}",
                "endTimeUnixNano":"{NOW_NANOS}"{more}}}"#
        )
    };
    let bad = [
        r#"{"name":"a\u0007","traceId":"0g"}"#.to_owned(),
        r#"{"name":"b","traceId":"abc"}"#.to_owned(),
        span(3, r#","parentSpanId":7"#),
        span(4, r#","links":[{"spanId":"xy"}]"#),
        "7".to_owned(),
    ];
    let spans = [&[span(1, "")], &bad[..], &[span(2, "")]].concat().join(",");
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let (_, outcome) = read_json(&body).unwrap();
    assert_eq!((outcome.spans, outcome.rejected), (2, 5));
    assert_eq!(
        outcome.reasons,
        [
            r#"span "a\u{7}": traceId is not a text of hexadecimal digits"#,
            r#"span "b": traceId is not a text of hexadecimal digits"#,
            r#"span "s3": parentSpanId is not a text of hexadecimal digits"#,
            r#"span "s4": spanId is not a text of hexadecimal digits"#,
            "spans has what is not an object",
        ]
    );
    assert!(read_json(&body.replace("\"scopeSpans\":[", "\"scopeSpans\":[7,")).is_err());
}

#[test]
fn a_span_that_is_no_protobuf_is_refused_alone_and_a_torn_request_as_a_whole() {
    let mut body = request(vec![Span { name: "@@".into(), ..good(1) }, good(2)]).encode_to_vec();
    let at = body.windows(2).position(|window| window == b"@@").unwrap();
    body[at] = 0xFF;
    let (batch, outcome) = read_with(&Options::default(), &body).unwrap();
    assert_eq!((outcome.spans, outcome.rejected), (1, 1));
    assert_eq!(outcome.reasons, [format!("invalid protobuf at byte {at}, in a span: a text is not UTF-8")]);
    assert_eq!(stored(&batch).len(), 1);
    for cut in 1..body.len() {
        assert!(read_with(&Options::default(), &body[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn where_spans_come_from_is_told_once_for_each_shard() {
    let mut request = request((1..=8).map(good).collect());
    request.resource_spans.push(request.resource_spans[0].clone());
    let (batch, _) = read_with(&Options::default(), &request.encode_to_vec()).unwrap();
    assert_eq!(batch.shards.iter().map(|shard| shard.spans.len()).sum::<usize>(), 16);
    assert!(batch.shards.iter().all(|shard| shard.origins.len() <= 1));
}

#[test]
fn a_sender_that_does_not_name_its_service_is_the_unknown_one() {
    let number = AnyValue { value: Some(any_value::Value::IntValue(7)) };
    let number = KeyValue { key: "service.name".into(), value: Some(number), ..Default::default() };
    let unknown = text_attribute("service.name", "unknown_service");
    let (shop, host) = (text_attribute("service.name", "shop"), text_attribute("host.name", "here"));
    let empty = text_attribute("service.name", "");
    for (sent, stored_as) in [
        (None, vec![unknown.clone()]),
        (Some(vec![host.clone()]), vec![unknown.clone(), host.clone()]),
        (Some(vec![empty.clone()]), vec![unknown.clone(), empty]),
        (Some(vec![number.clone()]), vec![unknown, number]),
        (Some(vec![host.clone(), shop.clone()]), vec![host, shop]),
    ] {
        let mut request = request(vec![good(1)]);
        request.resource_spans[0].resource =
            sent.map(|attributes| Resource { attributes, ..Default::default() });
        let (batch, _) = read_with(&Options::default(), &request.encode_to_vec()).unwrap();
        assert_eq!(stored(&batch)[0].resource.as_ref().unwrap().attributes, stored_as);
    }
}

proptest! {
    #[test]
    fn spans_come_out_as_they_went_in(
        spans in prop::collection::vec(generated::span(), 0..4),
        scope in generated::scope(),
        attributes in generated::attributes(),
    ) {
        // Times that are let in; whether ids are is left to chance.
        let spans: Vec<Span> = spans.into_iter().map(|span| Span {
            start_time_unix_nano: NOW_NANOS - span.start_time_unix_nano % 1_000_000,
            end_time_unix_nano: NOW_NANOS,
            ..span
        }).collect();
        let is_good = |span: &&Span| {
            let is_id = |id: &[u8], len| id.len() == len && id.iter().any(|&byte| byte != 0);
            is_id(&span.trace_id, 16) && is_id(&span.span_id, 8) && matches!(span.parent_span_id.len(), 0 | 8)
        };
        let mut expected: Vec<Span> = spans.iter().filter(is_good).cloned().collect();
        let mut request = request(spans);
        let from = &mut request.resource_spans[0];
        from.resource = Some(Resource { attributes, ..Default::default() });
        from.scope_spans[0].scope = Some(scope.clone());
        from.scope_spans[0].schema_url = "https://x".to_owned();
        let resource = from.resource.clone().map(named);
        let (batch, outcome) = read_with(&Options::default(), &request.encode_to_vec()).unwrap();
        prop_assert_eq!(outcome.spans as usize, expected.len());
        for found in stored(&batch) {
            prop_assert!(same(found.resource.as_ref().unwrap(), resource.as_ref().unwrap()));
            let of_scope = &found.scope_spans[0];
            prop_assert!(same(of_scope.scope.as_ref().unwrap(), &scope));
            prop_assert_eq!(of_scope.schema_url.as_str(), "https://x");
            let at = expected.iter().position(|span| same(span, &of_scope.spans[0]));
            expected.remove(at.unwrap());
        }
    }

    #[test]
    fn no_body_panics(
        spans in prop::collection::vec(generated::span(), 1..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut body = request(spans).encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for body in [&body[..], &body[..cut.index(body.len())], &noise[..]] {
            if let Ok((batch, _)) = read_with(&Options::default(), body) {
                stored(&batch);
            }
            let _ = encoded_spans(body, BodyFormat::Json, &mut Refusals::default());
        }
    }
}

/// Equal, NaN or not.
fn same<M: prost::Message>(a: &M, b: &M) -> bool {
    a.encode_to_vec() == b.encode_to_vec()
}
