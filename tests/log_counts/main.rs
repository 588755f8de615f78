//! Answers about a log workload equal a plain scan of the same lines: for every filter and parser, and for selectors
//! and pipelines made at random. The lines lie half in files and half in memory, then all in one file.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
mod lines;
mod model;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::{Value, json};

use common::{Server, encode, now_ms};
use lines::{Entry, Random};
use model::{Kept, Matcher, Pipeline, Stage};

const LINES: usize = 2_000;
const RANDOM_PIPELINES: usize = 100;
const MINUTE: i64 = 60_000_000_000;

struct World {
    server: Server,
    entries: Vec<Entry>,
    /// The last entry's time, a whole minute.
    end: i64,
    /// What was answered otherwise than the scan says.
    wrong: RefCell<Vec<String>>,
}

impl World {
    fn new() -> World {
        let end = now_ms() / 60_000 * MINUTE;
        let entries = lines::generate(7, LINES, end);
        let server = Server::start(&[]);
        let (older, newer) = entries.split_at(LINES / 2);
        push(&server, older);
        maintain(&server, "flush");
        push(&server, newer);
        World { server, entries, end, wrong: RefCell::default() }
    }

    fn query(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let form = pairs.collect::<Vec<_>>().join("&");
        let answer = self.server.post_form(&format!("/loki/api/v1/{path}"), &form);
        if answer.status != 200 {
            self.wrong.borrow_mut().push(format!("{parameters:?}: {}", answer.body));
            return json!([]);
        }
        let mut body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body.get("warnings"), None, "{parameters:?}");
        body["data"]["result"].take()
    }

    fn compare<T: PartialEq + Debug>(&self, what: &str, found: T, expected: T) {
        if found != expected {
            self.wrong.borrow_mut().push(format!("{what}: {found:?} and not {expected:?}"));
        }
    }

    /// The instant vector of an expression at the end of the workload, by its labels.
    fn vector(&self, expr: &str) -> BTreeMap<String, f64> {
        let result = self.query("query", &[("query", expr), ("time", &self.end.to_string())]);
        let sample = |sample: &Value| {
            (sample["metric"].to_string(), sample["value"][1].as_str().unwrap().parse().unwrap())
        };
        result.as_array().unwrap().iter().map(sample).collect()
    }

    fn assert_same_count(&self, pipeline: &Pipeline) {
        let expected = pipeline.scan(&self.entries).len() as f64;
        let expr = format!("sum(count_over_time({} [2h]))", pipeline.text());
        self.compare(&expr, self.vector(&expr).get("{}").copied().unwrap_or(0.0), expected);
    }

    fn assert_same_groups(&self, pipeline: &Pipeline, by: &str) {
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        for kept in pipeline.scan(&self.entries) {
            let group = match kept.labels.get(by) {
                Some(value) => json!({by: value}),
                None => json!({}),
            };
            *expected.entry(group.to_string()).or_default() += 1.0;
        }
        let expr = format!("sum by ({by}) (count_over_time({} [2h]))", pipeline.text());
        self.compare(&expr, self.vector(&expr), expected);
    }

    /// An aggregation of a field, within what the order of additions may change.
    fn assert_same_numbers(&self, pipeline: &Pipeline, field: &str, aggregate: &str) {
        let kept = pipeline.scan(&self.entries);
        let numbers: Vec<f64> =
            kept.iter().filter_map(|kept| kept.labels.get(field)).map(|text| text.parse().unwrap()).collect();
        let expected = match aggregate {
            "sum" => numbers.iter().sum(),
            "max" => numbers.iter().copied().fold(f64::MIN, f64::max),
            "min" => numbers.iter().copied().fold(f64::MAX, f64::min),
            other => panic!("{other}"),
        };
        let expr = format!("{aggregate}({aggregate}_over_time({} | unwrap {field} [2h]))", pipeline.text());
        let found = self.vector(&expr).get("{}").copied().unwrap_or(f64::NAN);
        let is_close = (found - expected).abs() <= expected.abs() * 1e-9;
        self.compare(&expr, if is_close { expected } else { found }, expected);
    }

    /// The lines themselves, oldest first.
    fn assert_same_lines(&self, pipeline: &Pipeline) {
        let mut expected: Vec<(i64, String)> = pipeline
            .scan(&self.entries)
            .into_iter()
            .map(|Kept { entry, line, .. }| (entry.nanos, line))
            .collect();
        expected.sort();
        let (start, end) = ((self.end - 120 * MINUTE).to_string(), (self.end + 1).to_string());
        let text = pipeline.text();
        let parameters = [
            ("query", text.as_str()),
            ("start", &start),
            ("end", &end),
            ("limit", "5000"),
            ("direction", "forward"),
        ];
        let result = self.query("query_range", &parameters);
        let entry = |entry: &Value| {
            (entry[0].as_str().unwrap().parse::<i64>().unwrap(), entry[1].as_str().unwrap().to_owned())
        };
        let streams = result.as_array().unwrap().iter();
        let mut found: Vec<(i64, String)> =
            streams.flat_map(|stream| stream["values"].as_array().unwrap()).map(entry).collect();
        found.sort();
        self.compare(&format!("{text}, number of lines"), found.len(), expected.len());
        let differing = found.into_iter().zip(expected).find(|(found, expected)| found != expected);
        self.compare(&text, differing, None);
    }

    /// Counts of each minute, as a panel draws them.
    fn assert_same_minutes(&self, pipeline: &Pipeline) {
        let mut expected: BTreeMap<i64, f64> = BTreeMap::new();
        for kept in pipeline.scan(&self.entries) {
            // A window is open on its left side.
            *expected.entry((kept.entry.nanos - 1).div_euclid(MINUTE) * 60 + 60).or_default() += 1.0;
        }
        let expr = format!("sum(count_over_time({} [1m]))", pipeline.text());
        let (start, end) = ((self.end - 60 * MINUTE).to_string(), self.end.to_string());
        let result =
            self.query("query_range", &[("query", &expr), ("start", &start), ("end", &end), ("step", "60")]);
        let no_points = Vec::new();
        let points = result[0]["values"].as_array().unwrap_or(&no_points).iter();
        let found: BTreeMap<i64, f64> = points
            .map(|point| (point[0].as_i64().unwrap(), point[1].as_str().unwrap().parse().unwrap()))
            .collect();
        self.compare(&expr, found, expected);
    }
}

