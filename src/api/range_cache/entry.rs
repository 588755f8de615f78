//! An answer as it is kept: the series of a matrix as they stand in its JSON, in one piece, and where in it each point
//! of each series ends. So the same answer again is sent without a copy, and one for another range is a copy of the
//! points they share and what was computed for the others.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::json::push_labels;
use crate::api::result::{push_histogram_point, push_point};
use crate::model::{Histogram, Labels, Timestamp};
use crate::query::promql::Reuse;
use crate::query::{MatrixSeries, RangeQuery};
use crate::storage::metrics::Mark;

/// The steps of a range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub start: Timestamp,
    /// Where the range ends, which need not be a step.
    pub end: Timestamp,
    pub step_ms: i64,
    /// At least one.
    pub len: u32,
}

impl Steps {
    /// `None` where there are more than an answer may have.
    pub fn of(query: &RangeQuery) -> Option<Steps> {
        let len = query.end.checked_sub(query.start)?.div_euclid(query.step_ms) + 1;
        let len = u32::try_from(len).ok().filter(|len| *len > 0)?;
        Some(Steps { start: query.start, end: query.end, step_ms: query.step_ms, len })
    }

    pub fn at(&self, step: u32) -> Timestamp {
        self.start + self.step_ms * i64::from(step)
    }

    pub fn last(&self) -> Timestamp {
        self.at(self.len - 1)
    }

    /// How many of them lie before a time.
    fn count_before(&self, time: Timestamp) -> u32 {
        if self.last() < time {
            return self.len;
        }
        // None of the differences is longer than the range itself.
        let before = if time <= self.start { 0 } else { (time - 1 - self.start) / self.step_ms + 1 };
        before as u32
    }

    /// The number that the first step of others of the same grid has here.
    fn place_of(&self, others: &Steps) -> Option<u32> {
        let ahead = others.start.checked_sub(self.start).filter(|ahead| *ahead >= 0)?;
        u32::try_from(ahead / self.step_ms).ok().filter(|place| *place < self.len)
    }
}

/// Where a point ends in the text, and which step it is of.
#[derive(Clone, Copy)]
struct Point {
    step: u32,
    end: u32,
}

/// The floats or the histograms of a series.
#[derive(Clone, Copy, Default)]
struct Points {
    /// Where the first begins in the text.
    begin: u32,
    /// Those of the entry's points.
    first: u32,
    end: u32,
}

struct Series {
    labels: Labels,
    /// Where its object begins, and where its labels end.
    begin: u32,
    labels_end: u32,
    floats: Points,
    histograms: Points,
}

/// Remarks of an answer, as they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Remarks {
    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.infos.is_empty()
    }
}

/// Of a series at these steps, by number.
type Kept<'a> = (&'a Entry, &'a Series, Range<u32>);

pub struct Entry {
    pub steps: Steps,
    pub reuse: Reuse,
    /// Taken before the samples were read.
    pub mark: Mark,
    pub remarks: Remarks,
    text: Text,
    series: Vec<Series>,
    points: Vec<Point>,
}

/// Shared with the answers that are on their way.
#[derive(Clone)]
struct Text(Arc<String>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// How much of an entry serves a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// As it is.
    Whole,
    /// So many of the steps asked for, from the first on; the entry's from this one on.
    Steps {
        from: u32,
        len: u32,
    },
    Nothing,
}

impl Entry {
    /// Of an answer to a query with these steps.
    pub fn of(steps: Steps, reuse: Reuse, mark: Mark, matrix: &[MatrixSeries], remarks: Remarks) -> Entry {
        let mut writer = Writer::new(steps, estimated_bytes(matrix));
        for series in matrix {
            writer.push(&series.labels, None, Some(series));
        }
        writer.end(reuse, mark, remarks)
    }

    /// The steps from one on, and behind them those that were computed: `fresh` is sorted by labels, as an entry is.
    pub fn slid(&self, steps: Steps, kept: Range<u32>, fresh: &[MatrixSeries], mark: Mark) -> Entry {
        let mut writer = Writer::new(steps, self.text.0.len() + estimated_bytes(fresh));
        let (mut old, mut new) = (self.series.iter().peekable(), fresh.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.labels.cmp(&new.labels),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let old = if order == Ordering::Greater { None } else { old.next() };
            let new = if order == Ordering::Less { None } else { new.next() };
            let labels = old.map(|series| &series.labels).or(new.map(|series| &series.labels));
            let kept = old.map(|series| (self, series, kept.clone()));
            writer.push(labels.expect("one of them is there"), kept, new);
        }
        writer.end(self.reuse, mark, self.remarks.clone())
    }

    /// What it can say to a question, if what it says of the time before `changed` still holds.
    pub fn serves(&self, asked: &Steps, changed: Timestamp) -> Serves {
        let valid = self.steps.count_before(changed);
        if self.steps == *asked && valid == self.steps.len {
            return Serves::Whole;
        }
        // A single step may be read from a rollup where those of a range are not.
        let place = self.steps.place_of(asked).filter(|_| self.reuse == Reuse::Steps && asked.len > 1);
        match place {
            Some(from) if from < valid => Serves::Steps { from, len: asked.len.min(valid - from) },
            _ => Serves::Nothing,
        }
    }

    /// The first series, or all; and whether that is fewer than there are.
    pub fn shown(&self, limit: usize) -> (Bytes, bool) {
        let text = Bytes::from_owner(self.text.clone());
        match self.series.get(limit).filter(|_| limit > 0) {
            // Without the comma before the first one that is not shown.
            Some(next) => (text.slice(..next.begin as usize - 1), true),
            None => (text, false),
        }
    }

