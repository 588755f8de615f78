//! OTLP metrics over gRPC and HTTP, on all ports that take them.

use std::io::Write;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tonic::codec::CompressionEncoding;

use crate::common::{Server, now_ms};

fn gauge(name: &str, time_ms: i64, value: f64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        time_unix_nano: time_ms as u64 * 1_000_000,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    };
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue("shop".to_owned())) }),
        ..Default::default()
    };
    let metric = Metric {
        name: name.to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
        ..Default::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: vec![service], ..Default::default() }),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn assert_stored(server: &Server, name: &str, time_ms: i64) {
    let body = server.query(name, time_ms);
    assert!(body.contains(r#""job":"shop""#) && body.contains(r#""7"]"#), "{name}: {body}");
}

#[test]
fn http_takes_protobuf_and_json_in_every_encoding_and_answers_alike() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&gauge("by_gzip", now, 7.0).encode_to_vec()).unwrap();
    deflate.write_all(&gauge("by_deflate", now, 7.0).encode_to_vec()).unwrap();
    let bodies = [
        ("none", gauge("by_none", now, 7.0).encode_to_vec()),
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("zstd", zstd::bulk::compress(&gauge("by_zstd", now, 7.0).encode_to_vec(), 1).unwrap()),
        ("snappy", crate::common::proto::snappy(&gauge("by_snappy", now, 7.0).encode_to_vec())),
    ];
    for (encoding, body) in bodies {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", encoding)];
        let answer = server.post("/v1/metrics", &headers, body);
        assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{encoding}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/x-protobuf");
        assert_stored(&server, &format!("by_{encoding}"), now);
    }
    let json = serde_json::to_string(&gauge("by_json", now, 7.0)).unwrap();
    let url = format!("http://{}/v1/metrics", server.otlp_http);
    let answer =
        crate::common::request("POST", &url, &[("content-type", "application/json")], json.into_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_stored(&server, "by_json", now);
}

#[test]
fn http_names_what_it_refuses_in_the_language_of_the_request() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut half = gauge("good", now, 7.0);
    half.resource_metrics.extend(gauge("bad", now + 86_400_000, 7.0).resource_metrics);
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = server.post("/v1/metrics", &protobuf, half.encode_to_vec());
    assert_eq!(answer.status, 200);
    let partial = ExportMetricsServiceResponse::decode(&answer.bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 1);
    assert!(partial.error_message.contains("ahead"), "{}", partial.error_message);
    assert_stored(&server, "good", now);

    let garbage = server.post("/v1/metrics", &[("content-type", "application/json")], "[");
    assert_eq!(garbage.status, 400);
    assert!(garbage.body.starts_with(r#"{"code":3,"message":""#), "{}", garbage.body);
    assert_eq!(server.post("/v1/metrics", &[("content-type", "text/plain")], "").status, 415);
}

#[tokio::test]
async fn grpc_is_served_on_its_own_port_and_beside_http() {
    let server = Server::start(&[]);
    let now = now_ms();
    let main = server.url.clone();
    for (name, url) in [("by_own_port", format!("http://{}", server.otlp_grpc)), ("by_main_port", main)] {
        let client = MetricsServiceClient::connect(url).await.unwrap();
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let answer = client.export(gauge(name, now, 7.0)).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
        assert_stored(&server, name, now);
        let refused = client.export(gauge(name, now + 86_400_000, 7.0)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("ahead"), "{}", refused.message());
    }
}

#[tokio::test]
async fn grpc_tells_a_client_not_to_send_again_what_is_too_long() {
    let server = Server::start(&["--limits.max-decoded-bytes", "64KiB"]);
    let long = gauge(&"x".repeat(100_000), now_ms(), 7.0);
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let client = MetricsServiceClient::connect(server.url.clone()).await.unwrap();
        let mut client =
            compression.into_iter().fold(client, |client, encoding| client.send_compressed(encoding));
        let refused = client.export(long.clone()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
        assert!(refused.details().is_empty(), "there is no use in waiting");
    }
}

#[test]
fn bombs_are_refused_while_they_are_decompressed() {
    let server = Server::start(&[]);
    let zeros = vec![0u8; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let zstd = zstd::bulk::compress(&zeros, 1).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", encoding)];
        let answer = server.post("/v1/metrics", &headers, body);
        assert_eq!(answer.status, 413, "{encoding}: {}", answer.body);
    }
    let twice = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip, gzip")];
    assert_eq!(server.post("/v1/metrics", &twice, "").status, 415);
}
