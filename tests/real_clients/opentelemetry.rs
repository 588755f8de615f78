//! The OpenTelemetry SDK for Python sends every instrument; each export's values are there, at the times the SDK gave.
//! `every_instrument.py` beside this file says what it sends.

use std::path::Path;

use serde_json::{Value, json};

use super::answers::{self, Labels};
use super::programs::{python, run_script};
use crate::common::{Server, now_ms};

const EXPORTS: usize = 3;

#[test]
fn every_instrument_is_stored_as_the_sdk_sent_it() {
    const IMPORTS: &str = "import opentelemetry.sdk.metrics\n\
        import opentelemetry.exporter.otlp.proto.grpc.metric_exporter\n\
        import opentelemetry.exporter.otlp.proto.http.metric_exporter";
    let Some(python) = python(IMPORTS) else { return };
    let icecore = Server::start(&[]);
    let grpc = format!("http://{}", icecore.otlp_grpc);
    let http = format!("http://{}/v1/metrics", icecore.otlp_http);
    let main_port = format!("{}/v1/metrics", icecore.url);
    let runs = [
        ["grpc", "grpc", &grpc, "none", "cumulative"],
        ["grpc-gzip-delta", "grpc", &grpc, "gzip", "delta"],
        ["http", "http", &http, "none", "cumulative"],
        ["http-gzip", "http", &http, "gzip", "cumulative"],
        ["http-delta", "http", &http, "none", "delta"],
        ["main-port-http", "http", &main_port, "none", "cumulative"],
        ["main-port-grpc", "grpc", &icecore.url, "gzip", "cumulative"],
    ];
    for arguments in &runs {
        let times_ms = exports(&python, arguments);
        every_instrument_is_stored(&icecore, arguments[0], &times_ms);
    }
    let metadata = answers::data(&icecore.url, "/api/v1/metadata?metric=orders_total");
    assert_eq!(metadata["orders_total"], json!([{"type": "counter", "help": "Orders taken.", "unit": ""}]));
}

/// As a script without an SDK sends it: numbers as text or not, names in any order, fields nobody knows.
#[test]
fn a_json_body_written_by_hand_is_stored() {
    let icecore = Server::start(&[]);
    let now = now_ms();
    let nanos = |ms: i64| format!("{ms}000000");
    let service = json!([{"key": "service.name", "value": {"stringValue": "by-hand"}}]);
    let kind = json!([{"value": {"intValue": "7"}, "key": "kind"}]);
    let points = json!([
        {"timeUnixNano": nanos(now - 1_000), "asInt": "9007199254740991", "attributes": kind},
        {"timeUnixNano": nanos(now), "asDouble": 0.1, "attributes": kind, "unknown": [{}]},
    ]);
    let sum = json!({"dataPoints": [
        {"startTimeUnixNano": nanos(now - 5_000), "timeUnixNano": nanos(now), "asInt": 5},
    ], "aggregationTemporality": 2, "isMonotonic": true});
    let metrics = json!([{"name": "level", "gauge": {"dataPoints": points}}, {"sum": sum, "name": "hits"}]);
    let body = json!({"resourceMetrics": [
        {"resource": {"attributes": service}, "scopeMetrics": [{"metrics": metrics}]},
    ]});
    let answer = icecore.post("/v1/metrics", &[("content-type", "application/json")], body.to_string());
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let floats = |selector: &str| {
        let found = answers::instant(&icecore.url, &format!("{selector}[1m]"), now);
        found.into_values().map(|points| points.floats).collect::<Vec<_>>()
    };
    let level = [(now - 1_000, 9_007_199_254_740_991.0), (now, 0.1)];
    assert_eq!(floats(r#"level{job="by-hand",kind="7"}"#), [level]);
    assert_eq!(floats(r#"hits_total{job="by-hand"}"#), [[(now, 5.0)]]);
}

/// Runs the script; the times of its exports in milliseconds.
fn exports(python: &Path, arguments: &[&str; 5]) -> Vec<i64> {
    let said = run_script(python, "every_instrument.py", arguments);
    let times: Vec<i64> = said
        .lines()
        .map(|line| {
            // All points of an export bear one time.
            let time = line.strip_prefix("SUCCESS 9 ").unwrap_or_else(|| panic!("{arguments:?}: {said}"));
            time.parse::<i64>().unwrap() / 1_000_000
        })
        .collect();
    assert_eq!(times.len(), EXPORTS, "{arguments:?}: {said}");
    times
}

/// A series without job and instance, and its value after each export.
type Sent = (&'static str, &'static [(&'static str, &'static str)], [f64; EXPORTS]);

const SENT: [Sent; 13] = [
    ("orders_total", &[("kind", "a.b"), ("gr_e", "é")], [1.0, 3.0, 6.0]),
    ("orders_total", &[("kind", "other")], [0.25, 0.5, 0.75]),
    ("in_flight", &[], [-1.0, -3.0, -6.0]),
    ("wait_seconds_bucket", &[("path", "/"), ("le", "1")], [1.0, 2.0, 3.0]),
    ("wait_seconds_bucket", &[("path", "/"), ("le", "10")], [2.0, 4.0, 5.0]),
    ("wait_seconds_bucket", &[("path", "/"), ("le", "+Inf")], [3.0, 6.0, 9.0]),
    ("wait_seconds_count", &[("path", "/")], [3.0, 6.0, 9.0]),
    ("wait_seconds_sum", &[("path", "/")], [55.5, 116.0, 181.5]),
    ("temperature_celsius", &[], [-272.15, -271.15, -270.15]),
    ("cpu_time_seconds_total", &[], [1.5, 3.0, 4.5]),
    ("queue", &[], [9.0, 8.0, 7.0]),
    ("load_ratio", &[], [0.25, 0.5, 0.75]),
    ("target_info", &[("host_name", "here")], [1.0; 3]),
];

/// Every series of [`SENT`] and the native histogram, and nothing else; delta or cumulative, it is the same.
fn every_instrument_is_stored(icecore: &Server, service: &str, times_ms: &[i64]) {
    let all = format!("{{job=\"{service}\"}}[30m]");
    let mut found = answers::instant(&icecore.url, &all, now_ms() + 1_000);
    let mut take = |name: &str, labels: &[(&str, &str)]| {
        let own = [("__name__", name), ("job", service), ("instance", "one")];
        let key: Labels =
            own.iter().chain(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        found.remove(&key).unwrap_or_else(|| panic!("{key:?} is not among {:?}", found.keys()))
    };
    for (name, labels, values) in SENT {
        let expected: Vec<(i64, f64)> = times_ms.iter().copied().zip(values).collect();
        assert_eq!(take(name, labels).floats, expected, "{service}: {name} {labels:?}");
    }
    let expected: Vec<(i64, Value)> = times_ms.iter().copied().zip([1, 2, 3].map(sizes)).collect();
    assert_eq!(take("size_bytes", &[]).histograms, expected, "{service}");
    assert!(found.is_empty(), "{service}: {:?}", found.keys());
}

/// The native histogram `size` after some rounds.
fn sizes(rounds: u64) -> Value {
    let times = |count: f64| (count * rounds as f64).to_string();
    json!({
        "count": times(4.0),
        "sum": times(31.5),
        "buckets": [
            [0, "1", "2", times(1.0)],
            [0, "2", "4", times(2.0)],
            [0, "16", "32", times(1.0)],
        ],
    })
}