fn push(server: &Server, entries: &[Entry]) {
    for batch in entries.chunks(500) {
        let mut streams: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for entry in batch {
            streams.entry(&entry.labels).or_default().push(json!([entry.nanos.to_string(), entry.line]));
        }
        let streams: Vec<Value> =
            streams.into_iter().map(|(labels, values)| json!({"stream": labels, "values": values})).collect();
        let body = json!({"streams": streams}).to_string();
        let answer = server.post("/loki/api/v1/push", &[("content-type", "application/json")], body);
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    }
}

fn maintain(server: &Server, task: &str) {
    let answer = server.post(&format!("/api/v1/admin/{task}"), &[], "");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{task}");
}

fn matcher(name: &'static str, op: &'static str, value: &str) -> Matcher {
    Matcher { name, op, value: value.to_owned() }
}

fn all() -> Vec<Matcher> {
    vec![matcher("app", "=~", ".+")]
}

fn has(texts: &[&str]) -> Stage {
    Stage::Has { is_not: false, texts: texts.iter().map(|text| (*text).to_owned()).collect() }
}

fn has_not(texts: &[&str]) -> Stage {
    Stage::Has { is_not: true, texts: texts.iter().map(|text| (*text).to_owned()).collect() }
}

fn finds(pattern: &str) -> Stage {
    Stage::Finds { is_not: false, pattern: pattern.to_owned() }
}

fn label(name: &'static str, op: &'static str, value: &str) -> Stage {
    Stage::Label(matcher(name, op, value))
}

fn compare(name: &'static str, op: &'static str, number: f64, unit: &'static str) -> Stage {
    Stage::Compare { name, op, number, unit }
}

