//! What the query API answers, read back from its JSON, and when two answers are the same.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{encode, request};

pub type Labels = BTreeMap<String, String>;

/// One series of a vector or matrix; a vector has one point in each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    pub floats: Vec<(i64, f64)>,
    /// Each as the API writes it.
    pub histograms: Vec<(i64, Value)>,
}

/// The points of each series.
pub type Answer = BTreeMap<Labels, Points>;

/// An answer, or the text of the refusal.
pub type Asked = Result<Answer, String>;

/// When an expression is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    Instant(i64),
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// `/api/v1/query` or `/api/v1/query_range`.
pub fn ask(url: &str, expr: &str, when: When) -> Asked {
    let query = encode(expr);
    let path = match when {
        When::Instant(time_ms) => format!("query?query={query}&time={}", seconds(time_ms)),
        When::Range { start_ms, end_ms, step_ms } => {
            let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(step_ms));
            format!("query_range?query={query}&start={start}&end={end}&step={step}")
        }
    };
    let answer = request("GET", &format!("{url}/api/v1/{path}"), &[], Vec::new());
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {answer:?}"));
    if answer.status != 200 {
        return Err(body["error"].as_str().unwrap_or_else(|| panic!("{path}: {body}")).to_owned());
    }
    let result = &body["data"]["result"];
    if body["data"]["resultType"] == "scalar" {
        let points = Points { floats: vec![float_point(result)], histograms: Vec::new() };
        return Ok(Answer::from([(Labels::new(), points)]));
    }
    let series = result.as_array().unwrap().iter();
    Ok(series.map(|series| (labels(&series["metric"]), points(series))).collect())
}

/// The answer at a time in milliseconds, which there must be.
pub fn instant(url: &str, expr: &str, time_ms: i64) -> Answer {
    ask(url, expr, When::Instant(time_ms)).unwrap_or_else(|refusal| panic!("{expr}: {refusal}"))
}

/// The `data` of any other endpoint.
pub fn data(url: &str, path: &str) -> Value {
    let answer = request("GET", &format!("{url}{path}"), &[], Vec::new());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["data"].take()
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

pub fn labels(metric: &Value) -> Labels {
    let pairs = metric.as_object().unwrap().iter();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn points(series: &Value) -> Points {
    let list = |many: &str, one: &str| -> Vec<Value> {
        let points = series[many].as_array().cloned().unwrap_or_default();
        points.into_iter().chain(series.get(one).cloned()).collect()
    };
    Points {
        floats: list("values", "value").iter().map(float_point).collect(),
        histograms: list("histograms", "histogram")
            .iter()
            .map(|point| (milliseconds(&point[0]), point[1].clone()))
            .collect(),
    }
}

fn float_point(point: &Value) -> (i64, f64) {
    (milliseconds(&point[0]), point[1].as_str().unwrap().parse().unwrap())
}

fn milliseconds(timestamp: &Value) -> i64 {
    (timestamp.as_f64().unwrap() * 1_000.0).round() as i64
}

/// How two answers disagree, if they do; which words a refusal has does not matter.
pub fn disagreement(expected: &Asked, found: &Asked) -> Option<String> {
    match (expected, found) {
        (Ok(expected), Ok(found)) => difference(expected, found),
        (Err(_), Err(_)) => None,
        (Ok(expected), Err(refusal)) => Some(format!("expected {} series, found: {refusal}", expected.len())),
        (Err(refusal), Ok(found)) => Some(format!("expected: {refusal}, found {} series", found.len())),
    }
}

/// The first difference in labels, times or values (beyond a relative 1e-9), if there is one.
pub fn difference(expected: &Answer, found: &Answer) -> Option<String> {
    if let Some(labels) = expected.keys().find(|labels| !found.contains_key(*labels)) {
        return Some(format!("missing: {labels:?} of {} series", expected.len()));
    }
    if let Some(labels) = found.keys().find(|labels| !expected.contains_key(*labels)) {
        return Some(format!("too much: {labels:?} of {} series", found.len()));
    }
    expected.iter().find_map(|(labels, points)| {
        let different = different_point(&points.floats, &found[labels].floats)?;
        Some(format!("{labels:?}: {different}"))
    })
}

fn different_point(expected: &[(i64, f64)], found: &[(i64, f64)]) -> Option<String> {
    let pairs = expected.iter().zip(found);
    for ((expected_at, expected), (found_at, found)) in pairs {
        if expected_at != found_at || !same(*expected, *found) {
            return Some(format!("expected {expected} at {expected_at}, found {found} at {found_at}"));
        }
    }
    let (expected, found) = (expected.len(), found.len());
    (expected != found).then(|| format!("expected {expected} points, found {found}"))
}

pub fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn answers_differ_by_a_label_a_point_or_a_billionth() {
    let answer = |label: &str, floats: &[(i64, f64)]| {
        let labels = Labels::from([("cpu".to_owned(), label.to_owned())]);
        Answer::from([(labels, Points { floats: floats.to_vec(), histograms: Vec::new() })])
    };
    let expected = answer("0", &[(1, 1.0), (2, f64::NAN)]);
    assert_eq!(difference(&expected, &answer("0", &[(1, 1.000_000_000_1), (2, f64::NAN)])), None);
    for other in [
        answer("1", &[(1, 1.0), (2, f64::NAN)]),
        answer("0", &[(1, 1.0)]),
        answer("0", &[(1, 1.0), (3, f64::NAN)]),
        answer("0", &[(1, 1.000_000_01), (2, f64::NAN)]),
        answer("0", &[(1, 1.0), (2, 0.0)]),
        Answer::new(),
    ] {
        assert!(difference(&expected, &other).is_some(), "{other:?}");
    }
}
