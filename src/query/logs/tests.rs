//! What queries of logs answer, through a store, from memory and from segments.

use super::testing::{Engine, Entry, SECOND, entries_query, entry};
use super::*;
use crate::model::NanoRange;
use crate::query::QueryError;

const JSON: &str = r#"{app="json"}"#;

fn entries() -> Vec<Entry> {
    vec![
        entry("json", 1, r#"{"level":"info","ms":10,"size":"1KB","took":"20ms"}"#, &[("user", "u1")]),
        entry("json", 2, r#"{"level":"error","ms":30,"app":"inner"}"#, &[("user", "u2")]),
        entry("json", 3, "no json", &[]),
        entry("json", 4, r#"{"level":"info","ms":"slow","size":"2KiB","took":"1.5s"}"#, &[]),
        entry("logfmt", 1, "level=info msg=\"a b\" ms=1", &[("k8s.node.name", "n1")]),
        entry("logfmt", 2, "level=warn ms=5 from 10.1.2.3", &[("k8s.node.name", "n2")]),
        entry("logfmt", 3, "level=warn ms=2 \u{1b}[31mred\u{1b}[0m", &[]),
    ]
}

/// Runs a claim about entries in memory, in segments, and in both.
fn everywhere(claim: impl Fn(&Engine)) {
    let engine = Engine::of(&entries());
    claim(&engine);
    engine.seal();
    claim(&engine);
    let (old, young): (Vec<_>, Vec<_>) = entries().into_iter().partition(|e| e.timestamp <= 2 * SECOND);
    let engine = Engine::of(&young);
    engine.seal();
    engine.write(&old);
    claim(&engine);
}

#[test]
fn stages_choose_and_change_lines() {
    everywhere(|engine| {
        for (stages, lines) in [
            (r#"|= "info" != "slow""#, vec![0]),
            (r#"|~ "err|no""#, vec![1, 2]),
            (r#"|= "nothing" or "error""#, vec![1]),
            (r#"| json | level="info""#, vec![0, 3]),
            (r#"| json | __error__="""#, vec![0, 1, 3]),
            (r#"| json | __error__="JSONParserErr""#, vec![2]),
            (r#"| json | ms > 20"#, vec![1, 2, 3]),
            (r#"| json | ms > 20 | __error__="""#, vec![1]),
            (r#"| json | took > 1s | __error__="""#, vec![3]),
            (r#"| json | size >= 1KB and size < 2KiB | __error__="""#, vec![0]),
            (r#"| json | app_extracted="inner""#, vec![1]),
            (r#"| user="u2""#, vec![1]),
            (r#"| user=~"u.""#, vec![0, 1]),
            (r#"| user="""#, vec![2, 3]),
            (r#"|> "<_>level<_>error<_>""#, vec![1]),
        ] {
            let all = entries();
            let expected: Vec<String> = lines.iter().map(|&line: &usize| all[line].line.clone()).collect();
            assert_eq!(engine.lines(&format!("{JSON} {stages}")), expected, "{stages}");
        }
        let changed = |expr: &str| engine.lines(&format!(r#"{{app="logfmt"}} {expr}"#));
        assert_eq!(changed(r#"| logfmt | line_format "{{.level}}-{{.ms}}""#), ["info-1", "warn-5", "warn-2"]);
        assert_eq!(changed(r#"|= "red" | decolorize |= "2 red""#), ["level=warn ms=2 red"]);
        assert_eq!(changed(r#"|= ip("10.0.0.0/8")"#), ["level=warn ms=5 from 10.1.2.3"]);
        assert_eq!(changed(r#"| k8s_node_name="n1" | line_format "x""#), ["x"]);
        assert_eq!(
            changed(r#"| pattern "level=<l> ms=<ms> <_>" | l="warn" | line_format "{{.ms}}""#),
            ["5", "2"]
        );
        assert_eq!(changed(r#"| regexp "ms=(?P<n>\\d+)" | n >= 2 | line_format "{{.n}}""#), ["5", "2"]);
        assert_eq!(
            changed(
                r#"| logfmt | label_format x=level, y="{{.ms}}!" | x="info" | line_format "{{.y}}{{.level}}""#
            ),
            ["1!"]
        );
    });
}

/// As long as the text may be. A worker thread has as much of a stack as a test's.
#[test]
fn chains_of_many_operators_are_answered_or_refused() {
    let chain = |unit: &str, sign: &str, count: usize| vec![unit; count].join(sign);
    everywhere(|engine| {
        let lines = |stage: &str, count: usize| {
            assert_eq!(engine.lines(&format!("{JSON} {stage}")).len(), count, "{}", &stage[..20]);
        };
        lines(&format!("|= {} or \"info\"", chain("\"nothing\"", " or ", 1000)), 2);
        lines(&format!("!= {} or \"info\"", chain("\"nothing\"", " or ", 1000)), 2);
        lines(&format!("| json | level=\"info\" or {}", chain("ms=\"77\"", " or ", 1000)), 2);
        lines(&format!("| json | {}", chain("ms=\"10\"", " and ", 1000)), 1);
        lines(&format!("| json | {}", chain("ms=\"10\"", ", ", 1000)), 1);
        lines(&format!("| json | {}", chain("ms=\"30\" or ms=\"10\"", ", ", 60)), 2);
        let sum = |sign: &str, count| {
            engine.vector(&chain(r#"sum(count_over_time({app="json"}[10s]))"#, sign, count), 5)
        };
        assert_eq!(sum(" or ", 250).unwrap(), ["{} 4"]);
        assert_eq!(sum(" + ", 250).unwrap(), ["{} 1000"]);
        assert!(sum(" or ", 300).is_err());
        let count = |app| format!("sum by (app) (count_over_time({{app=~\"{app}\"}}[10s]))");
        let united = format!("{} or {} or vector(7)", count("logfmt"), count(".+"));
        assert_eq!(engine.vector(&united, 5).unwrap(), [r#"{app="json"} 4"#, r#"{app="logfmt"} 3"#, "{} 7"]);
    });
}

#[test]
fn labels_of_an_entry_are_told_apart_by_where_they_come_from() {
    everywhere(|engine| {
        let expr = format!(r#"{JSON} | json level="level", app="app" | user="u2""#);
        let streams = engine.entries(&expr, Direction::Backward, 10);
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[0].labels.to_string(), r#"{app="json"}"#);
        let entry = &streams[0].entries[0];
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        assert_eq!(entry.metadata, pairs(&[("user", "u2")]));
        assert_eq!(entry.parsed, pairs(&[("app_extracted", "inner"), ("level", "error")]));
        let dropped =
            engine.entries(&format!("{JSON} | drop app | json | keep level"), Direction::Forward, 1);
        assert_eq!(dropped[0].labels.to_string(), "{}");
        assert_eq!(dropped[0].entries[0].parsed, pairs(&[("level", "info")]));
    });
}

#[test]
fn metadata_that_differs_only_before_it_is_sanitised_is_told_apart_in_memory_and_in_segments() {
    let sent = [
        entry("a", 1, "dotted first", &[("x.y", "dotted"), ("x_y", "exact")]),
        entry("a", 2, "exact first", &[("x_y", "exact"), ("x.y", "dotted")]),
        entry("a", 3, "dotted alone", &[("x.y", "dotted")]),
    ];
    let engine = Engine::of(&sent);
    for _ in ["in memory", "in segments"] {
        let lines = |filter: &str| engine.lines(&format!(r#"{{app="a"}} | {filter}"#));
        assert_eq!(lines(r#"x_y="exact""#), ["dotted first", "exact first"]);
        assert_eq!(lines(r#"x_y="dotted""#), ["dotted alone"]);
        assert_eq!(lines(r#"x_y_extracted="dotted""#), ["dotted first", "exact first"]);
        assert_eq!(lines(r#"x_y=~"d.*""#), ["dotted alone"]);
        let counts = engine.vector(r#"sum by (x_y) (count_over_time({app="a"}[10s]))"#, 5).unwrap();
        assert_eq!(counts, [r#"{x_y="dotted"} 1"#, r#"{x_y="exact"} 2"#]);
        engine.seal();
    }
}

#[test]
fn entries_of_one_instant_come_in_order_of_arrival_or_against_it() {
    let engine = Engine::new();
    let same = |line: &str| entry("a", 5, line, &[]);
    engine.write(&[same("1"), same("2"), entry("a", 4, "0", &[])]);
    engine.write(&[same("3")]);
    let lines = |direction, limit| -> Vec<String> {
        let streams = engine.entries(r#"{app="a"}"#, direction, limit);
        streams[0].entries.iter().map(|entry| entry.line.clone()).collect()
    };
    assert_eq!(lines(Direction::Forward, 10), ["0", "1", "2", "3"]);
    assert_eq!(lines(Direction::Forward, 2), ["0", "1"]);
    assert_eq!(lines(Direction::Backward, 10), ["3", "2", "1", "0"]);
    assert_eq!(lines(Direction::Backward, 2), ["3", "2"]);
}

#[test]
fn entries_that_are_too_close_to_the_one_before_are_left_out_where_that_is_asked_for() {
    let entries: Vec<Entry> = (0..20).map(|second| entry("a", second, &second.to_string(), &[])).collect();
    let engine = Engine::of(&entries);
    let thinned = |direction, limit| -> Vec<String> {
        let request = LogQuery { interval_ns: 7 * SECOND, ..entries_query(r#"{app="a"}"#, direction, limit) };
        let LogValue::Streams(streams) = engine.ask(&request).unwrap().value else { panic!("entries") };
        streams[0].entries.iter().map(|entry| entry.line.clone()).collect()
    };
    assert_eq!(thinned(Direction::Forward, 10), ["0", "7", "14"]);
    assert_eq!(thinned(Direction::Backward, 2), ["19", "12"]);
}

#[test]
fn metrics_of_entries() {
    everywhere(|engine| {
        for (expr, expected) in [
            (
                r#"count_over_time({app="logfmt"}[3s])"#,
                vec![r#"{app="logfmt", k8s_node_name="n2"} 1"#, r#"{app="logfmt"} 1"#],
            ),
            (
                r#"sum by (app) (count_over_time({app=~".+"}[1h]))"#,
                vec![r#"{app="json"} 4"#, r#"{app="logfmt"} 3"#],
            ),
            (r#"sum(rate({app=~".+"} |= "level" [10s]))"#, vec!["{} 0.6"]),
            (r#"sum(count_over_time({app="json"} | json [1h]))"#, vec!["{} 4"]),
            (
                r#"sum by (level) (count_over_time({app="logfmt"} | logfmt [1h]))"#,
                vec![r#"{level="info"} 1"#, r#"{level="warn"} 2"#],
            ),
            (r#"bytes_over_time({app="json"} |= "no json" [1h])"#, vec![r#"{app="json"} 7"#]),
            (r#"sum(bytes_rate({app="json"} |= "no json" | line_format "1234567890" [10s]))"#, vec!["{} 1"]),
            (
                r#"sum_over_time({app="logfmt"} | logfmt | drop k8s_node_name, msg | unwrap ms [1h])"#,
                vec![r#"{app="logfmt", level="info"} 1"#, r#"{app="logfmt", level="warn"} 7"#],
            ),
            (
                r#"max_over_time({app="logfmt"} | logfmt | unwrap ms [1h]) by (app)"#,
                vec![r#"{app="logfmt"} 5"#],
            ),
            (
                r#"first_over_time({app="logfmt"} | logfmt | unwrap ms [1h]) by (level)"#,
                vec![r#"{level="info"} 1"#, r#"{level="warn"} 5"#],
            ),
            (
                r#"last_over_time({app="logfmt"} | logfmt | unwrap ms [1h]) by (level)"#,
                vec![r#"{level="info"} 1"#, r#"{level="warn"} 2"#],
            ),
            (r#"quantile_over_time(0.5, {app="logfmt"} | logfmt | unwrap ms [1h]) by ()"#, vec!["{} 2"]),
            (
                r#"rate({app="logfmt"} | logfmt | level="warn" | drop k8s_node_name | unwrap ms [10s])"#,
                vec![r#"{app="logfmt", level="warn"} 0.7"#],
            ),
            (
                r#"sum by (app) (sum_over_time({app="json"} | json | unwrap duration(took) | __error__="" [1h]))"#,
                vec![r#"{app="json"} 1.52"#],
            ),
            (
                r#"sum(sum_over_time({app="json"} | json | unwrap bytes(size) | __error__="" [1h]))"#,
                vec!["{} 3048"],
            ),
            (
                r#"sum by (__error__) (count_over_time({app="json"} | json | __error__!="" [1h]))"#,
                vec![r#"{__error__="JSONParserErr"} 1"#],
            ),
            (r#"absent_over_time({app="none"}[1h])"#, vec![r#"{app="none"} 1"#]),
            (r#"absent_over_time({app="json"}[1h])"#, vec![]),
            (r#"count_over_time({app="none"}[1h])"#, vec![]),
            (r#"sum(count_over_time({app="logfmt"}[1s] offset 2s))"#, vec!["{} 1"]),
            (r#"topk(1, sum by (app) (count_over_time({app=~".+"}[1h])))"#, vec![r#"{app="json"} 4"#]),
            (r#"sum by (app) (count_over_time({app=~".+"}[1h])) > 3"#, vec![r#"{app="json"} 4"#]),
            (
                r#"sum by (app) (count_over_time({app=~".+"}[1h])) / on(app) sum by (app) (count_over_time({app="json"}[1h]))"#,
                vec![r#"{app="json"} 1"#],
            ),
            (r#"sum(count_over_time({app="json"}[1h])) / 0"#, vec!["{} NaN"]),
            (
                r#"label_replace(sum by (app) (count_over_time({app="json"}[1h])), "x", "$1!", "app", "(.)son")"#,
                vec![r#"{app="json", x="j!"} 4"#],
            ),
            (
                r#"sort_desc(sum by (app) (count_over_time({app=~".+"}[1h])))"#,
                vec![r#"{app="json"} 4"#, r#"{app="logfmt"} 3"#],
            ),
            ("vector(1) + vector(1)", vec!["{} 2"]),
            ("2 * 3 > 5", vec!["1"]),
        ] {
            assert_eq!(engine.vector(expr, 4).unwrap(), expected, "{expr}");
        }
    });
}

#[test]
fn an_error_that_nobody_filters_ends_a_metric_query() {
    everywhere(|engine| {
        for expr in [
            r#"sum by (level) (count_over_time({app="json"} | json [1h]))"#,
            r#"sum_over_time({app="json"} | json | unwrap ms [1h])"#,
        ] {
            let Err(QueryError::BadData(text)) = engine.vector(expr, 4) else { panic!("{expr}") };
            assert!(text.starts_with("pipeline error: '"), "{text}");
        }
        let outside = r#"sum by (level) (count_over_time({app="json"} | json [1s]))"#;
        assert_eq!(
            engine.vector(outside, 2).unwrap(),
            [r#"{level="error"} 1"#],
            "the broken line is not seen"
        );
    });
}

#[test]
fn what_cannot_be_asked_is_refused_with_a_reason() {
    let engine = Engine::of(&entries());
    let refused = |request: LogQuery| match engine.ask(&request) {
        Err(QueryError::BadData(text)) => text,
        other => panic!("{other:?}"),
    };
    let query = entries_query(JSON, Direction::Forward, 5_001);
    assert!(refused(query.clone()).contains("max_entries_limit_per_query (5001 > 5000)"));
    assert!(refused(LogQuery { step_ns: 0, ..query.clone() }).contains("instant query type"));
    let metric = LogQuery { expr: "vector(1)".into(), step_ns: 1, ..query.clone() };
    assert!(refused(metric).contains("whole milliseconds"));
    assert!(refused(LogQuery { expr: "{".into(), ..query }).contains("parse error"));
}

#[test]
fn a_scan_ends_at_the_bytes_it_may_look_at() {
    let engine = Engine::of(&entries());
    let limits = crate::query::budget::Limits {
        samples_max: 1,
        series_max: 10,
        bytes_max: 1 << 20,
        log_bytes_max: 10,
    };
    let budget =
        crate::query::Budget::new(std::time::Instant::now() + std::time::Duration::from_secs(9), limits);
    let error = engine.querier.logs(&entries_query(JSON, Direction::Forward, 1), &budget).unwrap_err();
    assert!(error.to_string().contains("--query.max-log-bytes"), "{error}");
}

#[test]
fn labels_streams_and_sizes_come_from_the_index() {
    everywhere(|engine| {
        let budget = Engine::budget();
        let range = NanoRange::closed(0, 10 * SECOND);
        let querier = &engine.querier;
        assert_eq!(querier.log_label_names(None, range, &budget).unwrap().items, ["app"]);
        let values = querier.log_label_values("app", Some(r#"{app!="json"}"#), range, &budget).unwrap();
        assert_eq!(values.items, ["logfmt"]);
        let series = querier.log_series(&[JSON.into(), "{}".into()], range, &budget).unwrap().items;
        assert_eq!(
            series.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [r#"{app="json"}"#, r#"{app="logfmt"}"#]
        );
        let stats = querier.log_stats(JSON, range, &budget).unwrap();
        let bytes: usize =
            entries().iter().filter(|e| e.labels.get("app") == "json").map(|e| e.line.len()).sum();
        assert_eq!((stats.streams, stats.entries, stats.bytes), (1, 4, bytes as u64));
        let labels = querier.detected_labels(None, range, &budget).unwrap();
        assert_eq!(labels, [DetectedLabel { label: "app".into(), cardinality: 2 }]);
        let request = VolumeQuery {
            expr: r#"{app=~".+"}"#.into(),
            start: 0,
            end: 10 * SECOND,
            step_ns: 0,
            limit: 10,
            target_labels: Vec::new(),
            aggregate_by: AggregateBy::Series,
        };
        let LogValue::Metric(QueryValue::Vector(volumes)) =
            querier.log_volume(&request, &budget).unwrap().value
        else {
            panic!("a vector")
        };
        assert_eq!(
            volumes.iter().map(|v| v.labels.to_string()).collect::<Vec<_>>(),
            [r#"{app="json"}"#, r#"{app="logfmt"}"#]
        );
    });
}

#[test]
fn fields_are_detected_in_the_newest_entries() {
    everywhere(|engine| {
        let request = DetectedFieldsQuery {
            expr: r#"{app="logfmt"}"#.into(),
            start: 0,
            end: 10 * SECOND,
            line_limit: 100,
            limit: 100,
        };
        let fields = engine.querier.detected_fields(&request, &Engine::budget()).unwrap();
        let seen: Vec<_> = fields.iter().map(|f| (f.label.as_str(), f.field_type, f.cardinality)).collect();
        assert_eq!(
            seen,
            [
                ("k8s_node_name", FieldType::String, 2),
                ("level", FieldType::String, 2),
                ("ms", FieldType::Int, 3),
                ("msg", FieldType::String, 1),
            ]
        );
        let values = engine.querier.detected_field_values("level", &request, &Engine::budget()).unwrap();
        assert_eq!(values, ["info", "warn"]);
    });
}

#[test]
fn a_tail_shows_what_passes() {
    use crate::storage::logs::{LogRows, StreamRows};
    let engine = Engine::new();
    let mut tail = engine.querier.tail_logs(r#"{app="a"} |= "x" | line_format "<{{.user}}>""#).unwrap();
    let mut rows = StreamRows::new(crate::model::Labels::from_sorted([("app", "a")]));
    rows.push(1, "x", [("user", "u")]);
    rows.push(2, "y", []);
    let mut other = StreamRows::new(crate::model::Labels::from_sorted([("app", "b")]));
    other.push(1, "x", []);
    let shown = tail.run(&LogRows { streams: vec![other, rows] }, 0);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].entries.iter().map(|e| e.line.as_str()).collect::<Vec<_>>(), ["<u>"]);
    assert!(engine.querier.tail_logs("vector(1)").is_err());
}