/// Every filter and every parser at least once.
fn pipelines() -> Vec<Pipeline> {
    use Stage::{IsRight, Json, LineFormat, Logfmt, Pattern, Regexp, Rename};
    let of = |app: &str| vec![matcher("app", "=", app)];
    [
        (all(), vec![]),
        (of("nginx"), vec![]),
        (vec![matcher("env", "=", "prod"), matcher("app", "!=", "edge")], vec![]),
        (vec![matcher("app", "=~", "shop|api"), matcher("env", "=", "")], vec![]),
        (vec![matcher("pod", "=~", ".*-1"), matcher("env", "!~", "stag.*")], vec![]),
        (all(), vec![has(&["error"])]),
        (all(), vec![has(&["needle-7f3a9c"])]),
        (all(), vec![has(&["no such text anywhere"])]),
        (all(), vec![has(&[""])]),
        (all(), vec![has(&["Zoë", "№", "\n\tat "])]),
        (all(), vec![has(&["\u{1b}[31m"])]),
        (all(), vec![has_not(&["e"])]),
        (all(), vec![has_not(&["GET", "POST"])]),
        (all(), vec![has(&["1"]), has(&["7"]), has_not(&["3"])]),
        (all(), vec![finds("(?i)error")]),
        (all(), vec![finds("^sshd")]),
        (all(), vec![finds("(Failed|Accepted) .* port [0-9]{2,3} ")]),
        (all(), vec![finds("blk_-[0-9]*77")]),
        (all(), vec![Stage::Finds { is_not: true, pattern: "[0-9]{5}".to_owned() }]),
        (of("nginx"), vec![Json, compare("status", ">=", 500.0, "")]),
        (of("nginx"), vec![Json, compare("status", "==", 404.0, ""), label("method", "=", "POST")]),
        (of("nginx"), vec![Json, compare("bytes", "<", 1_000.0, "")]),
        (of("nginx"), vec![Json, compare("request_time", ">", 0.9, "")]),
        (
            of("nginx"),
            vec![Json, label("uri", "=~", "/api/v1/(users|orders).*"), label("ua", "!=", "curl/8.5.0")],
        ),
        (of("shop"), vec![Json, label("level", "=", "error")]),
        (of("shop"), vec![Json, label("user_vip", "=", "true"), label("k8s_node", "!=", "n1")]),
        (of("shop"), vec![Json, label("msg", "=", "say \"hi\" to Zoë")]),
        (of("shop"), vec![Json, label("absent", "=", "")]),
        (all(), vec![Json, IsRight]),
        (all(), vec![has(&["{"]), Json, IsRight, label("status", "!=", "")]),
        (of("api"), vec![Logfmt, label("level", "=~", "warn|error")]),
        (of("api"), vec![Logfmt, label("msg", "=", "k=v inside")]),
        (of("api"), vec![Logfmt, compare("took", ">", 1_500.0, "ms")]),
        (of("api"), vec![Logfmt, compare("took", "<=", 500.0, "ms")]),
        (of("api"), vec![Logfmt, compare("size", ">=", 50.0, "KB")]),
        (of("api"), vec![Logfmt, compare("status", "!=", 200.0, "")]),
        (of("edge"), vec![Pattern, compare("status", ">", 399.0, ""), label("method", "=", "GET")]),
        (of("edge"), vec![Pattern, label("client", "=~", "10\\.1\\..*")]),
        (of("sshd"), vec![Regexp, compare("port", "<", 1_024.0, "")]),
        (of("sshd"), vec![Regexp, label("address", "=", "")]),
        (of("nginx"), vec![Json, LineFormat("method", "uri"), has(&["POST /login"])]),
        (of("shop"), vec![Json, Rename("severity", "level"), label("severity", "=", "warn")]),
        (of("shop"), vec![Json, Rename("severity", "level"), label("level", "=", "")]),
    ]
    .into_iter()
    .map(|(matchers, stages)| Pipeline { matchers, stages })
    .collect()
}

