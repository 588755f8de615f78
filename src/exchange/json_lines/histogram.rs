//! A native histogram in JSON. Its floats are texts, since JSON's numbers are not read exactly everywhere.

use serde::{Deserialize, Serialize};

use super::value;
use crate::model::Histogram;
use crate::model::histogram::{ResetHint, Span};

#[derive(Serialize, Deserialize)]
pub struct WireHistogram {
    schema: i32,
    count: String,
    sum: String,
    zero_threshold: String,
    zero_count: String,
    /// Offset and length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positive_spans: Vec<(i32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positive_buckets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    negative_spans: Vec<(i32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    negative_buckets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    custom_bounds: Vec<String>,
    #[serde(default, skip_serializing_if = "Hint::is_unknown")]
    hint: Hint,
    /// Whether its counts are floats, where integers are usual.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_float_counts: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

impl Hint {
    fn is_unknown(&self) -> bool {
        *self == Hint::Unknown
    }
}

impl WireHistogram {
    pub fn write(histogram: &Histogram) -> WireHistogram {
        WireHistogram {
            schema: histogram.schema,
            count: text(histogram.count),
            sum: text(histogram.sum),
            zero_threshold: text(histogram.zero_threshold),
            zero_count: text(histogram.zero_count),
            positive_spans: pairs(&histogram.positive_spans),
            positive_buckets: histogram.positive_buckets.iter().copied().map(text).collect(),
            negative_spans: pairs(&histogram.negative_spans),
            negative_buckets: histogram.negative_buckets.iter().copied().map(text).collect(),
            custom_bounds: histogram.custom_bounds.iter().copied().map(text).collect(),
            hint: match histogram.hint {
                ResetHint::Unknown => Hint::Unknown,
                ResetHint::Reset => Hint::Reset,
                ResetHint::NotReset => Hint::NotReset,
                ResetHint::Gauge => Hint::Gauge,
            },
            has_float_counts: !histogram.is_integer,
        }
    }

    /// `None` where a text is no number.
    pub fn read(self) -> Option<Histogram> {
        let floats = |texts: &[String]| texts.iter().map(|text| float(text)).collect::<Option<Vec<_>>>();
        Some(Histogram {
            schema: self.schema,
            count: float(&self.count)?,
            sum: float(&self.sum)?,
            zero_threshold: float(&self.zero_threshold)?,
            zero_count: float(&self.zero_count)?,
            positive_spans: spans(&self.positive_spans),
            positive_buckets: floats(&self.positive_buckets)?,
            negative_spans: spans(&self.negative_spans),
            negative_buckets: floats(&self.negative_buckets)?,
            custom_bounds: floats(&self.custom_bounds)?,
            hint: match self.hint {
                Hint::Unknown => ResetHint::Unknown,
                Hint::Reset => ResetHint::Reset,
                Hint::NotReset => ResetHint::NotReset,
                Hint::Gauge => ResetHint::Gauge,
            },
            is_integer: !self.has_float_counts,
        })
    }
}

fn text(number: f64) -> String {
    let mut text = String::new();
    value::push(&mut text, number);
    text.trim_matches('"').to_owned()
}

fn float(text: &str) -> Option<f64> {
    value::parse(text).or_else(|| value::parse(&format!("\"{text}\"")))
}

fn pairs(spans: &[Span]) -> Vec<(i32, u32)> {
    spans.iter().map(|span| (span.offset, span.length)).collect()
}

fn spans(pairs: &[(i32, u32)]) -> Vec<Span> {
    pairs.iter().map(|&(offset, length)| Span { offset, length }).collect()
}
