//! States of native histograms: one, and a column of each part of many.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::{Columns, NEVER, rows_of, runs};
use crate::model::{Histogram, Timestamp};

/// What is known of the histograms of one series in a span of time. A histogram has no extremes.
#[derive(Clone, Debug)]
pub struct HistogramState {
    pub count: u64,
    /// None if there is nothing to add up, or if exponential and custom buckets met, which have no sum.
    pub sum: Option<Arc<Histogram>>,
    pub first: Arc<Histogram>,
    pub first_time: Timestamp,
    pub last: Arc<Histogram>,
    pub last_time: Timestamp,
    /// The histograms just before each reset, added up.
    pub lost: Option<Arc<Histogram>>,
    pub resets: u32,
    pub changes: u32,
    /// Time of a stale marker after the last sample, or [`NEVER`].
    pub stale_at: Timestamp,
}

/// What stands where there is no histogram.
static NOTHING: LazyLock<Arc<Histogram>> = LazyLock::new(Arc::default);

impl HistogramState {
    /// Nothing: merged with any state it is that state.
    pub fn empty() -> HistogramState {
        HistogramState {
            count: 0,
            sum: None,
            first: NOTHING.clone(),
            first_time: NEVER,
            last: NOTHING.clone(),
            last_time: NEVER,
            lost: None,
            resets: 0,
            changes: 0,
            stale_at: NEVER,
        }
    }

    /// One sample, or one stale marker.
    pub fn of(time: Timestamp, histogram: &Arc<Histogram>) -> HistogramState {
        if histogram.is_stale() {
            return HistogramState { stale_at: time, ..HistogramState::empty() };
        }
        HistogramState {
            count: 1,
            sum: Some(histogram.clone()),
            first: histogram.clone(),
            first_time: time,
            last: histogram.clone(),
            last_time: time,
            ..HistogramState::empty()
        }
    }

    /// Merges the state of what comes after all of this.
    pub fn append(&mut self, next: &HistogramState) {
        if next.count == 0 {
            self.stale_at = self.stale_at.max(next.stale_at);
            return;
        }
        if self.count == 0 {
            *self = next.clone();
            return;
        }
        if next.first.detect_reset(&self.last) {
            self.lost = with_lost(self.lost.take(), &self.last, &next.first);
            self.resets = self.resets.saturating_add(1);
        }
        if let Some(lost) = &next.lost {
            self.lost = with_lost(self.lost.take(), lost, &next.last);
        }
        self.changes = self.changes.saturating_add(u32::from(!next.first.equals(&self.last)));
        self.count = self.count.saturating_add(next.count);
        self.sum = added(self.sum.take(), next.sum.as_ref());
        (self.last, self.last_time) = (next.last.clone(), next.last_time);
        self.resets = self.resets.saturating_add(next.resets);
        self.changes = self.changes.saturating_add(next.changes);
        self.stale_at = next.stale_at;
    }

    /// Merges the state of other samples of the same span, wherever in it they lie. Where the two overlap, what is
    /// counted between neighbours (changes, resets and what they lost) is that of each by itself and no more.
    pub fn unite(&mut self, other: &HistogramState) {
        let is_earlier = other.count > 0 && other.first_time < self.first_time;
        let (mut early, late) =
            if is_earlier { (other.clone(), self.clone()) } else { (self.clone(), other.clone()) };
        let stale_at = early.stale_at.max(late.stale_at);
        if early.count == 0 || late.count == 0 || early.last_time < late.first_time {
            early.append(&late);
        } else {
            early.count = early.count.saturating_add(late.count);
            early.sum = added(early.sum.take(), late.sum.as_ref());
            if late.last_time >= early.last_time {
                (early.last, early.last_time) = (late.last, late.last_time);
            }
            if let Some(lost) = &late.lost {
                early.lost = with_lost(early.lost.take(), lost, &early.last);
            }
            early.resets = early.resets.saturating_add(late.resets);
            early.changes = early.changes.saturating_add(late.changes);
        }
        early.stale_at = if stale_at > early.last_time { stale_at } else { NEVER };
        *self = early;
    }

    /// The state of samples in order of time.
    pub fn fold(timestamps: &[Timestamp], histograms: &[Arc<Histogram>], columns: Columns) -> HistogramState {
        let mut state = HistogramState::empty();
        for (&time, histogram) in timestamps.iter().zip(histograms) {
            let mut next = HistogramState::of(time, histogram);
            // The sum is most of the work, and counters have no use for it.
            next.sum = next.sum.filter(|_| columns.contains(Columns::SUM));
            state.append(&next);
        }
        state
    }
}

