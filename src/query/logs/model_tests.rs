//! Random queries against a plain model: every entry, one after the other, through the simplest code there is.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::testing::{Engine, Entry, SECOND};
use super::{Direction, LogQuery, LogValue};
use crate::model::{Labels, Nanos};
use crate::query::QueryValue;

/// Label name to value, and what it is of: `s`tream, `m`etadata or `p`arsed.
type Map = BTreeMap<String, (String, char)>;

#[derive(Clone, Debug)]
struct Passed {
    timestamp: Nanos,
    line: String,
    labels: Map,
}

/// Entries of four streams over 200 s; each third broken or of another format than its neighbours.
fn entries() -> Vec<Entry> {
    let mut random = 12_345u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut all = Vec::new();
    for i in 0..600 {
        let (app, pod) = (["a", "b"][next(2) as usize], ["p0", "p1"][next(2) as usize]);
        let level = ["info", "warn", "error"][next(3) as usize];
        let ms = next(100);
        let line = match next(7) {
            0 => format!("plain {level} text {ms}"),
            1 => format!("{{broken {level}"),
            2 | 3 => format!("level={level} ms={ms} pod=inner"),
            _ => format!(r#"{{"level":"{level}","ms":{ms},"pod":"inner","o":{{"x":"{i}"}}}}"#),
        };
        let mut metadata = vec![("trace.id".to_owned(), format!("t{}", next(20)))];
        if next(2) == 0 {
            metadata.push(("user".to_owned(), format!("u{}", next(3))));
        }
        let timestamp = next(200) as i64 * SECOND + i;
        let labels = Labels::from_sorted([("app", app), ("pod", pod)]);
        all.push(Entry { labels, timestamp, line, metadata });
    }
    all
}

#[derive(Clone, Debug)]
enum Stage {
    Contains(&'static str),
    Lacks(&'static str),
    Json,
    JsonLevel,
    Logfmt,
    Equals(&'static str, &'static str),
    AtLeast(&'static str, u32),
    NoError,
    Drop(&'static str),
    Rename,
    Format,
}

impl Stage {
    fn text(&self) -> String {
        match self {
            Stage::Contains(text) => format!(r#"|= "{text}""#),
            Stage::Lacks(text) => format!(r#"!= "{text}""#),
            Stage::Json => "| json".into(),
            Stage::JsonLevel => r#"| json lvl="level", ms="ms""#.into(),
            Stage::Logfmt => "| logfmt".into(),
            Stage::Equals(name, value) => format!(r#"| {name}="{value}""#),
            Stage::AtLeast(name, number) => format!("| {name} >= {number}"),
            Stage::NoError => r#"| __error__="""#.into(),
            // The filter lets all lines pass: behind `drop level`, `!= "x"` would be a condition on the label.
            Stage::Drop(name) => format!(r#"| drop {name} |= """#),
            Stage::Rename => "| label_format lvl=level".into(),
            Stage::Format => r#"| line_format "{{.level}}/{{.user}}""#.into(),
        }
    }

    /// Whether the entry passes.
    fn run(&self, entry: &mut Passed, base: &Map) -> bool {
        let get = |labels: &Map, name: &str| labels.get(name).map(|(value, _)| value.clone());
        let labels = &mut entry.labels;
        match self {
            Stage::Contains(text) => entry.line.contains(text),
            Stage::Lacks(text) => !entry.line.contains(text),
            Stage::Equals(name, value) => get(labels, name).unwrap_or_default() == *value,
            Stage::NoError => !labels.contains_key("__error__"),
            Stage::AtLeast(name, number) => {
                let Some(text) = get(labels, name) else { return labels.contains_key("__error__") };
                if labels.contains_key("__error__") {
                    return true;
                }
                match text.parse::<f64>() {
                    Ok(value) => value >= f64::from(*number),
                    Err(_) => {
                        labels.insert("__error__".into(), ("LabelFilterErr".into(), 'p'));
                        true
                    }
                }
            }
            Stage::Drop(name) => {
                labels.remove(*name);
                true
            }
            Stage::Rename => {
                if let Some(value) = labels.remove("level") {
                    labels.insert("lvl".into(), value);
                }
                true
            }
            Stage::Format => {
                let of = |name| get(labels, name).unwrap_or_default();
                entry.line = format!("{}/{}", of("level"), of("user"));
                true
            }
            Stage::Json | Stage::JsonLevel if entry.line.is_empty() => true,
            Stage::Json => {
                match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&entry.line) {
                    Ok(object) => {
                        for (name, value) in flat(object) {
                            find(labels, base, &name, &value, false);
                        }
                    }
                    Err(_) => drop(labels.insert("__error__".into(), ("JSONParserErr".into(), 'p'))),
                }
                true
            }
            Stage::JsonLevel => {
                match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&entry.line) {
                    Ok(object) => {
                        let found: BTreeMap<String, String> = flat(object).into_iter().collect();
                        for (label, key) in [("lvl", "level"), ("ms", "ms")] {
                            match found.get(key) {
                                Some(value) => find(labels, base, label, value, true),
                                None if labels.contains_key(label) => {}
                                None => find(labels, base, label, "", true),
                            }
                        }
                    }
                    Err(_) => drop(labels.insert("__error__".into(), ("JSONParserErr".into(), 'p'))),
                }
                true
            }
            Stage::Logfmt => {
                for pair in entry.line.split_whitespace() {
                    let good = pair.split_once('=').filter(|(key, value)| {
                        !key.is_empty() && !value.is_empty() && !pair.contains('"') && !value.contains('=')
                    });
                    if let Some((key, value)) = good {
                        find(labels, base, key, value, false);
                    }
                }
                true
            }
        }
    }
}

fn flat(object: serde_json::Map<String, serde_json::Value>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in object {
        match value {
            serde_json::Value::Object(inner) => {
                all.extend(flat(inner).into_iter().map(|(under, value)| (format!("{name}_{under}"), value)));
            }
            serde_json::Value::String(text) => all.push((name, text)),
            other => all.push((name, other.to_string())),
        }
    }
    all
}

/// Of two finds the first counts, unless the second was asked for. Names that the entry came with are not taken.
fn find(labels: &mut Map, base: &Map, name: &str, value: &str, is_asked: bool) {
    let name = if base.contains_key(name) { format!("{name}_extracted") } else { name.to_owned() };
    if is_asked || !labels.contains_key(&name) {
        labels.insert(name, (value.to_owned(), 'p'));
    }
}

/// All entries that pass, in order of time.
fn passed(entries: &[Entry], app: Option<&str>, stages: &[Stage]) -> Vec<Passed> {
    let mut all = Vec::new();
    for entry in entries.iter().filter(|entry| app.is_none_or(|app| entry.labels.get("app") == app)) {
        let stream = entry.labels.iter().map(|(n, v)| (n.to_owned(), (v.to_owned(), 's')));
        let metadata = entry.metadata.iter().map(|(n, v)| (n.replace('.', "_"), (v.clone(), 'm')));
        let base: Map = stream.chain(metadata).collect();
        let mut passed =
            Passed { timestamp: entry.timestamp, line: entry.line.clone(), labels: base.clone() };
        if stages.iter().all(|stage| stage.run(&mut passed, &base)) {
            all.push(passed);
        }
    }
    all.sort_by_key(|entry| entry.timestamp);
    all
}

fn any_stage() -> impl Strategy<Value = Stage> {
    let word = || prop::sample::select(vec!["error", "info", "ms", "{", "plain", "1"]);
    prop_oneof![
        word().prop_map(Stage::Contains),
        word().prop_map(Stage::Lacks),
        Just(Stage::Json),
        Just(Stage::JsonLevel),
        Just(Stage::Logfmt),
        prop::sample::select(vec![
            ("level", "info"),
            ("lvl", "warn"),
            ("pod", "p0"),
            ("pod_extracted", "inner"),
            ("user", "u1"),
            ("user", ""),
            ("trace_id", "t3"),
        ])
        .prop_map(|(name, value)| Stage::Equals(name, value)),
        (prop::sample::select(vec!["ms", "o_x", "level"]), 0u32..100).prop_map(|(n, v)| Stage::AtLeast(n, v)),
        Just(Stage::NoError),
        prop::sample::select(vec!["level", "pod", "user"]).prop_map(Stage::Drop),
        Just(Stage::Rename),
        Just(Stage::Format),
    ]
}

fn any_pipeline() -> impl Strategy<Value = (Option<&'static str>, Vec<Stage>)> {
    (prop::sample::select(vec![None, Some("a")]), prop::collection::vec(any_stage(), 0..5))
}

fn text_of(app: Option<&str>, stages: &[Stage]) -> String {
    let selector = app.map_or(r#"{app=~".+"}"#.to_owned(), |app| format!(r#"{{app="{app}"}}"#));
    let stages: Vec<String> = stages.iter().map(Stage::text).collect();
    format!("{selector} {}", stages.join(" "))
}

/// Half of the entries in segments, a quarter sealed later, the rest in memory.
fn engine(entries: &[Entry]) -> Engine {
    let engine = Engine::of(&entries[..300]);
    engine.seal();
    engine.write(&entries[300..450]);
    engine.seal();
    engine.write(&entries[450..]);
    engine
}

fn check<S: Strategy>(cases: u32, strategy: S, claim: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&strategy, claim).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_log_queries_find_what_a_plain_scan_finds() {
    let entries = entries();
    let engine = engine(&entries);
    let limits = prop::sample::select(vec![1usize, 7, 50, 5_000]);
    let edges = (0i64..200, 0i64..220);
    check(300, (any_pipeline(), limits, any::<bool>(), edges), |((app, stages), limit, forward, edges)| {
        let (start, end) = (edges.0 * SECOND, edges.1 * SECOND);
        let direction = if forward { Direction::Forward } else { Direction::Backward };
        let expr = text_of(app, &stages);
        let request =
            LogQuery { expr: expr.clone(), start, end, step_ns: 1, interval_ns: 0, direction, limit, now: 0 };
        let LogValue::Streams(streams) = engine.ask(&request).unwrap().value else { panic!("{expr}") };
        let mut seen = Vec::new();
        for stream in &streams {
            for entry in &stream.entries {
                let mut labels: Map =
                    stream.labels.iter().map(|(n, v)| (n.to_owned(), (v.to_owned(), 's'))).collect();
                let tagged = |pairs: &[(String, String)], kind| -> Vec<_> {
                    pairs.iter().map(|(n, v)| (n.clone(), (v.clone(), kind))).collect()
                };
                labels.extend(tagged(&entry.metadata, 'm'));
                labels.extend(tagged(&entry.parsed, 'p'));
                labels.remove("__error_details__");
                seen.push((entry.timestamp, entry.line.clone(), labels));
            }
        }
        let mut expected: Vec<_> = passed(&entries, app, &stages)
            .into_iter()
            .filter(|entry| start <= entry.timestamp && entry.timestamp < end)
            .map(|entry| (entry.timestamp, entry.line, entry.labels))
            .collect();
        if !forward {
            expected.reverse();
        }
        expected.truncate(limit);
        expected.sort();
        seen.sort();
        prop_assert_eq!(seen, expected, "{}", expr);
        Ok(())
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outer {
    None,
    Sum,
    Max,
    Count,
}

/// What a series is at each step.
type Rows = BTreeMap<Vec<(String, String)>, Vec<Option<f64>>>;

fn grouped(labels: &[(String, String)], by: &[&str]) -> Vec<(String, String)> {
    labels.iter().filter(|(name, _)| by.contains(&name.as_str())).cloned().collect()
}

fn value_of(op: &str, range_seconds: f64, entries: &[&Passed]) -> Option<f64> {
    let values: Vec<f64> =
        entries.iter().map(|e| e.labels.get("ms").map_or(0.0, |(v, _)| v.parse().unwrap_or(0.0))).collect();
    let bytes = entries.iter().map(|entry| entry.line.len()).sum::<usize>() as f64;
    if entries.is_empty() {
        return None;
    }
    Some(match op {
        "count_over_time" => entries.len() as f64,
        "rate" => entries.len() as f64 / range_seconds,
        "bytes_over_time" => bytes,
        "bytes_rate" => bytes / range_seconds,
        "sum_over_time" => values.iter().sum(),
        "max_over_time" => values.iter().copied().fold(f64::MIN, f64::max),
        "first_over_time" => values[0],
        "last_over_time" => values[values.len() - 1],
        _ => unreachable!("no such operation"),
    })
}

#[test]
fn random_metric_queries_count_what_a_plain_scan_counts() {
    let entries = entries();
    let engine = engine(&entries);
    let ops = vec![
        "count_over_time",
        "rate",
        "bytes_over_time",
        "bytes_rate",
        "sum_over_time",
        "max_over_time",
        "first_over_time",
        "last_over_time",
    ];
    let outer = prop::sample::select(vec![Outer::None, Outer::Sum, Outer::Max, Outer::Count]);
    let shape = (prop::sample::select(vec![5i64, 60, 150]), prop::sample::select(vec![7i64, 60]), 0i64..40);
    let by = prop::sample::select(vec![vec!["app"], vec!["level", "user"], vec!["lvl", "pod"]]);
    let query = (any_pipeline(), prop::sample::select(ops), outer, by, shape);
    check(400, query, |((app, mut stages), op, outer, by, (range, step, offset))| {
        // An error that no filter asks for ends the query; that is claimed elsewhere.
        stages.push(Stage::NoError);
        let unwraps = op.ends_with("_over_time") && !["count_over_time", "bytes_over_time"].contains(&op);
        let unwrap = if unwraps { r#"| unwrap ms | __error__="""# } else { "" };
        let inner = format!("{op}({} {unwrap} [{range}s] offset {offset}s)", text_of(app, &stages));
        let expr = match outer {
            Outer::None => inner,
            Outer::Sum => format!("sum by ({}) ({inner})", by.join(",")),
            Outer::Max => format!("max by ({}) ({inner})", by.join(",")),
            Outer::Count => format!("count by ({}) ({inner})", by.join(",")),
        };
        let (start, end) = (30 * SECOND, 230 * SECOND);
        let request = LogQuery {
            expr: expr.clone(),
            start,
            end,
            step_ns: step * SECOND,
            interval_ns: 0,
            direction: Direction::Forward,
            limit: 0,
            now: 0,
        };
        let LogValue::Metric(QueryValue::Matrix(matrix)) = engine.ask(&request).unwrap().value else {
            panic!("{expr}")
        };
        let steps = ((end - start) / (step * SECOND) + 1) as usize;
        let mut seen: Rows = Rows::new();
        for series in &matrix {
            let row = seen
                .entry(series.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
                .or_insert_with(|| vec![None; steps]);
            for (time, value) in &series.floats {
                row[((time - start / 1_000_000) / (step * 1_000)) as usize] = Some(*value);
            }
        }
        let mut groups: BTreeMap<Vec<(String, String)>, Vec<Passed>> = BTreeMap::new();
        for mut entry in passed(&entries, app, &stages) {
            let is_number = entry.labels.get("ms").is_some_and(|(text, _)| text.parse::<f64>().is_ok());
            if unwraps && !is_number {
                continue;
            }
            let ms = entry.labels.get("ms").cloned();
            if unwraps {
                entry.labels.remove("ms");
            }
            let all = entry.labels.iter().filter(|(_, (v, _))| !v.is_empty());
            let labels: Vec<_> = all.map(|(n, (v, _))| (n.clone(), v.clone())).collect();
            // Summing sums over the entries of a group is what the sum over the group is.
            let key = if outer == Outer::Sum && !op.starts_with(['m', 'f', 'l']) {
                grouped(&labels, &by)
            } else {
                labels
            };
            entry.labels.extend(ms.map(|ms| ("ms".to_owned(), ms)));
            groups.entry(key).or_default().push(entry);
        }
        let mut expected: Rows = Rows::new();
        for (labels, entries) in &groups {
            for step_at in 0..steps {
                let until = start + step_at as i64 * step * SECOND - offset * SECOND;
                let inside = |e: &&Passed| until - range * SECOND < e.timestamp && e.timestamp <= until;
                let window: Vec<&Passed> = entries.iter().filter(inside).collect();
                let Some(value) = value_of(op, range as f64, &window) else { continue };
                let key = if outer == Outer::None { labels.clone() } else { grouped(labels, &by) };
                let cell = &mut expected.entry(key).or_insert_with(|| vec![None; steps])[step_at];
                *cell = Some(match (outer, *cell) {
                    (Outer::Count, before) => before.unwrap_or(0.0) + 1.0,
                    (_, None) => value,
                    (Outer::Max, Some(before)) => before.max(value),
                    (_, Some(before)) => before + value,
                });
            }
        }
        prop_assert_eq!(seen.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{}", expr);
        for (labels, row) in &expected {
            for (step, (ours, plain)) in seen[labels].iter().zip(row).enumerate() {
                let is_same = match (ours, plain) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
                    (a, b) => a == b,
                };
                prop_assert!(is_same, "{} {:?} step {}: {:?} {:?}", expr, labels, step, ours, plain);
            }
        }
        Ok(())
    });
}
