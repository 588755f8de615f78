//! Zipkin's spans as OTLP's.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use proptest::prelude::{any, proptest};

use super::*;

fn decoded(body: &str) -> (ExportTraceServiceRequest, Vec<String>) {
    let mut refusals = Refusals::default();
    let request = decode(body.as_bytes(), &mut refusals).unwrap();
    (request, refusals.told().iter().map(|rejection| rejection.message.clone()).collect())
}

/// The one span of a body, and its service.
fn one(body: &str) -> (Span, String) {
    let (mut request, refused) = decoded(&format!("[{body}]"));
    assert_eq!(refused, Vec::<String>::new());
    let from = request.resource_spans.remove(0);
    let service = from.resource.unwrap().attributes.into_iter().find(|a| a.key == "service.name");
    let service = service.map_or(String::new(), |a| text(&a).to_owned());
    (from.scope_spans.into_iter().next().unwrap().spans.remove(0), service)
}

fn text(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Any::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_span_keeps_all_it_has() {
    let (span, service) = one(
        r#"{"traceId":"5b8aa5a2d2c872e8321cf37308d69df","id":"51581bf3cb55c13","parentId":"1",
        "name":"get /","kind":"CLIENT","timestamp":1800000000000001,"duration":1500,
        "localEndpoint":{"serviceName":"shop","ipv4":"10.0.0.1","port":8080},
        "remoteEndpoint":{"serviceName":"db","ipv6":"::1"},
        "annotations":[{"timestamp":1800000000000002,"value":"sent"},
                       {"timestamp":1800000000000003,"value":"{\"retry\":{\"count\":2,\"why\":\"slow\",\"ok\":true}}"}],
        "tags":{"http.method":"GET","error":"timeout","n":5}}"#,
    );
    assert_eq!(service, "shop");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&span.trace_id), "05b8aa5a2d2c872e8321cf37308d69df");
    assert_eq!(
        (hex(&span.span_id), hex(&span.parent_span_id)),
        ("051581bf3cb55c13".into(), "0000000000000001".into())
    );
    assert_eq!((span.name.as_str(), span.kind), ("get /", SpanKind::Client as i32));
    assert_eq!(span.start_time_unix_nano, 1_800_000_000_000_001_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_500_000);
    let expected = [
        attribute("net.host.ip", "10.0.0.1"),
        key_value("net.host.port", Any::IntValue(8080)),
        attribute("net.peer.ip", "::1"),
        attribute("peer.service", "db"),
        attribute("http.method", "GET"),
        attribute("n", "5"),
    ];
    assert_eq!(span.attributes, expected);
    let status = span.status.unwrap();
    assert_eq!((status.code, status.message.as_str()), (StatusCode::Error as i32, "timeout"));
    assert_eq!((span.events[0].name.as_str(), span.events[0].attributes.len()), ("sent", 0));
    assert_eq!(
        (span.events[1].name.as_str(), span.events[1].time_unix_nano),
        ("retry", 1_800_000_000_000_003_000)
    );
    let expected = [
        key_value("count", Any::IntValue(2)),
        key_value("ok", Any::BoolValue(true)),
        attribute("why", "slow"),
    ];
    assert_eq!(span.events[1].attributes, expected);
}

#[test]
fn a_server_that_shares_a_span_gets_its_own_below_it() {
    let body = |service: &str| {
        format!(
            r#"{{"traceId":"00000000000000ab","id":"cd","parentId":"1","kind":"SERVER","shared":true,"timestamp":1,
                "localEndpoint":{{"serviceName":"{service}"}}}}"#
        )
    };
    let (span, _) = one(&body("a"));
    assert_eq!(span.trace_id, [[0; 15].as_slice(), &[0xAB]].concat());
    assert_eq!(span.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 0xCD]);
    assert_ne!(span.span_id, span.parent_span_id);
    assert_eq!(one(&body("a")).0.span_id, span.span_id);
    assert_ne!(one(&body("b")).0.span_id, span.span_id);
}