    /// What is held by it.
    pub fn bytes(&self) -> u64 {
        /// The counters of a shared text.
        const SHARED_BYTES: usize = 16;
        let labels: usize = self.series.iter().map(|series| series.labels.text_len() + SHARED_BYTES).sum();
        let remarks = self.remarks.warnings.iter().chain(&self.remarks.infos);
        let remarks: usize = remarks.map(|text| text.len() + size_of::<String>()).sum();
        let tables = size_of_val(&self.series[..]) + size_of_val(&self.points[..]);
        (size_of::<Entry>() + self.text.0.len() + tables + labels + remarks) as u64
    }
}

/// About as long as a point of this century is: seconds, and a few digits.
const POINT_BYTES: usize = 28;
const BUCKET_BYTES: usize = 48;

/// About how long the text will be that these become; it is no more than a few times as long.
pub fn estimated_bytes(matrix: &[MatrixSeries]) -> usize {
    let buckets = |histogram: &Histogram| histogram.positive_buckets.len() + histogram.negative_buckets.len();
    let series = |series: &MatrixSeries| {
        let histograms = series.histograms.iter().map(|(_, h)| 2 * POINT_BYTES + BUCKET_BYTES * buckets(h));
        2 * POINT_BYTES
            + 2 * series.labels.text_len()
            + POINT_BYTES * series.floats.len()
            + histograms.sum::<usize>()
    };
    matrix.iter().map(series).sum()
}

struct Writer {
    steps: Steps,
    text: String,
    series: Vec<Series>,
    points: Vec<Point>,
}

impl Writer {
    fn new(steps: Steps, bytes: usize) -> Writer {
        Writer { steps, text: String::with_capacity(bytes), series: Vec::new(), points: Vec::new() }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.text.len()).expect("an entry is a part of a cache that is kept below 4 GiB")
    }

    /// Appends a series: what is kept of it, then what is new. Where there is neither, nothing.
    fn push(&mut self, labels: &Labels, kept: Option<Kept<'_>>, fresh: Option<&MatrixSeries>) {
        let before = self.text.len();
        self.text.push_str(if before == 0 { "" } else { "," });
        let begin = self.len();
        match &kept {
            Some((entry, series, _)) => {
                self.text.push_str(entry.part(series.begin, series.labels_end));
            }
            None => {
                self.text.push_str("{\"metric\":");
                push_labels(&mut self.text, labels);
            }
        }
        let labels_end = self.len();
        let (floats, histograms) =
            fresh.map_or((&[][..], &[][..]), |fresh| (&fresh.floats[..], &fresh.histograms[..]));
        let of =
            |points: fn(&Series) -> Points| kept.as_ref().map(|(e, s, steps)| (*e, points(s), steps.clone()));
        let floats = self.push_points(",\"values\":[", of(|s| s.floats), floats, |text, time, value| {
            push_point(text, time, *value);
        });
        let histograms =
            self.push_points(",\"histograms\":[", of(|s| s.histograms), histograms, |text, time, value| {
                push_histogram_point(text, time, value);
            });
        if self.len() == labels_end {
            return self.text.truncate(before);
        }
        self.text.push('}');
        self.series.push(Series { labels: labels.clone(), begin, labels_end, floats, histograms });
    }

    fn push_points<V>(
        &mut self,
        opening: &str,
        kept: Option<(&Entry, Points, Range<u32>)>,
        fresh: &[(Timestamp, V)],
        encode: impl Fn(&mut String, Timestamp, &V),
    ) -> Points {
        let (before, first) = (self.text.len(), self.points.len());
        self.text.push_str(opening);
        let begin = self.len();
        if let Some((entry, points, steps)) = kept {
            self.copy_points(entry, points, steps);
        }
        for (time, value) in fresh {
            self.text.push_str(if self.points.len() == first { "" } else { "," });
            encode(&mut self.text, *time, value);
            let step = ((time - self.steps.start) / self.steps.step_ms) as u32;
            self.points.push(Point { step, end: self.len() });
        }
        if self.points.len() == first {
            self.text.truncate(before);
            return Points::default();
        }
        self.text.push(']');
        Points { begin, first: first as u32, end: self.points.len() as u32 }
    }

    /// The points at these steps of the entry; the first of them is the first one here.
    fn copy_points(&mut self, entry: &Entry, of: Points, steps: Range<u32>) {
        let all = &entry.points[of.first as usize..of.end as usize];
        let from = all.partition_point(|point| point.step < steps.start);
        let points = &all[from..all.partition_point(|point| point.step < steps.end).max(from)];
        let Some(last) = points.last() else { return };
        // Behind the comma after the one before it.
        let begin = if from == 0 { of.begin } else { all[from - 1].end + 1 };
        let here = self.len();
        self.text.push_str(entry.part(begin, last.end));
        let moved = points
            .iter()
            .map(|point| Point { step: point.step - steps.start, end: point.end - begin + here });
        self.points.extend(moved);
    }

    fn end(mut self, reuse: Reuse, mark: Mark, remarks: Remarks) -> Entry {
        self.series.shrink_to_fit();
        self.points.shrink_to_fit();
        self.text.shrink_to_fit();
        let Writer { steps, text, series, points } = self;
        Entry { steps, reuse, mark, remarks, text: Text(Arc::new(text)), series, points }
    }
}

impl Entry {
    fn part(&self, begin: u32, end: u32) -> &str {
        &self.text.0[begin as usize..end as usize]
    }
}
