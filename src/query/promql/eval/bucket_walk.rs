//! One forward pass over the buckets of a series serves the windows of all steps, as over samples.

use std::ops::Range;

use crate::model::{TimeRange, Timestamp};
use crate::query::QueryError;

use super::bucket_window::{BucketFunction, BucketWindow};
use super::row::{Grid, Row};
use super::select::count_until;
use super::selected::Rolled;
use super::tally::{Samples, Tally};
use super::window::{Notes, WindowShape};

pub struct BucketWalk<'a> {
    pub shape: WindowShape,
    pub grid: Grid,
    pub function: BucketFunction,
    pub tally: &'a Tally,
}

impl BucketWalk<'_> {
    /// Sets the value of every step that sees a sample.
    pub fn fill(&self, rolled: Rolled<'_>, notes: &Notes<'_>, row: &mut Row) -> Result<(), QueryError> {
        let (mut floats, mut histograms) = (Edges::default(), Edges::default());
        let buckets = rolled.buckets;
        let mut seen = 0;
        for step in 0..self.grid.len {
            let until = self.shape.time.at(self.grid.at(step));
            let range = rolled.tiers.window(until, self.shape.range_ms);
            let before = (floats.until, histograms.until);
            let window = BucketWindow {
                floats: &buckets.floats,
                rows: floats.advance(&buckets.floats.ends, range),
                histograms: &buckets.histograms,
                histogram_rows: histograms.advance(&buckets.histograms.ends, range),
                range,
                asked_ms: self.shape.range_ms,
            };
            let rows = window.rows.len() + window.histogram_rows.len();
            seen += rows + 1;
            if seen > 100_000 {
                seen = 0;
                notes.check()?;
            }
            if window.count() == 0 {
                continue;
            }
            row.set(step, (self.function)(&window, notes));
            let new = window.rows.end.saturating_sub(before.0.max(window.rows.start))
                + window.histogram_rows.end.saturating_sub(before.1.max(window.histogram_rows.start));
            self.tally.add(step, Samples { queryable: rows as u64, read: new as u64 });
        }
        Ok(())
    }
}

/// The rows of the window before; windows move forwards, but for one that was widened.
#[derive(Default)]
pub struct Edges {
    after: usize,
    until: usize,
}

impl Edges {
    /// The window before saw these rows.
    pub fn behind(rows: &Range<usize>) -> Edges {
        Edges { after: rows.start, until: rows.end }
    }

    pub fn advance(&mut self, ends: &[Timestamp], range: TimeRange) -> Range<usize> {
        // Behind the end of a stretch with wide windows the next window may begin before the last one did.
        if self.after > 0 && ends[self.after - 1] > range.after {
            self.after = ends[..self.after].partition_point(|&end| end <= range.after);
        }
        self.after += count_until(&ends[self.after..], range.after);
        self.until = self.until.max(self.after);
        self.until += count_until(&ends[self.until..], range.until);
        self.after..self.until
    }
}
