//! Log entries by Loki's push API and by OTLP, on all ports that take them, read back with a query.

use std::io::Write;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::json;
use tonic::codec::CompressionEncoding;

use crate::common::proto::{Message, snappy};
use crate::common::readback::{Entry, entries};
use crate::common::{Server, now_ms, request};

/// A pushed stream of lines, all at one time.
fn stream(labels: &str, time_ms: i64, lines: &[&str]) -> Message {
    let time = Message::new().int(1, time_ms / 1_000).int(2, time_ms % 1_000 * 1_000_000);
    let metadata = Message::new().bytes(1, b"user.id").bytes(2, b"7");
    let entry = |line: &&str| {
        Message::new().message(1, time.clone()).bytes(2, line.as_bytes()).message(3, metadata.clone())
    };
    lines
        .iter()
        .map(entry)
        .fold(Message::new().bytes(1, labels.as_bytes()), |stream, entry| stream.message(2, entry))
}

fn push(server: &Server, streams: &[Message]) -> crate::common::Answer {
    let body = streams.iter().fold(Message::new(), |push, stream| push.message(1, stream.clone()));
    server.post("/loki/api/v1/push", &[("content-type", "application/x-protobuf")], snappy(&body.0))
}

#[test]
fn a_push_in_any_form_is_stored() {
    let server = Server::start(&[]);
    let now = now_ms();
    let answer = push(&server, &[stream(r#"{app="protobuf", pod="p-1"}"#, now, &["an error", "é"])]);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let labels = [("app", "protobuf"), ("pod", "p-1"), ("service_name", "protobuf")];
    let expected = [
        Entry::new(now * 1_000_000, "an error", &labels, &[("detected_level", "error"), ("user_id", "7")]),
        Entry::new(now * 1_000_000, "é", &labels, &[("detected_level", "unknown"), ("user_id", "7")]),
    ];
    assert_eq!(entries(&server.url, r#"{app="protobuf", pod="p-1"}"#), expected);

    let json = |app: &str| {
        let values = json!([[format!("{now}000000"), "{\"level\":\"warn\"}", {"k": "v"}]]);
        json!({"streams": [{"stream": {"app": app}, "values": values}]}).to_string().into_bytes()
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&json("gzip")).unwrap();
    deflate.write_all(&json("deflate")).unwrap();
    let bodies = [
        ("identity", json("identity")),
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("snappy", snappy(&json("snappy"))),
    ];
    for (encoding, body) in bodies {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let answer = server.post("/api/prom/push", &headers, body);
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{encoding}");
        let labels = [("app", encoding), ("service_name", encoding)];
        let metadata = [("detected_level", "warn"), ("k", "v")];
        let expected = Entry::new(now * 1_000_000, "{\"level\":\"warn\"}", &labels, &metadata);
        assert_eq!(entries(&server.url, &format!("{{app=\"{encoding}\"}}")), [expected], "{encoding}");
    }
}

#[test]
fn the_good_entries_of_a_bad_push_are_kept() {
    let server = Server::start(&[]);
    let now = now_ms();
    let streams = [
        stream("{app=", now, &["lost"]),
        stream(r#"{app="good"}"#, now, &["kept"]),
        stream(r#"{app="old"}"#, now - 31 * 86_400_000, &["too old"]),
        stream(r#"{app="good"}"#, now, &[&"x".repeat(300_000)]),
    ];
    let answer = push(&server, &streams);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    for words in [
        "3 of 4 rejected: ",
        "stream labels \"{app=\": expected a quoted value at byte 5",
        "is 31 days behind (limit 30d)",
        "log line 300000 B > 262144 (--limits.max-line-bytes)",
    ] {
        assert!(answer.body.contains(words), "{words}: {}", answer.body);
    }
    let kept = entries(&server.url, r#"{service_name=~".+"}"#);
    assert_eq!(kept.iter().map(|entry| entry.line.as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[test]
fn what_is_no_push_is_refused() {
    let server = Server::start(&[]);
    assert_eq!(push(&server, &[]).status, 422);
    let json = [("content-type", "application/json")];
    for (headers, body, status) in [
        (&json[..], "{}", 422),
        (&json[..], "{", 400),
        (&json[..], r#"{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}"#, 400),
        (&[("content-type", "text/plain")][..], "", 415),
        (&[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")][..], "", 415),
        (&[][..], "no snappy", 400),
    ] {
        let answer = server.post("/loki/api/v1/push", headers, body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    // Declares 4 GiB.
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x10, 0x00];
    assert_eq!(server.post("/loki/api/v1/push", &[], bomb).status, 413);
}

/// A request with one record of the service `service`.
fn one_record(service: &str, time_ms: i64) -> ExportLogsServiceRequest {
    let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    let attribute =
        |key: &str, value: &str| KeyValue { key: key.to_owned(), value: text(value), ..Default::default() };
    let record = LogRecord {
        time_unix_nano: time_ms as u64 * 1_000_000,
        severity_number: 13,
        severity_text: "Warning".to_owned(),
        body: text("it is slow"),
        attributes: vec![attribute("http.route", "/")],
        trace_id: vec![0xAB; 16],
        span_id: vec![0xCD; 8],
        ..Default::default()
    };
    let attributes = vec![attribute("service.name", service), attribute("host.name", "here")];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes, ..Default::default() }),
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..Default::default() }],
            ..Default::default()
        }],
    }
}

#[track_caller]
fn assert_stored(server: &Server, service: &str, time_ms: i64) {
    let metadata = [
        ("detected_level", "warn"),
        ("host_name", "here"),
        ("http_route", "/"),
        ("severity_number", "13"),
        ("severity_text", "Warning"),
        ("span_id", "cdcdcdcdcdcdcdcd"),
        ("trace_id", "abababababababababababababababab"),
    ];
    let expected = Entry::new(time_ms * 1_000_000, "it is slow", &[("service_name", service)], &metadata);
    assert_eq!(entries(&server.url, &format!("{{service_name=\"{service}\"}}")), [expected]);
}

#[test]
fn otlp_over_http_is_answered_in_its_own_language() {
    let server = Server::start(&[]);
    let now = now_ms();
    let protobuf = [("content-type", "application/x-protobuf")];
    for (service, path) in [("main", "/v1/logs"), ("loki", "/otlp/v1/logs")] {
        let answer = server.post(path, &protobuf, one_record(service, now).encode_to_vec());
        assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/x-protobuf");
        assert_stored(&server, service, now);
    }
    let json = serde_json::to_string(&one_record("json", now)).unwrap();
    let url = format!("http://{}/v1/logs", server.otlp_http);
    let answer = request("POST", &url, &[("content-type", "application/json")], json.into_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_stored(&server, "json", now);

    let mut half = one_record("half", now);
    half.resource_logs.extend(one_record("ahead", now + 86_400_000).resource_logs);
    let answer = server.post("/v1/logs", &protobuf, half.encode_to_vec());
    let partial = ExportLogsServiceResponse::decode(&answer.bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_log_records), (200, 1));
    assert!(partial.error_message.contains("ahead (limit 10m)"), "{}", partial.error_message);
    assert_stored(&server, "half", now);
    let json = serde_json::to_string(&half).unwrap();
    let answer = server.post("/v1/logs", &[("content-type", "application/json")], json);
    assert!(answer.body.contains(r#""rejectedLogRecords":"1""#), "{}", answer.body);
    assert_eq!(server.post("/v1/logs", &protobuf, vec![0xFF]).status, 400);
}

#[tokio::test]
async fn grpc_takes_logs_on_both_ports() {
    let server = Server::start(&[]);
    let now = now_ms();
    for (service, url) in [("own", format!("http://{}", server.otlp_grpc)), ("main", server.url.clone())] {
        let client = LogsServiceClient::connect(url).await.unwrap();
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let answer = client.export(one_record(service, now)).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
        assert_stored(&server, service, now);
        let refused = client.export(one_record(service, now + 86_400_000)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("ahead"), "{}", refused.message());
    }
}
