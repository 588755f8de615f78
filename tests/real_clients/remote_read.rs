//! A real Prometheus evaluates over our samples: it reads them by remote read, or scrapes `/federate`. And what we
//! stream is what it would stream itself, to the bit.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::programs::{Program, free_port, installed, wait_for};
use crate::common::proto::{Message, V1_HEADERS, histogram, snappy, v1_request, v1_series};
use crate::common::remote_read::{EQ, Frame, RE, SAMPLES, STREAMED, frames, query, read, samples};
use crate::common::{Answer, Server, encode, now_ms, request};

const STEP_MS: i64 = 15_000;
/// 25 minutes: fewer than make a second chunk.
const SCRAPES: i64 = 100;
const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// When the first scrape was: all of them lie within one of the two-hour windows by which Prometheus cuts chunks.
fn start_ms() -> i64 {
    const WINDOW_MS: i64 = 2 * 60 * 60 * 1_000;
    (now_ms() / WINDOW_MS - 1) * WINDOW_MS + 30 * 60_000
}

type Samples = Vec<(i64, f64)>;

/// Series with what happens to them in life: gaps, stale markers, resets, odd values, odd times.
fn series(start_ms: i64) -> Vec<(Vec<(&'static str, &'static str)>, Samples)> {
    let times = || (0..SCRAPES).map(|i| (i, start_ms + i * STEP_MS));
    let stale = f64::from_bits(STALE_NAN);
    let odd = [f64::NAN, f64::INFINITY, -0.0, 5e-324, f64::MAX, f64::from_bits(0x7ff8_dead_beef_0001)];
    let of = |name, job| vec![("__name__", name), ("instance", "host:9100"), ("job", job)];
    vec![
        (
            of("up", "node"),
            times()
                .map(|(i, t)| (t, if i == 70 { stale } else { 1.0 }))
                .filter(|s| s.0 < start_ms + 71 * STEP_MS)
                .collect(),
        ),
        (of("up", "db"), times().filter(|(i, _)| !(30..60).contains(i)).map(|(_, t)| (t, 1.0)).collect()),
        (
            of("requests_total", "node"),
            times().map(|(i, t)| (t + i * 7 % 11, (i % 60) as f64 * 3.25)).collect(),
        ),
        (
            of("requests_total", "db"),
            times()
                .map(|(i, t)| (t, if i == 40 { stale } else { i as f64 }))
                .filter(|s| !(41..50).contains(&((s.0 - start_ms) / STEP_MS)))
                .collect(),
        ),
        (of("odd", "node"), times().map(|(i, t)| (t, odd[i as usize % odd.len()])).collect()),
        (of("temperature", "node"), times().map(|(i, t)| (t, (i as f64 / 7.0).sin() * 30.0)).collect()),
    ]
}

/// Native histograms of one series: a counter that only grows.
fn histograms(start_ms: i64) -> Message {
    let name = Message::new().message(1, Message::new().bytes(1, b"__name__").bytes(2, b"latency"));
    (0..SCRAPES as u64).fold(name, |series, i| {
        series.message(4, histogram(start_ms + i as i64 * STEP_MS, 2 * i + i * i % 3, i / 4))
    })
}

fn write(url: &str, series: &[Message]) {
    let answer = request("POST", &format!("{url}/api/v1/write"), &V1_HEADERS, snappy(&v1_request(series)));
    assert_eq!(answer.status, 204, "{url}: {}", answer.body);
}

fn messages(start_ms: i64) -> Vec<Message> {
    series(start_ms).iter().map(|(labels, samples)| v1_series(labels, samples)).collect()
}

fn start_prometheus(path: &Path, dir: &Path, name: &str, config: &Value) -> (Program, String) {
    let file = dir.join(format!("{name}.yml"));
    // JSON is YAML.
    std::fs::write(&file, config.to_string()).unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", dir.join(name).display()),
        format!("--web.listen-address={}", url.trim_start_matches("http://")),
        "--web.enable-remote-write-receiver".to_owned(),
        "--enable-feature=native-histograms".to_owned(),
    ];
    let mut program = Program::start(path, &arguments, dir.join(format!("{name}.log")));
    program.ready(&format!("{url}/-/ready"));
    (program, url)
}

