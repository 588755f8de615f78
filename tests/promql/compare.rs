//! Whether an answer is the expected one: labels exactly, numbers to one in a million, as Prometheus compares.

use crate::series::SequenceValue;
use icecore::model::histogram::ResetHint;
use icecore::model::metrics::is_stale;
use icecore::model::{Histogram, Labels};
use icecore::query::{Answer, MatrixSeries, QueryError, QueryValue, SampleValue};

use crate::script::{Expect, TextMatch, When};

const EPSILON: f64 = 1e-6;

/// `Err` says what differs.
pub fn check(expect: &Expect, when: When, result: &Result<Answer, QueryError>) -> Result<(), String> {
    let answer = match (result, expect.fails) {
        (Err(error), true) => return failure(expect, &error.to_string()),
        (Err(error), false) => return Err(format!("failed: {error}")),
        (Ok(_), true) => return Err("should have failed".into()),
        (Ok(answer), false) => answer,
    };
    annotations("warning", &expect.warnings, expect.no_warning, &answer.warnings)?;
    annotations("info", &expect.infos, expect.no_info, &answer.infos)?;
    match (&answer.value, when) {
        (QueryValue::Scalar(_, value), _) => match expect.scalar {
            Some(expected) => close(expected, *value).then_some(()).ok_or(format!("{value} for {expected}")),
            None => Err(format!("a scalar {value}")),
        },
        (QueryValue::String(_, bytes), _) => match &expect.string {
            Some(expected) if expected.as_bytes() == bytes => Ok(()),
            other => Err(format!("{:?} for {other:?}", String::from_utf8_lossy(bytes))),
        },
        (QueryValue::Vector(samples), _) => vector(expect, samples),
        (QueryValue::Matrix(matrix), When::Range { start, step_ms, .. }) => {
            rows(expect, matrix, start, step_ms)
        }
        (QueryValue::Matrix(matrix), When::Instant(_)) => match expect.range_vector {
            Some((from, _, step)) => rows(expect, matrix, from, step),
            None => Err("a matrix".into()),
        },
    }
}

/// The whole answer, a line for each series.
pub fn show(result: &Result<Answer, QueryError>) -> String {
    let answer = match result {
        Err(error) => return format!("error: {error}"),
        Ok(answer) => answer,
    };
    let value = |value: &SampleValue| match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => format!("{histogram:?}"),
    };
    let points = |series: &MatrixSeries| {
        let floats = series.floats.iter().map(|(t, v)| (*t, v.to_string()));
        let histograms = series.histograms.iter().map(|(t, h)| (*t, format!("{h:?}")));
        let mut points: Vec<_> = floats.chain(histograms).collect();
        points.sort_by_key(|(t, _)| *t);
        points.iter().map(|(t, v)| format!(" {v} @ {t}")).collect::<String>()
    };
    let mut lines = match &answer.value {
        QueryValue::Scalar(_, value) => vec![value.to_string()],
        QueryValue::String(_, bytes) => vec![format!("{:?}", String::from_utf8_lossy(bytes))],
        QueryValue::Vector(samples) => {
            samples.iter().map(|s| format!("{} {}", s.labels, value(&s.value))).collect()
        }
        QueryValue::Matrix(matrix) => matrix.iter().map(|s| format!("{}{}", s.labels, points(s))).collect(),
    };
    lines.extend(answer.warnings.iter().chain(&answer.infos).cloned());
    lines.join("\n    ")
}

fn failure(expect: &Expect, text: &str) -> Result<(), String> {
    match &expect.failure {
        Some(expected) if !expected.matches(text) => Err(format!("failed with {text:?}")),
        _ => Ok(()),
    }
}

/// Every expected text is there, and if any is expected nothing else is.
fn annotations(
    kind: &str,
    expected: &[Option<TextMatch>],
    none: bool,
    found: &[String],
) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("{kind} {found:?}"));
    }
    let matches = |e: &Option<TextMatch>, text: &String| e.as_ref().is_none_or(|e| e.matches(text));
    let all_found = expected.iter().all(|e| found.iter().any(|text| matches(e, text)));
    let none_else = expected.is_empty() || found.iter().all(|text| expected.iter().any(|e| matches(e, text)));
    if all_found && none_else { Ok(()) } else { Err(format!("{kind} differs: {found:?}")) }
}

