//! Remote write as prometheus/compliance expects it of a receiver.

use crate::common::proto::{self, Message, V2, v2_sample};
use crate::common::{Answer, Server, now_ms};

fn written(answer: &Answer) -> (u16, [String; 3]) {
    let count = |kind: &str| answer.header(&format!("x-prometheus-remote-write-{kind}-written")).to_owned();
    (answer.status, [count("samples"), count("histograms"), count("exemplars")])
}

fn counts(samples: u64, histograms: u64, exemplars: u64) -> [String; 3] {
    [samples, histograms, exemplars].map(|count| count.to_string())
}

#[test]
fn every_kind_of_2_0_body_is_counted_in_the_headers() {
    let server = Server::start(&[]);
    let now = now_ms();
    let up = [("__name__", "up"), ("job", "x")];

    let mut floats = V2::new();
    floats.series(&up, |series| {
        series.message(2, v2_sample(now - 1, 1.0)).message(2, v2_sample(now, f64::NAN))
    });
    let mut unsorted = V2::new();
    unsorted
        .series(&[("z", "1"), ("a", "2"), ("__name__", "unsorted")], |s| s.message(2, v2_sample(now, 1.0)));
    let mut histograms = V2::new();
    histograms.series(&[("__name__", "latency")], |series| series.message(3, proto::histogram(now, 2, 1)));
    let mut exemplars = V2::new();
    let trace = exemplars.references(&[("trace_id", "abc")]);
    let exemplar = Message::new().packed(1, trace).double(2, 0.5).int(3, now);
    exemplars.series(&[("__name__", "traced_total")], |series| {
        series.message(2, v2_sample(now, 5.0)).message(4, exemplar)
    });
    let mut metadata = V2::new();
    let (help, unit) = (metadata.symbol("How long it took."), metadata.symbol("seconds"));
    let about = Message::new().varint(1, 1).varint(3, help).varint(4, unit);
    metadata.series(&[("__name__", "took_seconds_total")], |series| series.message(5, about));
    let mut created = V2::new();
    created.series(&[("__name__", "born_total")], |series| {
        series.message(2, v2_sample(now, 5.0)).int(6, now - 60_000)
    });

    for (name, body, expected) in [
        ("floats", &floats, counts(2, 0, 0)),
        ("unsorted labels", &unsorted, counts(1, 0, 0)),
        ("histograms", &histograms, counts(0, 1, 0)),
        ("exemplars", &exemplars, counts(1, 0, 1)),
        ("metadata without data", &metadata, counts(0, 0, 0)),
        ("created timestamp", &created, counts(1, 0, 0)),
        ("nothing", &V2::new(), counts(0, 0, 0)),
    ] {
        let answer = server.write_v2(&body.body());
        assert_eq!(written(&answer), (204, expected), "{name}: {}", answer.body);
    }
    let histogram = server.query("latency", now);
    let expected = r#"{"count":"3","sum":"5","buckets":[[0,"1","2","2"],[0,"2","4","1"]]}"#;
    assert!(histogram.contains(expected), "{histogram}");
    let metadata = server.get("/api/v1/metadata?metric=took_seconds_total").body;
    let expected = r#"[{"type":"counter","help":"How long it took.","unit":"seconds"}]"#;
    assert!(metadata.contains(expected), "{metadata}");
}

#[test]
fn exemplars_come_back_where_grafana_looks_for_them() {
    let server = Server::start(&[]);
    let now = now_ms() / 1_000 * 1_000;
    let exemplar = Message::new()
        .message(1, Message::new().bytes(1, b"trace_id").bytes(2, b"abc"))
        .double(2, 0.25)
        .int(3, now + 5);
    let series = proto::v1_series(&[("__name__", "traced_total")], &[(now, 1.0)]).message(3, exemplar);
    assert_eq!(server.write(&proto::v1_request(&[series])).status, 204);
    let seconds = now / 1_000;
    let path = format!(
        "/api/v1/query_exemplars?query=rate(traced_total[1m])&start={}&end={}",
        seconds - 1,
        seconds + 1
    );
    let expected = format!(
        r#"{{"status":"success","data":[{{"seriesLabels":{{"__name__":"traced_total"}},"exemplars":[{{"labels":{{"trace_id":"abc"}},"value":"0.25","timestamp":{seconds}.005}}]}}]}}"#
    );
    assert_eq!(server.get(&path).body, expected);
    assert_eq!(server.get("/api/v1/query_exemplars?query=traced_total").body, expected, "of all times");
}

#[test]
fn wrong_types_and_encodings_are_415() {
    let server = Server::start(&[]);
    let body = proto::snappy(&proto::v1(&[("__name__", "up")], &[(now_ms(), 1.0)]));
    let protobuf = "application/x-protobuf";
    for (content_type, encoding, status) in [
        (protobuf, "snappy", 204),
        ("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", 204),
        ("application/json", "snappy", 415),
        ("image/png", "snappy", 415),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", 415),
        (protobuf, "gzip", 415),
        (protobuf, "deflate", 415),
        (protobuf, "zstd", 415),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let answer = server.post("/api/v1/write", &headers, body.clone());
        assert_eq!(answer.status, status, "{content_type} {encoding}: {}", answer.body);
    }
}

#[test]
fn good_samples_are_stored_and_the_bad_are_named() {
    let server = Server::start(&[]);
    let now = now_ms();
    let mut body = V2::new();
    body.series(&[("__name__", "good")], |series| series.message(2, v2_sample(now, 1.0)));
    body.series(&[("job", "nameless")], |series| series.message(2, v2_sample(now, 1.0)));
    body.series(&[("__name__", "future")], |series| series.message(2, v2_sample(i64::MAX, 1.0)));
    let answer = server.write_v2(&body.body());
    assert_eq!(written(&answer), (400, counts(1, 0, 0)), "{}", answer.body);
    assert!(answer.body.contains("__name__") && answer.body.contains("ahead"), "{}", answer.body);
    assert!(server.query("good", now).contains(r#""1"]"#));
}

#[test]
fn a_body_that_is_no_protobuf_is_400_and_counts_nothing() {
    let server = Server::start(&[]);
    for body in [&b"garbage"[..], b"\xff\xff\xff\xff"] {
        let answer = server.write_v2(body);
        assert_eq!(written(&answer), (400, counts(0, 0, 0)), "{}", answer.body);
        assert_eq!(server.write(body).status, 400);
    }
    let unpacked = server.post("/api/v1/write", &proto::V1_HEADERS, b"not snappy at all".to_vec());
    assert_eq!(unpacked.status, 400, "{}", unpacked.body);
}

#[test]
fn special_values_come_back_as_they_were_sent() {
    let server = Server::start(&[]);
    let now = now_ms();
    let values = [-0.0, 5e-324, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX];
    let samples: Vec<_> = (0..).zip(values).map(|(i, value)| (now - 10 + i, value)).collect();
    assert_eq!(server.write(&proto::v1(&[("__name__", "odd")], &samples)).status, 204);
    let body = server.query("odd[1s]", now);
    let shown: Vec<&str> =
        body.split(",\"").filter_map(|part| part.split_once("\"]").map(|(value, _)| value)).collect();
    assert_eq!(shown, ["-0", "5e-324", "+Inf", "-Inf", "NaN", "1.7976931348623157e+308"], "{body}");
}
