//! Deltas become running totals before they are stored, so that every counter in the store is cumulative.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{DeltaHistogramRow, DeltaRow, HistogramRow, SampleRow, StartRow};
use crate::model::{Histogram, Timestamp};

/// The running total of one series and the interval added last.
#[derive(Clone, Debug)]
pub(in crate::storage) struct DeltaState {
    /// Since when the total counts: the start of the first delta.
    pub start: Timestamp,
    /// The end of the last delta.
    pub timestamp: Timestamp,
    pub total: Total,
}

#[derive(Clone, Debug)]
pub(in crate::storage) enum Total {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// The totals of one shard; at most `max` of them, the longest idle go first; none idle for longer than `idle_ms`
/// is carried into another generation.
pub(in crate::storage) struct DeltaTotals {
    states: HashMap<u32, DeltaState, RandomState>,
    max: usize,
    idle_ms: i64,
}

impl DeltaTotals {
    pub fn new(max: usize, idle_ms: i64) -> DeltaTotals {
        DeltaTotals { states: HashMap::default(), max, idle_ms }
    }

    /// Drops the totals that nothing was added to for long; the next delta of such a series begins a new count.
    pub fn forget_idle(&mut self, now: Timestamp) {
        let since = now.saturating_sub(self.idle_ms);
        self.states.retain(|_, state| state.timestamp >= since);
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &DeltaState)> {
        self.states.iter().map(|(&id, state)| (id, state))
    }

    pub fn get(&self, id: u32) -> Option<&DeltaState> {
        self.states.get(&id)
    }

    /// As found in the log.
    pub fn restore(&mut self, id: u32, state: DeltaState) {
        self.insert(id, state);
    }

    pub fn forget(&mut self, id: u32) {
        self.states.remove(&id);
    }

    /// Adds a delta: the total to store and, if the count began anew, since when it counts. `None` for an interval
    /// that was added before (a sender's repetition) or that lies before it.
    pub fn add(&mut self, row: &DeltaRow) -> Option<(SampleRow, Option<StartRow>)> {
        let (total, start) = match self.states.get(&row.id) {
            Some(state) if row.timestamp <= state.timestamp => return None,
            Some(DeltaState { total: Total::Float(total), start, .. }) => (total + row.delta, *start),
            _ => (row.delta, row.start),
        };
        let sample = SampleRow { id: row.id, timestamp: row.timestamp, value: total };
        let begun = self.put(row.id, start, row.timestamp, Total::Float(total));
        Some((sample, begun))
    }

    /// As [`DeltaTotals::add`]. Histograms that cannot be added (exponential and custom buckets) start anew.
    pub fn add_histogram(&mut self, row: DeltaHistogramRow) -> Option<(HistogramRow, Option<StartRow>)> {
        let (total, start) = match self.states.get(&row.id) {
            Some(state) if row.timestamp <= state.timestamp => return None,
            Some(DeltaState { total: Total::Histogram(total), start, .. }) => match sum(total, &row.delta) {
                Some(total) => (Box::new(total), *start),
                None => (row.delta, row.start),
            },
            _ => (row.delta, row.start),
        };
        let histogram = HistogramRow { id: row.id, timestamp: row.timestamp, histogram: total.clone() };
        let begun = self.put(row.id, start, row.timestamp, Total::Histogram(total));
        Some((histogram, begun))
    }

    fn put(&mut self, id: u32, start: Timestamp, timestamp: Timestamp, total: Total) -> Option<StartRow> {
        let is_new = self.states.get(&id).is_none_or(|state| state.start != start);
        self.insert(id, DeltaState { start, timestamp, total });
        (is_new && start != 0).then_some(StartRow { id, timestamp, start })
    }

    fn insert(&mut self, id: u32, state: DeltaState) {
        if self.states.len() >= self.max && !self.states.contains_key(&id) {
            self.evict();
        }
        self.states.insert(id, state);
    }

    /// Drops the tenth that was idle longest, so that this happens rarely.
    fn evict(&mut self) {
        // By id where the times are equal: all series of one export share a timestamp and must not go together.
        let mut ends: Vec<(Timestamp, u32)> = self.states.iter().map(|(&id, s)| (s.timestamp, id)).collect();
        let tenth = (ends.len() / 10).min(ends.len() - 1);
        ends.select_nth_unstable(tenth);
        for (_, id) in &ends[..=tenth] {
            self.states.remove(id);
        }
    }
}

fn sum(total: &Histogram, delta: &Histogram) -> Option<Histogram> {
    let mut sum = total.clone();
    sum.add(delta).ok()?;
    sum.is_integer = total.is_integer && delta.is_integer;
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: i64, timestamp: i64, delta: f64) -> DeltaRow {
        DeltaRow { id: 7, start, timestamp, delta }
    }

    #[test]
    fn totals_run_on_and_a_repeated_interval_counts_once() {
        let mut totals = DeltaTotals::new(10, 1000);
        let (sample, start) = totals.add(&row(100, 200, 3.0)).unwrap();
        assert_eq!((sample.value, start.unwrap().start), (3.0, 100));
        let (sample, start) = totals.add(&row(200, 300, 4.0)).unwrap();
        assert_eq!((sample.value, start.is_none()), (7.0, true));
        assert!(totals.add(&row(200, 300, 4.0)).is_none());
        assert_eq!(totals.add(&row(350, 400, 1.0)).unwrap().0.value, 8.0, "a gap is bridged");
    }

    #[test]
    fn the_longest_idle_total_goes_first() {
        let mut totals = DeltaTotals::new(10, 1000);
        for id in 0..11 {
            totals.add(&DeltaRow { id, start: 0, timestamp: i64::from(id) + 1, delta: 1.0 });
        }
        assert!(totals.get(0).is_none() && totals.get(10).is_some());
    }

    #[test]
    fn a_total_that_was_idle_for_long_begins_anew() {
        let mut totals = DeltaTotals::new(10, 1000);
        totals.add(&row(100, 200, 3.0));
        totals.forget_idle(1200);
        assert_eq!(totals.add(&row(1200, 1300, 4.0)).unwrap().0.value, 7.0);
        totals.forget_idle(2301);
        assert_eq!(totals.add(&row(2301, 2400, 1.0)).unwrap().0.value, 1.0);
    }

    #[test]
    fn totals_that_ended_together_do_not_go_together() {
        let mut totals = DeltaTotals::new(100, 1000);
        for id in 0..101 {
            totals.add(&DeltaRow { id, start: 0, timestamp: 1, delta: 1.0 });
        }
        assert_eq!(totals.iter().len(), 100 - 11 + 1);
    }
}