/// The whole body of an answer, its series in a fixed order.
fn ask(url: &str, path: &str) -> Value {
    let answer = request("GET", &format!("{url}{path}"), &[], Vec::new());
    let mut body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {}", answer.body));
    if let Some(result) = body.pointer_mut("/data/result").and_then(Value::as_array_mut) {
        result.sort_by_key(|series| series["metric"].to_string());
    }
    body
}

const EXPRESSIONS: [&str; 14] = [
    "up",
    "{job=~\".+\"}",
    "up{job!=\"db\"}",
    "requests_total{job!~\"n.*\"}",
    "rate(requests_total[2m])",
    "increase(requests_total[5m]) > 0",
    "sum by (job) (rate(requests_total[1m]))",
    "count_over_time({__name__=~\".+\"}[1m])",
    "max_over_time(temperature[3m:30s])",
    "temperature offset 5m",
    "quantile_over_time(0.9, temperature[5m])",
    "absent(up{job=\"node\"})",
    "odd",
    "up == 1 and on (job) requests_total > 10",
];

#[test]
fn prometheus_answers_from_our_samples_as_from_its_own() {
    let Some(prometheus) = installed("prometheus") else { return };
    let dir = tempfile::tempdir().unwrap();
    let icecore = Server::start(&[]);
    let config =
        json!({"remote_read": [{"url": format!("{}/api/v1/read", icecore.url), "read_recent": true}]});
    let (_own, own) = start_prometheus(&prometheus, dir.path(), "own", &json!({"global": {}}));
    let (_reader, reader) = start_prometheus(&prometheus, dir.path(), "reader", &config);
    let start = start_ms();
    for url in [&own, &icecore.url] {
        write(url, &messages(start));
    }
    let at = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let end = start + (SCRAPES + 30) * STEP_MS;
    let mut answered = 0;
    // First from what is in memory, then from files.
    for _ in 0..2 {
        for expr in EXPRESSIONS {
            let expr = encode(expr);
            let range = format!(
                "/api/v1/query_range?query={expr}&start={}&end={}&step=15",
                at(start - 60_000),
                at(end)
            );
            // On samples, just before and after them, in gaps, after stale markers, after the end.
            let moments = [
                0, 1, 450_000, 599_999, 600_000, 750_001, 899_999, 900_000, 1_049_999, 1_050_000, 1_785_000,
                1_785_001,
            ]
            .map(|after| format!("/api/v1/query?query={expr}&time={}", at(start + after)));
            for path in moments.iter().chain([&range]) {
                let (expected, found) = (ask(&own, path), ask(&reader, path));
                assert_eq!(found, expected, "{path}");
                answered += usize::from(expected["data"]["result"] != json!([]));
            }
        }
        let raw = format!("/api/v1/query?query={}&time={}", encode("{__name__=~\".+\"}[1h]"), at(end));
        assert_eq!(ask(&reader, &raw), ask(&own, &raw), "all samples there are");
        let series = format!("/api/v1/series?match[]=up&match[]=odd&start={}&end={}", at(start), at(end));
        assert_eq!(ask(&reader, &series), ask(&own, &series), "series without their samples");
        assert_eq!(icecore.post("/api/v1/admin/flush", &[], "").status, 204);
    }
    assert!(answered > EXPRESSIONS.len() * 10, "{answered} answers say anything");
}

#[test]
fn what_we_send_is_what_prometheus_sends_of_the_same_samples() {
    let Some(prometheus) = installed("prometheus") else { return };
    let dir = tempfile::tempdir().unwrap();
    let icecore = Server::start(&[]);
    let (_own, own) = start_prometheus(&prometheus, dir.path(), "own", &json!({"global": {}}));
    let start = start_ms();
    for url in [&own, &icecore.url] {
        write(url, &messages(start));
        write(url, &[histograms(start)]);
    }
    let range = (start, start + SCRAPES * STEP_MS);
    let cut = (start + 20 * STEP_MS, start + 75 * STEP_MS + 1);
    for queries in [
        vec![query(&[(RE, "__name__", ".+")], range)],
        vec![
            query(&[(EQ, "__name__", "up"), (EQ, "job", "db")], range),
            query(&[(EQ, "__name__", "odd")], cut),
        ],
        vec![query(&[(EQ, "__name__", "latency")], cut)],
        vec![query(&[(EQ, "__name__", "nothing")], range)],
    ] {
        let both = |accepted| [&own, &icecore.url].map(|url| read(url, &queries, accepted));
        let [expected, found] = both(&[SAMPLES]);
        assert_same_samples(&expected, &found);
        let [expected, found] = both(&[STREAMED]);
        let (expected, found) = (unpadded(&expected), unpadded(&found));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), expected.len());
    }
}

