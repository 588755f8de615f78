//! Spans by OTLP and by Zipkin, on all ports that take them, read back by their trace's id.

use std::io::Write;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use serde_json::json;
use tonic::codec::CompressionEncoding;

use crate::common::readback::trace;
use crate::common::{Server, encode, now_ms, request};

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A request with one span, in which everything is used; its trace's id is made of `id`.
fn one_span(id: u8, start_ms: i64) -> ExportTraceServiceRequest {
    let text = |text: &str| any_value::Value::StringValue(text.to_owned());
    let start = start_ms as u64 * 1_000_000;
    let span = Span {
        trace_id: vec![id; 16],
        span_id: vec![id; 8],
        parent_span_id: vec![9; 8],
        trace_state: "ot=th:0".to_owned(),
        flags: 257,
        name: "GET /é".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_234_567,
        attributes: vec![attribute("code", any_value::Value::IntValue(500)), attribute("path", text("/"))],
        events: vec![span::Event {
            time_unix_nano: start + 1,
            name: "retry".to_owned(),
            attributes: vec![attribute("ratio", any_value::Value::DoubleValue(0.5))],
            ..Default::default()
        }],
        links: vec![span::Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Default::default() }],
        status: Some(Status { message: "it broke".to_owned(), code: 2 }),
        dropped_links_count: 3,
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", text("shop"))],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "lib".to_owned(),
                    version: "1".to_owned(),
                    ..Default::default()
                }),
                spans: vec![span],
                schema_url: "https://scope".to_owned(),
            }],
            schema_url: "https://resource".to_owned(),
        }],
    }
}

/// The id of the trace of [`one_span`].
fn hex(id: u8) -> String {
    format!("{id:02x}").repeat(16)
}

#[track_caller]
fn assert_stored(server: &Server, id: u8, sent: &ExportTraceServiceRequest) {
    assert_eq!(trace(&server.url, &hex(id)), sent.resource_spans);
}

#[test]
fn http_takes_protobuf_and_json_in_every_encoding() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&one_span(2, now).encode_to_vec()).unwrap();
    let bodies = [
        (1, "identity", one_span(1, now).encode_to_vec()),
        (2, "gzip", gzip.finish().unwrap()),
        (3, "zstd", zstd::bulk::compress(&one_span(3, now).encode_to_vec(), 1).unwrap()),
    ];
    for (id, encoding, body) in bodies {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", encoding)];
        let answer = server.post("/v1/traces", &headers, body);
        assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{encoding}: {}", answer.body);
        assert_stored(&server, id, &one_span(id, now));
    }
    let json = serde_json::to_string(&one_span(4, now)).unwrap();
    let url = format!("http://{}/v1/traces", server.otlp_http);
    let answer = request("POST", &url, &[("content-type", "application/json")], json.into_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_stored(&server, 4, &one_span(4, now));
}

#[test]
fn a_bad_span_is_refused_alone_and_named() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut half = one_span(1, now);
    half.resource_spans.extend(one_span(0, now).resource_spans);
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = server.post("/v1/traces", &protobuf, half.encode_to_vec());
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(&answer.bytes[..]).unwrap().partial_success.unwrap();
    let words = "1 of 2 rejected: trace id of span \"GET /é\" is only zeros, not 16 bytes";
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (1, words));
    assert_stored(&server, 1, &one_span(1, now));
    let json = serde_json::to_string(&half).unwrap();
    let answer = server.post("/v1/traces", &[("content-type", "application/json")], json);
    let expected = json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": words}});
    assert_eq!((answer.status, answer.body), (200, expected.to_string()));

    let old = one_span(5, now - 8 * 86_400_000);
    let answer = server.post("/v1/traces", &protobuf, old.encode_to_vec());
    assert!(answer.status == 400 && answer.body.contains("behind (limit 7d)"), "{}", answer.body);
    assert_eq!(server.post("/v1/traces", &protobuf, vec![0xFF]).status, 400);
}

