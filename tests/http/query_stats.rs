//! `stats`: samples as Prometheus counts them, step by step with the feature flag, and where the time went.

use serde_json::{Value, json};

use crate::common::{Server, encode, now_ms, proto};

/// A server, and the time of the first of its samples, which are 10 s apart for five minutes.
fn server_with_data(features: &str) -> (Server, i64) {
    let server = Server::start(&["--enable-feature", features]);
    let start = now_ms() / 60_000 * 60_000 - 600_000;
    let samples: Vec<(i64, f64)> = (0..=30).map(|i| (start + i * 10_000, i as f64)).collect();
    assert_eq!(server.write(&proto::v1(&[("__name__", "m_total")], &samples)).status, 204);
    (server, start)
}

/// The `data.stats` and the warnings of a query over the steps at 100 s, 150 s and 200 s, or at 100 s alone.
fn stats_of(server: &Server, start: i64, expr: &str, is_range: bool, stats: &str) -> (Value, Value) {
    let second = start / 1_000;
    let times = match is_range {
        true => format!("query_range?start={}&end={}&step=50", second + 100, second + 200),
        false => format!("query?time={}", second + 100),
    };
    let expr = encode(&expr.replace("T100", &(second + 100).to_string()));
    let answer = server.get(&format!("/api/v1/{times}&query={expr}&stats={stats}"));
    let mut body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.status, 200, "{body}");
    (body["data"]["stats"].take(), body["warnings"].take())
}

#[test]
fn samples_are_counted_at_each_step_and_read_once() {
    let (server, start) = server_with_data("promql-per-step-stats");
    // Samples at the three steps, and samples that each step was the first to read.
    for (expr, at_steps, read_at) in [
        ("m_total", [1, 1, 1], [1, 1, 1]),
        ("m_total + m_total", [2, 2, 2], [2, 2, 2]),
        ("timestamp(m_total)", [1, 1, 1], [1, 1, 1]),
        ("1 + vector(2)", [0, 0, 0], [0, 0, 0]),
        ("rate(m_total[60s])", [6, 6, 6], [6, 5, 5]),
        ("sum(rate(m_total[20s]))", [2, 2, 2], [2, 2, 2]),
        ("m_total @ T100", [1, 1, 1], [1, 0, 0]),
        ("rate(m_total[60s] @ T100)", [6, 6, 6], [6, 0, 0]),
        ("max_over_time(m_total[60s:20s])", [3, 3, 3], [3, 2, 3]),
        ("max_over_time(m_total[20s:10s])", [2, 2, 2], [2, 2, 2]),
        ("max_over_time(m_total[60s:20s] offset 20s)", [3, 3, 3], [3, 2, 3]),
        ("max_over_time(rate(m_total[20s])[20s:10s])", [2, 2, 2], [3, 2, 2]),
        ("absent(missing)", [0, 0, 0], [0, 0, 0]),
    ] {
        let samples = stats_of(&server, start, expr, true, "all").0["samples"].take();
        let per_step = |counts: [u64; 3]| {
            let second = start / 1_000;
            json!([[second + 100, counts[0]], [second + 150, counts[1]], [second + 200, counts[2]]])
        };
        assert_eq!(samples["totalQueryableSamplesPerStep"], per_step(at_steps), "{expr}");
        assert_eq!(samples["samplesReadPerStep"], per_step(read_at), "{expr}");
        assert_eq!(samples["totalQueryableSamples"], at_steps.iter().sum::<u64>(), "{expr}");
        assert_eq!(samples["samplesRead"], read_at.iter().sum::<u64>(), "{expr}");
    }
    for (expr, queryable, read) in [
        ("m_total", 1, 1),
        ("m_total[60s]", 6, 6),
        ("m_total[60s:20s]", 3, 3),
        ("rate(m_total[60s])", 6, 6),
        ("max_over_time(m_total[60s:20s])", 3, 3),
        ("\"text\"", 0, 0),
    ] {
        let samples = stats_of(&server, start, expr, false, "all").0["samples"].take();
        assert_eq!(
            (&samples["totalQueryableSamples"], &samples["samplesRead"]),
            (&json!(queryable), &json!(read)),
            "{expr}"
        );
    }
}

#[test]
fn a_histogram_counts_as_the_samples_it_takes_the_room_of() {
    let (server, start) = server_with_data("");
    let labels = [("__name__", "h")];
    let series = proto::v1_series(&labels, &[]).message(4, proto::histogram(start + 100_000, 1, 2));
    assert_eq!(server.write(&proto::v1_request(&[series])).status, 204);
    // 168 bytes, 8 of time, and 8 for each of one span and two buckets: 200 bytes.
    for (expr, count) in [("h", 12), ("count_over_time(h[1m])", 12), ("timestamp(h)", 1)] {
        let stats = stats_of(&server, start, expr, false, "true").0;
        assert_eq!(stats["samples"]["totalQueryableSamples"], count, "{expr}");
    }
}

#[test]
fn steps_are_told_apart_only_with_the_flag_and_only_for_all() {
    for (features, stats, has_steps) in
        [("promql-per-step-stats", "all", true), ("promql-per-step-stats", "true", false), ("", "all", false)]
    {
        let (server, start) = server_with_data(features);
        let samples = stats_of(&server, start, "m_total", true, stats).0["samples"].take();
        assert_eq!(samples.get("samplesReadPerStep").is_some(), has_steps, "{features} {stats}");
        assert_eq!(samples.get("totalQueryableSamplesPerStep").is_some(), has_steps, "{features} {stats}");
    }
}

#[test]
fn an_odd_value_of_stats_is_taken_for_true_with_a_warning() {
    let (server, start) = server_with_data("");
    let warning = r#"value "yes" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#;
    let (stats, warnings) = stats_of(&server, start, "m_total", false, "yes");
    assert_eq!((stats["samples"]["samplesRead"].as_u64(), warnings), (Some(1), json!([warning])));
    assert_eq!(stats_of(&server, start, "m_total", false, ""), (Value::Null, Value::Null));
    assert_eq!(stats_of(&server, start, "m_total", false, "true").1, Value::Null);
}

#[test]
fn times_add_up() {
    let (server, start) = server_with_data("");
    let timings = stats_of(&server, start, "sum(rate(m_total[1m]))", true, "true").0["timings"].take();
    let seconds = |name: &str| timings[name].as_f64().unwrap();
    let parts = ["queryPreparationTime", "innerEvalTime", "resultSortTime"].map(seconds);
    assert!(parts[..2].iter().all(|part| *part > 0.0), "{timings}");
    assert!((seconds("evalTotalTime") - parts.iter().sum::<f64>()).abs() < 1e-6, "{timings}");
    let total = seconds("evalTotalTime") + seconds("execQueueTime");
    assert!((seconds("execTotalTime") - total).abs() < 1e-6, "{timings}");
}

#[test]
fn who_has_no_time_does_not_get_past_the_queue() {
    let server = Server::start(&[]);
    let answer = server.get("/api/v1/query?query=1&timeout=0");
    let error = r#"{"status":"error","errorType":"timeout","error":"query timed out in query queue"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (503, error));
}