#[test]
fn what_opentelemetry_put_into_tags_comes_back_out() {
    let (request, _) = decoded(
        r#"[{"traceId":"1","id":"2","kind":null,"parentId":null,"shared":null,"timestamp":1,"name":"n",
            "tags":{"otel.scope.name":"lib","otel.library.name":"lib","otel.scope.version":"3",
                    "otel.status_code":"ERROR","otel.status_description":"bad","error":"bad","a":"b"}}]"#,
    );
    let of_scope = &request.resource_spans[0].scope_spans[0];
    let scope = of_scope.scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "3"));
    let span = &of_scope.spans[0];
    assert_eq!(
        (span.kind, span.attributes.as_slice()),
        (SpanKind::Internal as i32, &[attribute("a", "b")][..])
    );
    assert_eq!(span.status.as_ref().unwrap().message, "bad");
    let status =
        |tags: &str| one(&format!(r#"{{"traceId":"1","id":"2","timestamp":1,"tags":{{{tags}}}}}"#)).0.status;
    assert_eq!(status(r#""otel.status_code":"OK""#).unwrap().code, StatusCode::Ok as i32);
    assert_eq!(status(r#""error":"true""#).unwrap(), Status { message: String::new(), code: 2 });
    assert_eq!(status(r#""error":"false""#), None);
}

#[test]
fn spans_of_one_origin_stand_together_and_bad_ones_are_refused_alone() {
    let (request, refused) = decoded(
        r#"[{"traceId":"1","id":"2","timestamp":1,"localEndpoint":{"serviceName":"a"}},{"traceId":"1","id":"3","timestamp":1,"localEndpoint":{"serviceName":"b"}},
            {"traceId":"1","id":"4","timestamp":1,"localEndpoint":{"serviceName":"a"}},7,{"traceId":"x","id":"1"},{"traceId":"1"},
            {"traceId":"1","id":"0"},{"traceId":"1","id":"1","timestamp":"soon"}]"#,
    );
    let counts: Vec<usize> =
        request.resource_spans.iter().map(|from| from.scope_spans[0].spans.len()).collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(
        refused,
        [
            "a span is not an object",
            "traceId \"x\": 'x' in an id is not a hex digit",
            "id \"\": an id of 0 hex digits; at most 16 are allowed",
            "id \"0\": an id of zeros only",
            "timestamp is not an unsigned 64-bit integer",
        ]
    );
}

#[test]
fn a_span_is_as_early_as_its_timestamp_or_its_first_annotation_and_without_both_it_is_refused() {
    let annotations =
        r#""annotations":[{"timestamp":7,"value":"b"},{"value":"-"},{"timestamp":5,"value":"a"}]"#;
    let started = |fields: &str| {
        one(&format!(r#"{{"traceId":"1","id":"2","duration":3,{fields}}}"#)).0.start_time_unix_nano
    };
    assert_eq!(started(r#""timestamp":4"#), 4_000);
    assert_eq!(started(&format!(r#""timestamp":6,{annotations}"#)), 6_000);
    assert_eq!(started(annotations), 5_000);
    let (request, refused) = decoded(
        r#"[{"traceId":"1","id":"2","name":"get"},
            {"traceId":"1","id":"2","timestamp":0,"name":"put","annotations":[{"value":"a"}]}]"#,
    );
    assert!(request.resource_spans.is_empty());
    let words = |name| format!("span \"{name}\" has no timestamp, nor an annotation with one");
    assert_eq!(refused, [words("get"), words("put")]);
}

proptest! {
    #[test]
    fn no_body_panics(body in r#"[\[\]{}":,a-c0-9]{0,60}"#, time in any::<u64>(), kind in "[A-Z]{0,9}") {
        let _ = decode(body.as_bytes(), &mut Refusals::default());
        let span = format!(r#"[{{"traceId":"1","id":"2","timestamp":{time},"duration":{time},"kind":"{kind}"}}]"#);
        decode(span.as_bytes(), &mut Refusals::default()).unwrap();
    }
}
