//! One line: its metric, its values or histograms, and their times.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::histogram::WireHistogram;
use super::value;
use crate::exchange::Batch;
use crate::exchange::text::{Cursor, Fault, shown};
use crate::model::{Histogram, Labels, Timestamp};

/// What a line has, and how much of it was given away.
pub struct Points {
    pub labels: Labels,
    floats: Vec<(Timestamp, f64)>,
    pub histograms: Vec<(Timestamp, Histogram)>,
    given: usize,
}

impl Points {
    /// Whether all of it has its place in the batch, which else is full.
    pub fn give(&mut self, batch: &mut Batch) -> bool {
        while self.given < self.floats.len() + self.histograms.len() {
            if batch.is_full() {
                return false;
            }
            match self.floats.get(self.given) {
                Some((timestamp, value)) => batch.float(&self.labels, *timestamp, *value, 0),
                None => {
                    let (timestamp, histogram) = &self.histograms[self.given - self.floats.len()];
                    batch.histogram(&self.labels, *timestamp, histogram);
                }
            }
            self.given += 1;
        }
        true
    }
}

#[derive(Default)]
struct Parts {
    metric: Option<BTreeMap<String, String>>,
    values: Vec<f64>,
    histograms: Vec<WireHistogram>,
    timestamps: Vec<Timestamp>,
}

pub fn parse(line: &[u8]) -> Result<Points, Fault> {
    let text = std::str::from_utf8(line).map_err(|error| Fault::new(error.valid_up_to(), "not UTF-8"))?;
    let mut cursor = Cursor::new(0, text);
    let mut parts = Parts::default();
    cursor.skip_blanks();
    cursor.expect('{')?;
    cursor.skip_blanks();
    while !cursor.take('}') {
        part(&mut cursor, &mut parts)?;
        cursor.skip_blanks();
        if !cursor.take(',') {
            cursor.expect('}')?;
            break;
        }
        cursor.skip_blanks();
    }
    cursor.skip_blanks();
    match cursor.rest() {
        "" => points(parts),
        rest => Err(cursor.fault(format!("expected the end of the line, found {}", shown(rest)))),
    }
}

/// A key and what belongs to it. Numbers are not left to the JSON parser, which may round them.
fn part(cursor: &mut Cursor<'_>, parts: &mut Parts) -> Result<(), Fault> {
    let key: String = json(cursor)?;
    cursor.skip_blanks();
    cursor.expect(':')?;
    cursor.skip_blanks();
    match key.as_str() {
        "metric" => parts.metric = Some(json(cursor)?),
        "histograms" => parts.histograms = json(cursor)?,
        "values" => {
            parts.values = list(cursor, |text| {
                value::parse(text).ok_or_else(|| format!("no value is written {}", shown(text)))
            })?
        }
        "timestamps" => {
            let parse = |text: &str| {
                text.parse().map_err(|_| format!("no timestamp in milliseconds: {}", shown(text)))
            };
            parts.timestamps = list(cursor, parse)?;
        }
        _ => drop(json::<Value>(cursor)?),
    }
    Ok(())
}

/// One value of JSON, wherever that ends.
fn json<T: DeserializeOwned>(cursor: &mut Cursor<'_>) -> Result<T, Fault> {
    let mut values = serde_json::Deserializer::from_str(cursor.rest()).into_iter::<T>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            // It counts from 1, and tells the place in its own words.
            let at = cursor.place() + error.column().saturating_sub(1);
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
            return Err(Fault::new(at, reason));
        }
        None => return Err(cursor.fault("the line ends too early")),
    };
    cursor.skip(values.byte_offset());
    Ok(value)
}

/// A list of what has no comma in it.
fn list<T>(cursor: &mut Cursor<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Fault> {
    let mut items = Vec::new();
    cursor.expect('[')?;
    cursor.skip_blanks();
    while !cursor.take(']') {
        let place = cursor.place();
        let text = cursor.until(|c| matches!(c, ',' | ']'));
        items.push(parse(text.trim_end()).map_err(|reason| Fault::new(place, reason))?);
        if !cursor.take(',') {
            cursor.expect(']')?;
            break;
        }
        cursor.skip_blanks();
    }
    Ok(items)
}

fn points(parts: Parts) -> Result<Points, Fault> {
    let Parts { metric, values, histograms, timestamps } = parts;
    let metric = metric.ok_or_else(|| Fault::new(0, "a line without \"metric\""))?;
    let pairs = metric.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_str()));
    let labels = Labels::from_pairs(pairs).map_err(|error| Fault::new(0, error.to_string()))?;
    let count = values.len() + histograms.len();
    let is_either = values.is_empty() || histograms.is_empty();
    if !is_either || count != timestamps.len() {
        let what = if histograms.is_empty() { "values" } else { "histograms" };
        return Err(Fault::new(0, format!("{count} {what} and {} timestamps", timestamps.len())));
    }
    let floats = timestamps.iter().copied().zip(values).collect();
    let histograms = histograms.into_iter().map(WireHistogram::read).collect::<Option<Vec<_>>>();
    let histograms = histograms.ok_or_else(|| Fault::new(0, "a histogram whose numbers are none"))?;
    let histograms = timestamps.iter().copied().zip(histograms).collect();
    Ok(Points { labels, floats, histograms, given: 0 })
}