#[tokio::test]
async fn grpc_takes_spans_on_both_ports() {
    let server = Server::start(&[]);
    let now = now_ms();
    for (id, url) in [(1, format!("http://{}", server.otlp_grpc)), (2, server.url.clone())] {
        let client = TraceServiceClient::connect(url).await.unwrap();
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let answer = client.export(one_span(id, now)).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
        assert_stored(&server, id, &one_span(id, now));
        let mut half = one_span(id, now);
        half.resource_spans.extend(one_span(0, now).resource_spans);
        let partial = client.export(half).await.unwrap().into_inner().partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 1);
        let refused = client.export(one_span(0, now)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("only zeros"), "{}", refused.message());
    }
}

#[test]
fn zipkin_gets_its_202_and_short_ids_are_found() {
    let server = Server::start(&[]);
    let now = now_ms();
    let good = json!({
        "traceId": "5b8aa5a2d2c872e8321cf37308d69df", "id": "51581bf3cb55c13", "name": "get", "kind": "SERVER",
        "timestamp": now * 1_000, "duration": 1_500, "localEndpoint": {"serviceName": "shop"},
        "tags": {"http.method": "GET"},
    });
    let answer =
        server.post("/api/v2/spans", &[("content-type", "application/json")], json!([good]).to_string());
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    let found = trace(&server.url, "5b8aa5a2d2c872e8321cf37308d69df");
    let span = &found[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("get", span::SpanKind::Server as i32));
    assert_eq!(span.start_time_unix_nano, now as u64 * 1_000_000);
    assert_eq!(span.end_time_unix_nano, now as u64 * 1_000_000 + 1_500_000);
    assert_eq!(found, trace(&server.url, "05b8aa5a2d2c872e8321cf37308d69df"));

    let bad = json!([{"traceId": "x", "id": "1"}, {"traceId": "77", "id": "1", "timestamp": now * 1_000}]);
    let answer = server.post("/api/v2/spans", &[], bad.to_string());
    let words = "1 of 2 rejected: traceId \"x\": 'x' in an id is not a hex digit";
    assert_eq!((answer.status, answer.body.as_str()), (400, words));
    assert_eq!(trace(&server.url, "77").len(), 1);
    assert_eq!(server.post("/api/v2/spans", &[("content-type", "application/x-protobuf")], "").status, 415);
    assert_eq!(server.post("/api/v2/spans", &[], "[]").status, 202);
}

#[test]
fn spans_of_a_service_without_a_name_are_found_under_one_name_everywhere() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut otlp = one_span(0xab, now);
    otlp.resource_spans[0].resource = None;
    let protobuf = [("content-type", "application/x-protobuf")];
    assert_eq!(server.post("/v1/traces", &protobuf, otlp.encode_to_vec()).status, 200);
    let zipkin = json!([{"traceId": "cd", "id": "1", "name": "get", "timestamp": now * 1_000}]);
    assert_eq!(server.post("/api/v2/spans", &[], zipkin.to_string()).status, 202);

    let body = |path: &str| -> serde_json::Value { serde_json::from_str(&server.get(path).body).unwrap() };
    for _ in ["before a flush", "after it"] {
        assert_eq!(body("/api/services")["data"], json!(["unknown_service"]));
        assert_eq!(body("/api/services/unknown_service/operations")["data"], json!(["GET /é", "get"]));
        assert_eq!(body("/api/traces?service=unknown_service")["data"].as_array().unwrap().len(), 2);
        let values = body("/api/search/tag/service.name/values");
        assert_eq!(values["tagValues"], json!(["unknown_service"]));
        let query = encode("{ resource.service.name = \"unknown_service\" }");
        let found = body(&format!("/api/search?q={query}"));
        assert_eq!(found["traces"].as_array().unwrap().len(), 2);
        assert_eq!(found["traces"][0]["rootServiceName"], "unknown_service");
        for id in [hex(0xab), "cd".to_owned()] {
            let jaegers = body(&format!("/api/traces/{id}"));
            assert_eq!(jaegers["data"][0]["processes"]["p1"]["serviceName"], "unknown_service");
        }
        assert_eq!(server.post("/api/v1/admin/flush", &[], Vec::new()).status, 204);
    }
}