fn vector(expect: &Expect, samples: &[icecore::query::VectorSample]) -> Result<(), String> {
    if let Some(expected) = expect.scalar {
        return Err(format!("a vector for {expected}"));
    }
    if samples.len() != expect.series.len() {
        let found: Vec<String> = samples.iter().map(|s| s.labels.to_string()).collect();
        return Err(format!("{} series for {}: {found:?}", samples.len(), expect.series.len()));
    }
    for (place, (labels, values)) in expect.series.iter().enumerate() {
        let position = samples.iter().position(|s| s.labels == *labels);
        let at = position.ok_or_else(|| format!("{labels} is missing"))?;
        if expect.ordered && at != place {
            return Err(format!("{labels} is number {at}, not {place}"));
        }
        let [Some(expected)] = &values[..] else { return Err(format!("{labels}: not one value expected")) };
        same_value(labels, expected, &samples[at].value)?;
    }
    Ok(())
}

fn rows(expect: &Expect, matrix: &[MatrixSeries], start: i64, step_ms: i64) -> Result<(), String> {
    if !matrix.windows(2).all(|pair| pair[0].labels < pair[1].labels) {
        return Err("not sorted by labels".into());
    }
    for series in matrix {
        if !expect.series.iter().any(|(labels, _)| *labels == series.labels) {
            return Err(format!("unexpected {}", series.labels));
        }
    }
    for (labels, values) in &expect.series {
        let expected_points = values.iter().flatten().count();
        let Some(series) = matrix.iter().find(|s| s.labels == *labels) else {
            if expected_points == 0 {
                continue;
            }
            return Err(format!("{labels} is missing"));
        };
        for (i, expected) in values.iter().enumerate() {
            let at = start + i as i64 * step_ms;
            let Some(expected) = expected else { continue };
            let found = value_at(series, at).ok_or_else(|| format!("{labels} has nothing at {at}"))?;
            same_value(labels, expected, &found).map_err(|e| format!("{e} at {at}"))?;
        }
        let found_points = series.floats.len() + series.histograms.len();
        if found_points != expected_points {
            return Err(format!("{labels} has {found_points} points for {expected_points}"));
        }
    }
    Ok(())
}

pub fn value_at(series: &MatrixSeries, at: i64) -> Option<SampleValue> {
    let float = series.floats.iter().find(|(t, _)| *t == at).map(|(_, v)| SampleValue::Float(*v));
    let histogram = || series.histograms.iter().find(|(t, _)| *t == at).map(|(_, h)| h.clone());
    float.or_else(|| histogram().map(SampleValue::Histogram))
}

fn same_value(labels: &Labels, expected: &SequenceValue, found: &SampleValue) -> Result<(), String> {
    match (expected, found) {
        (SequenceValue::Float(a), SampleValue::Float(b)) if close(*a, *b) => Ok(()),
        (SequenceValue::Float(a), SampleValue::Float(b)) => Err(format!("{labels}: {b} for {a}")),
        (SequenceValue::Histogram { histogram, is_hint_given }, SampleValue::Histogram(found)) => {
            same_histogram(histogram, found, *is_hint_given)
                .map_err(|what| format!("{labels}: {what} differs: {found:?} for {histogram:?}"))
        }
        (SequenceValue::Float(a), SampleValue::Histogram(_)) => Err(format!("{labels}: a histogram for {a}")),
        (SequenceValue::Histogram { .. }, SampleValue::Float(b)) => {
            Err(format!("{labels}: {b} for a histogram"))
        }
    }
}

fn same_histogram(expected: &Histogram, found: &Histogram, with_hint: bool) -> Result<(), &'static str> {
    let compacted = |h: &Histogram| {
        let mut h = h.clone();
        h.compact(0);
        h
    };
    let (a, b) = (compacted(expected), compacted(found));
    if with_hint && a.hint != b.hint && !(a.hint == ResetHint::Unknown && b.hint == ResetHint::Unknown) {
        return Err("hint");
    }
    if a.schema != b.schema || a.zero_threshold != b.zero_threshold || a.custom_bounds != b.custom_bounds {
        return Err("layout");
    }
    if !close(a.count, b.count) || !close(a.zero_count, b.zero_count) {
        return Err("count");
    }
    if !close(a.sum, b.sum) {
        return Err("sum");
    }
    let spans = |spans: &[icecore::model::histogram::Span]| {
        let mut at = 0;
        let mut indices = Vec::new();
        for span in spans {
            at += span.offset;
            indices.extend((0..span.length as i32).map(|i| at + i));
            at += span.length as i32;
        }
        indices
    };
    if spans(&a.positive_spans) != spans(&b.positive_spans)
        || spans(&a.negative_spans) != spans(&b.negative_spans)
    {
        return Err("spans");
    }
    let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b));
    if !same(&a.positive_buckets, &b.positive_buckets) || !same(&a.negative_buckets, &b.negative_buckets) {
        return Err("buckets");
    }
    Ok(())
}

fn close(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    let sum = a.abs() + b.abs();
    if a == b {
        return true;
    }
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return (a - b).abs() < EPSILON * f64::MIN_POSITIVE;
    }
    (a - b).abs() / sum.min(f64::MAX) < EPSILON
}