/// The frames; 2.42 ends a chunk that fills its last byte with a byte of zeros more.
fn unpadded(answer: &Answer) -> Vec<Frame> {
    let mut frames = frames(answer);
    for chunk in frames.iter_mut().flat_map(|frame| &mut frame.chunks) {
        let end = chunk.data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        chunk.data.truncate(end);
    }
    frames
}

/// Of floats: 2.42 leaves histograms out, and the sign of a zero.
fn assert_same_samples(expected: &Answer, found: &Answer) {
    let floats = |answer: &Answer| {
        let bits = |bits: u64| if bits == 1 << 63 { 0 } else { bits };
        let series = samples(answer).into_iter().flatten();
        let floats = series.map(|series| {
            let floats = series.floats.into_iter().map(|(time, value)| (time, bits(value)));
            (series.labels, floats.collect::<Vec<_>>())
        });
        floats.collect::<Vec<_>>()
    };
    assert_eq!(floats(found), floats(expected));
}

#[test]
fn prometheus_federates_floats_and_native_histograms() {
    let Some(prometheus) = installed("prometheus") else { return };
    let dir = tempfile::tempdir().unwrap();
    let icecore = Server::start(&[]);
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "federate",
            "honor_labels": true,
            "metrics_path": "/federate",
            "params": {"match[]": ["{__name__=~\"up_elsewhere|latency\"}"]},
            "static_configs": [{"targets": [icecore.address()]}],
        }],
    });
    let (_prometheus, url) = start_prometheus(&prometheus, dir.path(), "federating", &config);
    let now = now_ms();
    let name = Message::new().bytes(1, b"__name__").bytes(2, b"latency");
    let float = v1_series(&[("__name__", "up_elsewhere"), ("job", "far")], &[(now, 0.25)]);
    write(&icecore.url, &[float, Message::new().message(1, name).message(4, histogram(now, 2, 1))]);

    let time = format!("{}.{:03}", now / 1_000, now % 1_000);
    let of = |url: &str, expr: &str| ask(url, &format!("/api/v1/query?query={}&time={time}", encode(expr)));
    // An instance of ours where there is none would be the address that was scraped.
    for (expr, labels) in [
        ("up_elsewhere", json!({"__name__": "up_elsewhere", "job": "far"})),
        ("histogram_sum(latency)", json!({"job": "federate"})),
    ] {
        let found = wait_for(expr, || {
            let answer = of(&url, expr)["data"]["result"].clone();
            (answer != json!([])).then_some(answer)
        });
        let ours = &of(&icecore.url, expr)["data"]["result"];
        assert_eq!(found[0]["value"], ours[0]["value"], "{expr}");
        assert_eq!(found[0]["metric"], labels, "{expr}");
    }
}

#[test]
fn promtool_asks_us_as_it_asks_prometheus() {
    let Some(promtool) = installed("promtool") else { return };
    let icecore = Server::start(&[]);
    let start = start_ms();
    write(&icecore.url, &messages(start));
    let (from, to) = ((start / 1_000).to_string(), (start / 1_000 + 60).to_string());
    let said = |arguments: &[&str]| {
        let output = Command::new(&promtool).arg("query").args(arguments).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let url = &icecore.url[..];
    for (arguments, part) in [
        (vec!["instant", url, "up", "--time", &from], "up{instance=\"host:9100\", job=\"db\"} => 1 @["),
        (vec!["range", url, "sum(up)", "--start", &from, "--end", &to, "--step", "30s"], "{} =>\n2 @["),
        (vec!["series", url, "--match", "up", "--start", &from, "--end", &to], "job=\"node\""),
        (vec!["labels", url, "job", "--start", &from, "--end", &to], "node"),
    ] {
        let (success, text) = said(&arguments);
        assert!(success && text.contains(part), "{arguments:?}: {text}");
    }
    let (success, text) = said(&["instant", url, "sum("]);
    assert!(!success && text.contains("parse error"), "{text}");
}