fn added(sum: Option<Arc<Histogram>>, term: Option<&Arc<Histogram>>) -> Option<Arc<Histogram>> {
    let mut sum = sum?;
    Arc::make_mut(&mut sum).add(term?).ok()?;
    Some(sum)
}

/// Adds to what was lost. Exponential and custom buckets cannot be added; where both were lost, that one stays which
/// does not fit `after`, so that it is still seen that a change over all of it cannot be told.
fn with_lost(
    lost: Option<Arc<Histogram>>,
    more: &Arc<Histogram>,
    after: &Histogram,
) -> Option<Arc<Histogram>> {
    let Some(mut lost) = lost else { return Some(more.clone()) };
    if Arc::make_mut(&mut lost).add(more).is_err() && lost.has_custom_buckets() == after.has_custom_buckets()
    {
        return Some(more.clone());
    }
    Some(lost)
}

/// Buckets of one series in order of their ends, which strictly increase. A column that is not in `has` is empty;
/// ends, counts and stale markers are always there. Of a bucket whose count is 0 the rest means nothing.
#[derive(Clone, Debug, Default)]
pub struct HistogramBuckets {
    pub has: Columns,
    pub ends: Vec<Timestamp>,
    pub counts: Vec<u64>,
    pub sums: Vec<Option<Arc<Histogram>>>,
    pub firsts: Vec<Arc<Histogram>>,
    pub first_times: Vec<Timestamp>,
    pub lasts: Vec<Arc<Histogram>>,
    pub last_times: Vec<Timestamp>,
    pub lost: Vec<Option<Arc<Histogram>>>,
    pub resets: Vec<u32>,
    pub changes: Vec<u32>,
    /// Of a stale marker after the last sample, or [`NEVER`].
    pub stale_at: Vec<Timestamp>,
}

