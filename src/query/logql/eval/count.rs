//! Counts of entries and bytes for each series and step, exact whatever the order of the entries.
//!
//! An entry is written down twice: where the steps that see it begin, and where they end. A row is the running sum
//! of that, so that an entry costs the same however many windows it lies in.

use std::ops::Range;

use crate::query::budget::{Budget, Exceeded, HeldBytes};
use crate::query::promql::eval::row::Row;

#[derive(Debug)]
pub struct Tally<'b> {
    steps: usize,
    counts_bytes: bool,
    /// For each series a change at each step, and one behind the last.
    entries: Vec<i64>,
    bytes: Vec<i64>,
    held: HeldBytes<'b>,
}

impl<'b> Tally<'b> {
    pub fn new(steps: usize, counts_bytes: bool, budget: &'b Budget) -> Tally<'b> {
        let held = HeldBytes::none(budget);
        Tally { steps, counts_bytes, entries: Vec::new(), bytes: Vec::new(), held }
    }

    /// Makes room for so many more series; `extra` bytes are accounted with them.
    pub fn add_series(&mut self, count: usize, extra: u64) -> Result<(), Exceeded> {
        let changes = count.saturating_mul(self.steps + 1);
        let columns = 1 + u64::from(self.counts_bytes);
        self.held.grow((changes as u64).saturating_mul(8 * columns).saturating_add(extra))?;
        self.entries.resize(self.entries.len() + changes, 0);
        if self.counts_bytes {
            self.bytes.resize(self.bytes.len() + changes, 0);
        }
        Ok(())
    }

    pub fn add(&mut self, series: usize, steps: Range<usize>, entries: u64, bytes: u64) {
        let first = series * (self.steps + 1);
        self.entries[first + steps.start] += entries as i64;
        self.entries[first + steps.end] -= entries as i64;
        if self.counts_bytes {
            self.bytes[first + steps.start] += bytes as i64;
            self.bytes[first + steps.end] -= bytes as i64;
        }
    }

    /// Adds a series of another tally to one of this.
    pub fn add_from(&mut self, series: usize, other: &Tally<'_>, from: usize) {
        let changes = |series: usize| series * (self.steps + 1)..(series + 1) * (self.steps + 1);
        let (to, from) = (changes(series), changes(from));
        let add = |to: &mut [i64], from: &[i64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.entries[to.clone()], &other.entries[from.clone()]);
        if self.counts_bytes {
            add(&mut self.bytes[to], &other.bytes[from]);
        }
    }

    /// The steps that saw entries, each with what `value` makes of their number, or of their bytes where those are
    /// counted.
    pub fn row(&self, series: usize, value: impl Fn(i64) -> f64) -> Row {
        let mut row = Row::new(self.steps);
        let first = series * (self.steps + 1);
        let (mut entries, mut bytes) = (0, 0);
        for step in 0..self.steps {
            entries += self.entries[first + step];
            if self.counts_bytes {
                bytes += self.bytes[first + step];
            }
            if entries > 0 {
                row.set_float(step, value(if self.counts_bytes { bytes } else { entries }));
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::budget::Limits;

    fn budget() -> Budget {
        let limits = Limits { samples_max: 1, series_max: 1, bytes_max: 1000, log_bytes_max: 1 };
        Budget::new(Instant::now() + Duration::from_secs(60), limits)
    }

    fn values(row: &Row) -> Vec<Option<f64>> {
        (0..row.len()).map(|step| row.float(step)).collect()
    }

    #[test]
    fn an_entry_counts_at_each_step_that_sees_it() {
        let budget = budget();
        let mut tally = Tally::new(4, true, &budget);
        tally.add_series(2, 0).unwrap();
        tally.add(1, 0..2, 1, 10);
        tally.add(1, 1..4, 2, 0);
        assert_eq!(values(&tally.row(1, |n| n as f64)), [Some(10.0), Some(10.0), Some(0.0), Some(0.0)]);
        assert_eq!(values(&tally.row(0, |n| n as f64)), [None; 4]);
    }

    #[test]
    fn tallies_of_several_threads_add_up() {
        let budget = budget();
        let mut all = Tally::new(2, false, &budget);
        all.add_series(1, 0).unwrap();
        let mut one = Tally::new(2, false, &budget);
        one.add_series(2, 0).unwrap();
        one.add(1, 0..1, 3, 0);
        all.add_from(0, &one, 1);
        all.add_from(0, &one, 1);
        assert_eq!(values(&all.row(0, |n| n as f64 / 2.0)), [Some(3.0), None]);
    }

    #[test]
    fn series_that_do_not_fit_are_refused_before_they_are_made() {
        let budget = budget();
        let mut tally = Tally::new(9, false, &budget);
        assert!(tally.add_series(12, 0).is_ok() && tally.add_series(1, 0).is_err());
        assert!(tally.add_series(usize::MAX, 0).is_err());
    }
}
