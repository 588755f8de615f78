//! Exposition text with timestamps: OpenMetrics and Prometheus's text format.
//!
//! The two are read alike, line by line; they differ in their timestamps, seconds in the one and milliseconds in the
//! other. What is held is one line, one metric point and the labels of the series met lately.

mod cursor;
mod family;
mod line;
mod lines;
mod point;
mod series;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::Batch;
use crate::model::{Exemplar, Timestamp};
use family::Family;
use line::{ExemplarText, Line, SampleText};
use point::{HeldSample, Point};
use series::Series;

pub(super) use cursor::{Cursor, Fault, shown};
pub(super) use lines::Lines;

/// What the timestamps of a text count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// OpenMetrics.
    Seconds,
    /// Prometheus's text format.
    Milliseconds,
}

/// Why reading ended before the text did.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("line {line}, column {column}: {reason}")]
    Syntax { line: u64, column: usize, reason: String },
    #[error("line {line} is longer than {max} bytes")]
    LineTooLong { line: u64, max: usize },
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// A line is one sample; a series has at most 64 labels of 2 KiB by default.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Spellings of series that are remembered: a page of a large target has some tens of thousands, of some hundred bytes.
const KNOWN_MAX: usize = 1 << 17;
const KNOWN_BYTES_MAX: usize = 32 << 20;

pub struct Reader<R> {
    lines: Lines<R>,
    times: Option<Times>,
    family: Family,
    point: Point,
    /// By how the text spells them.
    known: HashMap<Box<str>, Rc<Series>, RandomState>,
    /// Of those spellings.
    known_bytes: usize,
    has_end: bool,
}

impl<R: BufRead> Reader<R> {
    /// Without `times` the first timestamp tells which they are.
    pub fn new(input: R, times: Option<Times>) -> Reader<R> {
        Reader {
            lines: Lines::new(input, LINE_BYTES_MAX),
            times,
            family: Family::default(),
            point: Point::default(),
            known: HashMap::default(),
            known_bytes: 0,
            has_end: false,
        }
    }

    /// Reads until the batch is full, or to the end of the text: then there is no more, `false`.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, TextError> {
        let first = self.lines.number + 1;
        let mut has_more = true;
        while has_more && !batch.is_full() {
            has_more = self.read_line(batch)?;
        }
        if !has_more {
            self.point.flush(&self.family, batch);
        }
        batch.origin = format!("lines {first} to {}", self.lines.number);
        Ok(has_more)
    }

    /// As told, or as found out.
    pub fn times(&self) -> Option<Times> {
        self.times
    }

    /// Whether the text said where it ends, as OpenMetrics does.
    pub fn has_end(&self) -> bool {
        self.has_end
    }

    fn read_line(&mut self, batch: &mut Batch) -> Result<bool, TextError> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        let number = self.lines.number;
        let at_line = |fault: Fault| TextError::Syntax {
            line: number,
            column: fault.column_of(&line),
            reason: fault.reason,
        };
        let text = std::str::from_utf8(&line)
            .map_err(|error| at_line(Fault::new(error.valid_up_to(), "not UTF-8")))?;
        let parsed = line::parse(text).map_err(at_line)?;
        if self.has_end && !matches!(parsed, Line::Nothing) {
            return Err(at_line(Fault::new(0, "text after # EOF")));
        }
        match parsed {
            Line::Nothing => {}
            Line::End => self.has_end = true,
            Line::Type(family, metric_type) => self.family(&family, batch).metadata.metric_type = metric_type,
            Line::Help(family, help) => self.family(&family, batch).metadata.help = help,
            Line::Unit(family, unit) => self.family(&family, batch).metadata.unit = unit,
            Line::Sample(sample) => self.sample(&sample, batch).map_err(at_line)?,
        }
        self.lines.give_back(line);
        Ok(true)
    }

    /// The family that the lines to come tell of.
    fn family(&mut self, name: &str, batch: &mut Batch) -> &mut Family {
        if self.family.name != name {
            self.point.flush(&self.family, batch);
            self.family = Family::new(name);
        }
        &mut self.family
    }

    fn sample(&mut self, text: &SampleText<'_>, batch: &mut Batch) -> Result<(), Fault> {
        let series = self.series(text.series.0, text.series.1)?;
        let (at, timestamp) = text
            .timestamp
            .ok_or_else(|| Fault::new(text.end, "no timestamp: history needs one for every sample"))?;
        let timestamp = self.timestamp(at, timestamp)?;
        if self.family.has_start_in(series.name()) {
            let start = seconds_to_millis(text.value)
                .ok_or_else(|| Fault::new(text.value_at, "a start time out of range"))?;
            self.point.begin(&series.point, timestamp, &self.family, batch);
            self.point.start = start;
            return Ok(());
        }
        let exemplar =
            text.exemplar.as_ref().map(|exemplar| self.exemplar(exemplar, timestamp)).transpose()?;
        let sample = HeldSample { series, timestamp, value: text.value, exemplar };
        if !self.family.tells_starts() {
            sample.give(0, &self.family, batch);
            return Ok(());
        }
        self.point.begin(&sample.series.point, timestamp, &self.family, batch);
        self.point.hold(sample);
        Ok(())
    }

    fn series(&mut self, at: usize, spelling: &str) -> Result<Rc<Series>, Fault> {
        if let Some(series) = self.known.get(spelling) {
            return Ok(series.clone());
        }
        let series = Rc::new(Series::parse(at, spelling)?);
        if self.known.len() == KNOWN_MAX || self.known_bytes > KNOWN_BYTES_MAX {
            self.known.clear();
            self.known_bytes = 0;
        }
        self.known_bytes += spelling.len();
        self.known.insert(spelling.into(), series.clone());
        Ok(series)
    }

    fn timestamp(&mut self, at: usize, text: &str) -> Result<Timestamp, Fault> {
        let times = *self.times.get_or_insert_with(|| Times::told_by(text));
        times.read(text).ok_or_else(|| {
            let unit = if times == Times::Seconds { "seconds" } else { "milliseconds" };
            Fault::new(at, format!("a timestamp that is no number of {unit}: {}", shown(text)))
        })
    }

    /// Without a timestamp it has that of its sample.
    fn exemplar(&mut self, text: &ExemplarText<'_>, of_sample: Timestamp) -> Result<Exemplar, Fault> {
        let labels = series::exemplar_labels(text.labels.0, text.labels.1)?;
        let timestamp = match text.timestamp {
            Some((at, timestamp)) => self.timestamp(at, timestamp)?,
            None => of_sample,
        };
        Ok(Exemplar { labels, value: text.value, timestamp })
    }
}

impl Times {
    /// So many seconds are the year 5138, so many milliseconds March 1973.
    const SECONDS_MAX: f64 = 1e11;

    fn told_by(text: &str) -> Times {
        let is_large = text.parse::<f64>().is_ok_and(|number| number.abs() >= Times::SECONDS_MAX);
        if is_large && !text.contains(['.', 'e', 'E']) { Times::Milliseconds } else { Times::Seconds }
    }

    fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Times::Seconds => seconds_to_millis(text.parse().ok()?),
            Times::Milliseconds => text.parse().ok(),
        }
    }
}

/// To the nearest; `None` for what has no place in 64 bits.
fn seconds_to_millis(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1_000.0).round();
    // 2^63 is a double, 2^63 - 1 is none.
    (-(2f64.powi(63))..2f64.powi(63)).contains(&millis).then_some(millis as Timestamp)
}