/// A pipeline of up to four stages, whose texts come from the lines.
fn random_pipeline(random: &mut Random, entries: &[Entry]) -> Pipeline {
    let mut matchers = all();
    for _ in 0..random.below(3) {
        let name: &'static str = random.pick(&["app", "env", "pod"]);
        let entry = &entries[random.below(entries.len() as u64) as usize];
        let value = entry.labels.get(name).map_or("", String::as_str);
        matchers.push(match random.below(5) {
            0 | 1 => matcher(name, "=", value),
            2 => matcher(name, "!=", value),
            3 => matcher(name, "=~", &format!("{value}|nginx.*|staging")),
            _ => matcher(name, "!~", &format!("{value}|sshd.*")),
        });
    }
    let mut stages = Vec::new();
    for _ in 0..random.below(3) {
        let texts: Vec<String> = (0..1 + random.below(2)).map(|_| part_of_a_line(random, entries)).collect();
        stages.push(match random.below(4) {
            0 | 1 => Stage::Has { is_not: false, texts },
            2 => Stage::Has { is_not: true, texts },
            _ => Stage::Finds {
                is_not: random.below(2) == 0,
                pattern: format!("(?i){}", regex::escape(&texts[0])),
            },
        });
    }
    match random.below(4) {
        0 => stages.extend([Stage::Json, Stage::IsRight, compare("status", ">=", 300.0, "")]),
        1 => stages.extend([Stage::Json, Stage::IsRight, label("level", random.pick(&["=", "!="]), "info")]),
        2 => stages.extend([Stage::Logfmt, Stage::IsRight, label("method", "=~", "GET|PUT")]),
        _ => {}
    }
    Pipeline { matchers, stages }
}

fn part_of_a_line(random: &mut Random, entries: &[Entry]) -> String {
    let line = &entries[random.below(entries.len() as u64) as usize].line;
    let chars: Vec<char> = line.chars().collect();
    if chars.is_empty() {
        return String::new();
    }
    let from = random.below(chars.len() as u64) as usize;
    let length = 1 + random.below(8) as usize;
    chars[from..].iter().take(length).collect()
}

fn compare_everything(world: &World) {
    for pipeline in pipelines() {
        world.assert_same_count(&pipeline);
        world.assert_same_lines(&pipeline);
    }
    for pipeline in pipelines().iter().step_by(5) {
        world.assert_same_minutes(pipeline);
    }
    let of = |app: &str, stages| Pipeline { matchers: vec![matcher("app", "=", app)], stages };
    for (pipeline, by) in [
        (Pipeline { matchers: all(), stages: vec![] }, "app"),
        (Pipeline { matchers: all(), stages: vec![has(&["error"])] }, "env"),
        (of("nginx", vec![Stage::Json]), "status"),
        (of("shop", vec![Stage::Json]), "level"),
        (of("api", vec![Stage::Logfmt]), "method"),
        (of("edge", vec![Stage::Pattern]), "path"),
        (of("sshd", vec![Stage::Regexp]), "port"),
        (of("shop", vec![Stage::Json, Stage::Rename("severity", "level")]), "severity"),
    ] {
        world.assert_same_groups(&pipeline, by);
    }
    for aggregate in ["sum", "max", "min"] {
        world.assert_same_numbers(&of("nginx", vec![Stage::Json]), "request_time", aggregate);
        world.assert_same_numbers(&of("shop", vec![has(&["a"]), Stage::Json]), "took_ms", aggregate);
        world.assert_same_numbers(&of("edge", vec![Stage::Pattern]), "bytes", aggregate);
    }
    let mut random = Random::new(11);
    for _ in 0..RANDOM_PIPELINES {
        world.assert_same_count(&random_pipeline(&mut random, &world.entries));
    }
}

#[test]
fn answers_equal_a_plain_scan_of_the_same_lines() {
    let world = World::new();
    compare_everything(&world);
    maintain(&world.server, "flush");
    maintain(&world.server, "compact");
    compare_everything(&world);
    let wrong = world.wrong.into_inner();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}
