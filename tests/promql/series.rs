//! `metric{label="value"} 1 2+3x4 _ {{schema:0 …}}`: one series of a script and its values, step by step.

use icecore::model::histogram::{ResetHint, Span};
use icecore::model::metrics::stale_marker;
use icecore::model::{Histogram, Labels};
use icecore::query::promql::duration::parse_duration;
use icecore::query::promql::{ParseOptions, parse_selector};

#[derive(Clone, Debug)]
pub enum SequenceValue {
    Float(f64),
    Histogram { histogram: Box<Histogram>, is_hint_given: bool },
}

pub type Series = (Labels, Vec<Option<SequenceValue>>);

pub fn parse_series(line: &str) -> Result<Series, String> {
    let (selector, values) = line.split_at(selector_end(line));
    Ok((labels(selector.trim())?, sequence(values)?))
}

/// Where the labels end: at the closing brace, or at the first blank if there are no braces.
fn selector_end(line: &str) -> usize {
    let blank = line.find([' ', '\t']).unwrap_or(line.len());
    let Some(open) = line.find('{').filter(|&open| line[..open].trim_end().len() <= blank) else {
        return blank;
    };
    if line[open..].starts_with("{{") {
        return blank;
    }
    let mut quote = None;
    let mut chars = line[open..].char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"' | '\''), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '}') => return open + at + 1,
            _ => {}
        }
    }
    line.len()
}

/// Labels are written like a selector of equalities.
fn labels(text: &str) -> Result<Labels, String> {
    if text.replace(' ', "") == "{}" {
        return Ok(Labels::empty());
    }
    let matchers = parse_selector(text, &ParseOptions::all()).map_err(|e| format!("{text}: {e}"))?;
    Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())))
        .map_err(|e| e.to_string())
}

fn sequence(text: &str) -> Result<Vec<Option<SequenceValue>>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (item, after) = rest.split_at(item_end(rest));
        expand(item, &mut values).ok_or_else(|| format!("no values: {item}"))?;
        rest = after.trim_start();
    }
    Ok(values)
}

/// Blanks inside double braces do not end an item.
fn item_end(text: &str) -> usize {
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("{{") {
            at = text[at..].find("}}").map_or(text.len(), |end| at + end + 2);
        } else if text[at..].starts_with([' ', '\t']) {
            return at;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn expand(item: &str, values: &mut Vec<Option<SequenceValue>>) -> Option<()> {
    if let Some(omitted) = item.strip_prefix('_') {
        let count = omitted.strip_prefix('x').map_or(Some(1), |n| n.parse().ok())?;
        values.extend(std::iter::repeat_n(None, count));
        return Some(());
    }
    let (body, times) = match item.rsplit_once('x') {
        Some((body, times)) if times.bytes().all(|b| b.is_ascii_digit()) => (body, times.parse().ok()?),
        _ => (item, 0usize),
    };
    if body.starts_with("{{") {
        return expand_histograms(body, times, values);
    }
    if body == "stale" {
        values.extend(std::iter::repeat_n(Some(SequenceValue::Float(stale_marker())), times + 1));
        return Some(());
    }
    let (start, step) = match (1..body.len()).rev().find(|&i| is_operator(body, i)) {
        Some(at) => (number(&body[..at])?, number(&body[at..])?),
        None => (number(body)?, 0.0),
    };
    let mut value = start;
    for _ in 0..=times {
        values.push(Some(SequenceValue::Float(value)));
        value += step;
    }
    Some(())
}

/// A sign that is neither the first character nor an exponent's.
fn is_operator(body: &str, at: usize) -> bool {
    let bytes = body.as_bytes();
    let after_exponent = matches!(bytes[at - 1], b'e' | b'E') && at >= 2 && bytes[at - 2].is_ascii_digit();
    matches!(bytes[at], b'+' | b'-') && !after_exponent && !matches!(bytes[at - 1], b'+' | b'-')
}

/// A float, or a duration for its seconds.
fn number(text: &str) -> Option<f64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let seconds = |t: &str| parse_duration(t).map(|ms| ms as f64 / 1000.0);
    text.parse()
        .ok()
        .or_else(|| text.strip_prefix('-').and_then(seconds).map(|s| -s))
        .or_else(|| seconds(text))
}

fn expand_histograms(body: &str, times: usize, values: &mut Vec<Option<SequenceValue>>) -> Option<()> {
    let end = body.find("}}")? + 2;
    let (mut value, is_hint_given) = histogram(&body[..end])?;
    let (sign, step) = match body[end..].split_at_checked(1) {
        Some((sign, step)) => (sign, Some(histogram(step)?.0)),
        None => ("", None),
    };
    for _ in 0..=times {
        values.push(Some(SequenceValue::Histogram { histogram: Box::new(value.clone()), is_hint_given }));
        match (&step, sign) {
            (Some(step), "+") => drop(value.add(step).ok()?),
            (Some(step), _) => drop(value.sub(step).ok()?),
            (None, _) => {}
        }
    }
    Some(())
}

/// The histogram, and whether its hint was written.
fn histogram(text: &str) -> Option<(Histogram, bool)> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let mut made = Histogram::default();
    let (mut offset, mut negative_offset, mut is_hint_given) = (0, 0, false);
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once(':')?;
        let end = match value.starts_with('[') {
            true => value.find(']')? + 1,
            false => value.find(' ').unwrap_or(value.len()),
        };
        let (value, after) = value.split_at(end);
        let list =
            || value.trim_matches(['[', ']']).split_whitespace().map(number).collect::<Option<Vec<f64>>>();
        match key {
            "schema" => made.schema = value.parse().ok()?,
            "sum" => made.sum = number(value)?,
            "count" => made.count = number(value)?,
            "z_bucket" => made.zero_count = number(value)?,
            "z_bucket_w" => made.zero_threshold = number(value)?,
            "offset" => offset = value.parse().ok()?,
            "n_offset" => negative_offset = value.parse().ok()?,
            "buckets" => made.positive_buckets = list()?,
            "n_buckets" => made.negative_buckets = list()?,
            "custom_values" => made.custom_bounds = list()?,
            "counter_reset_hint" => {
                is_hint_given = true;
                made.hint = match value {
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                };
            }
            _ => return None,
        }
        rest = after.trim_start();
    }
    let span = |offset, counts: &[f64]| match counts.len() {
        0 => Vec::new(),
        length => vec![Span { offset, length: length as u32 }],
    };
    made.positive_spans = span(offset, &made.positive_buckets);
    made.negative_spans = span(negative_offset, &made.negative_buckets);
    Some((made, is_hint_given))
}