impl HistogramBuckets {
    /// No buckets, and these columns for what comes.
    pub fn new(has: Columns) -> HistogramBuckets {
        HistogramBuckets { has: has.union(Columns::COUNT), ..HistogramBuckets::default() }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all buckets; these are the columns of what comes.
    pub fn clear(&mut self, has: Columns) {
        self.narrow(Columns::NONE);
        self.ends.clear();
        self.counts.clear();
        self.stale_at.clear();
        self.has = has.union(Columns::COUNT);
    }

    /// The state of bucket `at`. Parts of columns that are not there mean nothing.
    pub fn state(&self, at: usize) -> HistogramState {
        let one = |column: &[Arc<Histogram>]| column.get(at).unwrap_or(&NOTHING).clone();
        let time = |column: &[Timestamp]| column.get(at).copied().unwrap_or(NEVER);
        let number = |column: &[u32]| column.get(at).copied().unwrap_or(0);
        HistogramState {
            count: self.counts[at],
            sum: self.sums.get(at).cloned().flatten(),
            first: one(&self.firsts),
            first_time: time(&self.first_times),
            last: one(&self.lasts),
            last_time: time(&self.last_times),
            lost: self.lost.get(at).cloned().flatten(),
            resets: number(&self.resets),
            changes: number(&self.changes),
            stale_at: self.stale_at[at],
        }
    }

    /// The state of neighbours together.
    pub fn merged(&self, rows: Range<usize>) -> HistogramState {
        let mut state = HistogramState::empty();
        rows.for_each(|row| state.append(&self.state(row)));
        state
    }

    /// Appends a bucket behind the others.
    pub fn push(&mut self, end: Timestamp, state: &HistogramState) {
        let has = self.has;
        self.ends.push(end);
        self.counts.push(state.count);
        self.stale_at.push(state.stale_at);
        if has.contains(Columns::SUM) {
            self.sums.push(state.sum.clone());
        }
        if has.contains(Columns::FIRST) {
            self.firsts.push(state.first.clone());
            self.first_times.push(state.first_time);
        }
        if has.contains(Columns::LAST) {
            self.lasts.push(state.last.clone());
            self.last_times.push(state.last_time);
        }
        if has.contains(Columns::LOST) {
            self.lost.push(state.lost.clone());
        }
        if has.contains(Columns::RESETS) {
            self.resets.push(state.resets);
        }
        if has.contains(Columns::CHANGES) {
            self.changes.push(state.changes);
        }
    }

    /// Appends one sample, or stale marker, as a bucket of its own that ends with it.
    pub fn push_sample(&mut self, time: Timestamp, histogram: &Arc<Histogram>) {
        self.push(time, &HistogramState::of(time, histogram));
    }

    /// Appends the buckets of samples that lie behind all buckets here.
    pub fn fold(&mut self, timestamps: &[Timestamp], histograms: &[Arc<Histogram>], resolution_ms: i64) {
        for (end, rows) in runs(timestamps, resolution_ms) {
            let state = HistogramState::fold(&timestamps[rows.clone()], &histograms[rows], self.has);
            self.push(end, &state);
        }
    }

    /// The same in buckets of a coarser resolution. Columns that cannot be told of it are left out.
    pub fn coarsen(&self, resolution_ms: i64) -> HistogramBuckets {
        let mut coarse = HistogramBuckets::new(self.has.mergeable());
        for (end, rows) in runs(&self.ends, resolution_ms) {
            coarse.push(end, &self.merged(rows));
        }
        coarse
    }

    /// Puts these buckets among the others; of two with one end the later stays. Only columns of both are left.
    pub fn replace_with(&mut self, later: &HistogramBuckets) {
        self.combine(later, |_, later| later);
    }

    /// Puts these buckets among the others; of two with one end, each of other samples, the state is that of both.
    pub fn unite_with(&mut self, other: &HistogramBuckets) {
        self.combine(other, |mut state, other| {
            state.unite(&other);
            state
        });
    }

    fn combine(
        &mut self,
        other: &HistogramBuckets,
        both: impl Fn(HistogramState, HistogramState) -> HistogramState,
    ) {
        if other.is_empty() {
            return;
        }
        if self.ends.last() < other.ends.first() {
            return self.extend(other);
        }
        self.narrow(other.has);
        let mut combined = HistogramBuckets::new(self.has);
        let (mut i, mut k) = (0, 0);
        while i < self.len() || k < other.len() {
            match (self.ends.get(i), other.ends.get(k)) {
                (Some(&mine), Some(&end)) if mine == end => {
                    combined.push(end, &both(self.state(i), other.state(k)));
                    (i, k) = (i + 1, k + 1);
                }
                (Some(&mine), end) if end.is_none_or(|&end| mine < end) => {
                    combined.push(mine, &self.state(i));
                    i += 1;
                }
                _ => {
                    combined.push(other.ends[k], &other.state(k));
                    k += 1;
                }
            }
        }
        *self = combined;
    }

    /// Drops all columns but these.
    pub fn narrow(&mut self, columns: Columns) {
        self.has = self.has.intersection(columns).union(Columns::COUNT);
        let lacks = |column: Columns| !self.has.contains(column);
        if lacks(Columns::SUM) {
            self.sums.clear();
        }
        if lacks(Columns::FIRST) {
            self.firsts.clear();
            self.first_times.clear();
        }
        if lacks(Columns::LAST) {
            self.lasts.clear();
            self.last_times.clear();
        }
        if lacks(Columns::LOST) {
            self.lost.clear();
        }
        if lacks(Columns::RESETS) {
            self.resets.clear();
        }
        if lacks(Columns::CHANGES) {
            self.changes.clear();
        }
    }

    /// A copy of these buckets alone.
    pub fn part(&self, rows: Range<usize>) -> HistogramBuckets {
        HistogramBuckets {
            has: self.has,
            ends: rows_of(&self.ends, &rows).to_vec(),
            counts: rows_of(&self.counts, &rows).to_vec(),
            sums: rows_of(&self.sums, &rows).to_vec(),
            firsts: rows_of(&self.firsts, &rows).to_vec(),
            first_times: rows_of(&self.first_times, &rows).to_vec(),
            lasts: rows_of(&self.lasts, &rows).to_vec(),
            last_times: rows_of(&self.last_times, &rows).to_vec(),
            lost: rows_of(&self.lost, &rows).to_vec(),
            resets: rows_of(&self.resets, &rows).to_vec(),
            changes: rows_of(&self.changes, &rows).to_vec(),
            stale_at: rows_of(&self.stale_at, &rows).to_vec(),
        }
    }

    /// Appends buckets that lie behind all buckets here. Only columns of both are left.
    pub fn extend(&mut self, later: &HistogramBuckets) {
        self.narrow(later.has);
        for row in 0..later.len() {
            self.push(later.ends[row], &later.state(row));
        }
    }
}
