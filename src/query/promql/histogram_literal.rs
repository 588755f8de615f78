//! Native histograms as test scripts write them: `{{schema:1 sum:0.3 count:3 buckets:[5 10 7] offset:-3}}`.

use crate::model::Histogram;
use crate::model::histogram::{ResetHint, Span};

use crate::query::lexical::number::{self, Word};

#[derive(Clone, Debug)]
pub struct HistogramLiteral {
    pub histogram: Histogram,
    /// Whether a counter reset hint was written.
    pub has_hint: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiteralError {
    #[error("unexpected end of input in histogram")]
    Unclosed,
    #[error("duplicate key {0:?} in histogram")]
    DuplicateKey(String),
    #[error("bad histogram descriptor found: {0:?}")]
    UnknownKey(String),
    #[error("bad value of {key:?} in histogram: {value:?}")]
    BadValue { key: String, value: String },
}

/// Reads the literal at the start of `text`, which begins with `{{`, and gives its length.
pub fn parse(text: &str) -> Result<(HistogramLiteral, usize), LiteralError> {
    let end = text.find("}}").ok_or(LiteralError::Unclosed)?;
    let mut literal = HistogramLiteral { histogram: Histogram::default(), has_hint: false };
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut n_offset) = (0, 0);
    let mut keys: Vec<&str> = Vec::new();
    let mut rest = text["{{".len()..end].trim_start();
    while !rest.is_empty() {
        let (key, value) = take_item(&mut rest)?;
        if keys.contains(&key) {
            return Err(LiteralError::DuplicateKey(key.to_owned()));
        }
        keys.push(key);
        let histogram = &mut literal.histogram;
        match key {
            "schema" => histogram.schema = integer(key, value)?,
            "sum" => histogram.sum = float(key, value)?,
            "count" => histogram.count = float(key, value)?,
            "z_bucket" => histogram.zero_count = float(key, value)?,
            "z_bucket_w" => histogram.zero_threshold = float(key, value)?,
            "custom_values" => histogram.custom_bounds = floats(key, value)?,
            "buckets" => positive = floats(key, value)?,
            "n_buckets" => negative = floats(key, value)?,
            "offset" => offset = integer(key, value)?,
            "n_offset" => n_offset = integer(key, value)?,
            "counter_reset_hint" => {
                histogram.hint = hint(key, value)?;
                literal.has_hint = true;
            }
            _ => return Err(LiteralError::UnknownKey(key.to_owned())),
        }
    }
    let histogram = &mut literal.histogram;
    histogram.positive_spans = one_span(offset, &positive);
    histogram.positive_buckets = positive;
    histogram.negative_spans = one_span(n_offset, &negative);
    histogram.negative_buckets = negative;
    Ok((literal, end + "}}".len()))
}

/// Takes one `key:value` and the blanks behind it; a value in brackets may hold blanks.
fn take_item<'a>(rest: &mut &'a str) -> Result<(&'a str, &'a str), LiteralError> {
    let text = *rest;
    let unknown = || LiteralError::UnknownKey(text.split_whitespace().next().unwrap_or(text).to_owned());
    let (key, after) = text.split_once(':').ok_or_else(unknown)?;
    if key.contains(char::is_whitespace) {
        return Err(unknown());
    }
    let len = match after.strip_prefix('[') {
        Some(list) => list.find(']').ok_or(LiteralError::Unclosed)? + "[]".len(),
        None => after.find(char::is_whitespace).unwrap_or(after.len()),
    };
    *rest = after[len..].trim_start();
    Ok((key, &after[..len]))
}

fn one_span(offset: i32, buckets: &[f64]) -> Vec<Span> {
    let length = u32::try_from(buckets.len()).expect("a line of text is short");
    if length == 0 { Vec::new() } else { vec![Span { offset, length }] }
}

fn bad_value(key: &str, value: &str) -> LiteralError {
    LiteralError::BadValue { key: key.to_owned(), value: value.to_owned() }
}

fn integer(key: &str, value: &str) -> Result<i32, LiteralError> {
    value.parse().map_err(|_| bad_value(key, value))
}

fn float(key: &str, value: &str) -> Result<f64, LiteralError> {
    let (sign, size) = match value.strip_prefix('-') {
        Some(size) => (-1.0, size),
        None => (1.0, value.strip_prefix('+').unwrap_or(value)),
    };
    let size = match size.to_ascii_lowercase().as_str() {
        "inf" => f64::INFINITY,
        "nan" => return Ok(f64::NAN),
        _ => match number::read(size) {
            Ok(Word::Number(size)) => size,
            _ => return Err(bad_value(key, value)),
        },
    };
    Ok(sign * size)
}

fn floats(key: &str, value: &str) -> Result<Vec<f64>, LiteralError> {
    let inside = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    let items = inside.ok_or_else(|| bad_value(key, value))?.split_whitespace();
    items.map(|item| float(key, item)).collect()
}

fn hint(key: &str, value: &str) -> Result<ResetHint, LiteralError> {
    Ok(match value {
        "unknown" => ResetHint::Unknown,
        "reset" => ResetHint::Reset,
        "not_reset" => ResetHint::NotReset,
        "gauge" => ResetHint::Gauge,
        _ => return Err(bad_value(key, value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_fills_its_field() {
        let text = "{{schema:1  sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10  7 ] offset:-3 \
                    n_buckets:[4.1 -5] n_offset:5  counter_reset_hint:gauge }}x2";
        let (literal, len) = parse(text).unwrap();
        let histogram = literal.histogram;
        assert_eq!(&text[len..], "x2");
        assert!(literal.has_hint);
        assert_eq!(histogram.hint, ResetHint::Gauge);
        assert_eq!((histogram.schema, histogram.sum, histogram.count), (1, -0.3, 3.1));
        assert_eq!((histogram.zero_count, histogram.zero_threshold), (7.1, 0.05));
        assert_eq!(histogram.positive_spans, [Span { offset: -3, length: 3 }]);
        assert_eq!(histogram.positive_buckets, [5.1, 10.0, 7.0]);
        assert_eq!(histogram.negative_spans, [Span { offset: 5, length: 2 }]);
        assert_eq!(histogram.negative_buckets, [4.1, -5.0]);
    }

    #[test]
    fn custom_buckets_and_the_empty_histogram_are_written_too() {
        let (literal, _) = parse("{{schema:-53 sum:NaN custom_values:[5 +Inf] buckets:[1]}}").unwrap();
        assert_eq!(literal.histogram.custom_bounds, [5.0, f64::INFINITY]);
        assert!(literal.histogram.sum.is_nan() && !literal.has_hint);
        let (empty, len) = parse("{{ }}").unwrap();
        assert_eq!((empty.histogram.positive_spans.len(), len), (0, 5));
    }

    #[test]
    fn a_bad_literal_names_its_key() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refused("{{schema:1 schema:1}}"), "duplicate key \"schema\" in histogram");
        assert_eq!(refused("{{foo:1}}"), "bad histogram descriptor found: \"foo\"");
        assert_eq!(refused("{{schema :1}}"), "bad histogram descriptor found: \"schema\"");
        assert_eq!(refused("{{schema: 1}}"), "bad value of \"schema\" in histogram: \"\"");
        assert_eq!(
            refused("{{counter_reset_hint:foo}}"),
            "bad value of \"counter_reset_hint\" in histogram: \"foo\""
        );
        assert_eq!(refused("{{sum:1"), "unexpected end of input in histogram");
        assert_eq!(refused("{{buckets:[1}}"), "unexpected end of input in histogram");
    }
}
