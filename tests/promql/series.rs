//! One series of a script and its values, step by step, in the form the runner stores and compares.

use icecore::model::{Histogram, Labels};
use icecore::query::promql::series_description::{self, SeriesLine};

#[derive(Clone, Debug)]
pub enum SequenceValue {
    Float(f64),
    Histogram { histogram: Box<Histogram>, is_hint_given: bool },
}

pub type Series = (Labels, Vec<Option<SequenceValue>>);

/// Milliseconds from each sample of a series to its start.
pub type Starts = (Labels, Vec<Option<i64>>);

pub enum Line {
    Samples(Series),
    Starts(Starts),
}

pub fn parse_line(line: &str) -> Result<Line, String> {
    Ok(match series_description::parse_series(line).map_err(|error| error.to_string())? {
        SeriesLine::Samples { labels, values } => {
            Line::Samples((labels, values.into_iter().map(value).collect()))
        }
        SeriesLine::StartTimestamps { labels, offsets } => Line::Starts((labels, offsets)),
    })
}

fn value(described: series_description::SequenceValue) -> Option<SequenceValue> {
    match described {
        series_description::SequenceValue::Omitted => None,
        series_description::SequenceValue::Float(value) => Some(SequenceValue::Float(value)),
        series_description::SequenceValue::Histogram { histogram, has_hint } => {
            Some(SequenceValue::Histogram {
                histogram: Box::new((*histogram).clone()),
                is_hint_given: has_hint,
            })
        }
    }
}
