//! Sums, differences and multiples of histograms.
//!
//! Two histograms meet at the coarser of their schemas, at a zero bucket that holds both of theirs, and, if their
//! bounds are custom, at the bounds they share. Exponential and custom buckets do not meet at all.

use super::bounds::exponential_bound;
use super::layout::{coarser_index, from_indexed, merge_neighbours};
use super::{Histogram, ResetHint};
use crate::model::CompensatedSum;

/// One histogram has exponential buckets, the other custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exponential and custom buckets cannot be combined")]
pub struct MixedSchemas;

/// What had to give way when two histograms were combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One histogram was said to follow a counter reset, the other not to.
    pub hints_conflict: bool,
    /// Custom bounds differed; only those in both are left.
    pub bounds_intersected: bool,
}

impl std::ops::BitOrAssign for Reconciled {
    fn bitor_assign(&mut self, other: Reconciled) {
        self.hints_conflict |= other.hints_conflict;
        self.bounds_intersected |= other.bounds_intersected;
    }
}

impl Histogram {
    /// May leave empty buckets behind; see [`Histogram::compact`].
    pub fn add(&mut self, other: &Histogram) -> Result<Reconciled, MixedSchemas> {
        self.combine(other, 1.0)
    }

    /// May leave empty buckets behind; see [`Histogram::compact`].
    pub fn sub(&mut self, other: &Histogram) -> Result<Reconciled, MixedSchemas> {
        self.combine(other, -1.0)
    }

    /// A negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.scale(|v| v * factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// A negative divisor makes a gauge; zero leaves no buckets, since infinitely many in each would mean nothing.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.spans_and_buckets_mut().into_iter().for_each(|(spans, counts)| {
                spans.clear();
                counts.clear();
            });
        }
        self.scale(|v| v / divisor);
        if divisor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    fn scale(&mut self, f: impl Fn(f64) -> f64) {
        self.is_integer = false;
        let totals = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        totals.into_iter().chain(buckets).for_each(|value| *value = f(*value));
    }

    fn combine(&mut self, other: &Histogram, sign: f64) -> Result<Reconciled, MixedSchemas> {
        if self.has_layout_of(other) {
            return Ok(self.combine_bucket_by_bucket(other, sign));
        }
        let mut sum = HistogramSum::new(self);
        let reconciled = sum.combine(HistogramSum::new(other), sign)?;
        *self = sum.total();
        Ok(reconciled)
    }

    fn combine_bucket_by_bucket(&mut self, other: &Histogram, sign: f64) -> Reconciled {
        let (hint, hints_conflict) = self.hint.combined(other.hint);
        (self.hint, self.is_integer) = (hint, false);
        let totals = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        let other_totals = [&other.zero_count, &other.count, &other.sum];
        let other_buckets = other.positive_buckets.iter().chain(&other.negative_buckets);
        let terms = other_totals.into_iter().chain(other_buckets);
        totals.into_iter().chain(buckets).zip(terms).for_each(|(value, term)| *value += sign * term);
        Reconciled { hints_conflict, bounds_intersected: false }
    }
}

type Slot = (i32, CompensatedSum);

/// A running, compensated sum of histograms. Both sides are sorted by index.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    hint: ResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    custom_bounds: Vec<f64>,
    pub(super) zero_count: CompensatedSum,
    count: CompensatedSum,
    sum: CompensatedSum,
    pub(super) positive: Vec<Slot>,
    pub(super) negative: Vec<Slot>,
}

impl HistogramSum {
    pub fn new(first: &Histogram) -> HistogramSum {
        let slot = |(index, count)| (index, CompensatedSum::new(count));
        HistogramSum {
            hint: first.hint,
            schema: first.schema,
            zero_threshold: first.zero_threshold,
            custom_bounds: first.custom_bounds.clone(),
            zero_count: CompensatedSum::new(first.zero_count),
            count: CompensatedSum::new(first.count),
            sum: CompensatedSum::new(first.sum),
            positive: first.positive_indexed().map(slot).collect(),
            negative: first.negative_indexed().map(slot).collect(),
        }
    }

    pub fn add(&mut self, other: &Histogram) -> Result<Reconciled, MixedSchemas> {
        self.combine(HistogramSum::new(other), 1.0)
    }

    pub fn mul(&mut self, factor: f64) {
        self.scale(|v| v * factor);
    }

    pub fn div(&mut self, divisor: f64) {
        self.scale(|v| v / divisor);
    }

    /// True if some total or bucket has left the range of doubles.
    pub fn has_overflow(&self) -> bool {
        let totals = [self.zero_count, self.count, self.sum];
        let buckets = self.positive.iter().chain(&self.negative).map(|slot| slot.1);
        totals.into_iter().chain(buckets).any(|sum| sum.value.is_infinite())
    }

    pub fn total(self) -> Histogram {
        let total = |(index, sum): Slot| (index, sum.total());
        let (positive_spans, positive_buckets) = from_indexed(self.positive.into_iter().map(total));
        let (negative_spans, negative_buckets) = from_indexed(self.negative.into_iter().map(total));
        Histogram {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_bounds: self.custom_bounds,
            is_integer: false,
        }
    }

    fn scale(&mut self, f: impl Fn(f64) -> f64) {
        let totals = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive.iter_mut().chain(&mut self.negative).map(|slot| &mut slot.1);
        totals.into_iter().chain(buckets).for_each(|sum| *sum = sum.scale(&f));
    }

    fn combine(&mut self, mut other: HistogramSum, sign: f64) -> Result<Reconciled, MixedSchemas> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(MixedSchemas);
        }
        let (hint, hints_conflict) = self.hint.combined(other.hint);
        self.hint = hint;
        let bounds_intersected = self.has_custom_buckets() && self.custom_bounds != other.custom_bounds;
        if bounds_intersected {
            let shared = intersect(&self.custom_bounds, &other.custom_bounds);
            self.rebucket(&shared);
            other.rebucket(&shared);
        } else if !self.has_custom_buckets() {
            self.share_zero_bucket_with(&mut other);
            self.reduce_resolution(other.schema);
            other.reduce_resolution(self.schema);
        }
        other.scale(|v| sign * v);
        self.zero_count.add_sum(other.zero_count);
        self.count.add_sum(other.count);
        self.sum.add_sum(other.sum);
        unite(&mut self.positive, other.positive);
        unite(&mut self.negative, other.negative);
        if bounds_intersected {
            self.positive.retain(|(_, sum)| sum.value != 0.0 || sum.compensation != 0.0);
        }
        Ok(Reconciled { hints_conflict, bounds_intersected })
    }

    fn has_custom_buckets(&self) -> bool {
        self.schema == super::CUSTOM_BUCKETS_SCHEMA
    }

    pub(super) fn reduce_resolution(&mut self, target: i32) {
        if target >= self.schema {
            return;
        }
        let schema = self.schema;
        for slots in [&mut self.positive, &mut self.negative] {
            slots.iter_mut().for_each(|slot| slot.0 = coarser_index(slot.0, schema, target));
            merge_neighbours(slots, CompensatedSum::add_sum);
        }
        self.schema = target;
    }

    /// Moves the buckets to wider ones that end at `bounds`, each of which is one of ours.
    pub(super) fn rebucket(&mut self, bounds: &[f64]) {
        for slot in &mut self.positive {
            let bound = usize::try_from(slot.0).ok().and_then(|i| self.custom_bounds.get(i));
            // Beyond the last bound there is one more bucket, up to +Inf.
            let target = bound.map_or(bounds.len(), |bound| bounds.partition_point(|b| b < bound));
            slot.0 = target as i32;
        }
        merge_neighbours(&mut self.positive, CompensatedSum::add_sum);
        self.custom_bounds = bounds.to_vec();
    }

    /// Raises the zero thresholds of both until they agree. Each step may end at the edge of a populated bucket,
    /// so that the other has to follow; the edges are finitely many.
    fn share_zero_bucket_with(&mut self, other: &mut HistogramSum) {
        loop {
            if self.zero_threshold < other.zero_threshold {
                self.raise_zero_threshold(other.zero_threshold);
            } else if other.zero_threshold < self.zero_threshold {
                other.raise_zero_threshold(self.zero_threshold);
            } else {
                return;
            }
        }
    }

    /// Widens the zero bucket to `threshold`, or farther to the edge of a populated bucket that lies across it,
    /// and moves what it covers into it.
    pub(super) fn raise_zero_threshold(&mut self, mut threshold: f64) {
        let schema = self.schema;
        let lower = |index: i32| exponential_bound(index.saturating_sub(1), schema);
        loop {
            let slots = self.positive.iter().chain(&self.negative);
            let populated = slots.filter(|(_, sum)| sum.value != 0.0).map(|&(index, _)| index);
            let across = populated.filter(|&index| lower(index) < threshold);
            let edge = across.map(|index| exponential_bound(index, schema)).fold(threshold, f64::max);
            if edge == threshold {
                break;
            }
            threshold = edge;
        }
        for slots in [&mut self.positive, &mut self.negative] {
            let covered = slots.partition_point(|&(index, _)| lower(index) < threshold);
            slots.drain(..covered).for_each(|(_, sum)| self.zero_count.add_sum(sum));
        }
        self.zero_threshold = threshold;
    }
}

/// Adds `theirs` to `ours`, bucket by bucket.
fn unite(ours: &mut Vec<Slot>, theirs: Vec<Slot>) {
    let same_indices = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| a.0 == b.0);
    if same_indices {
        ours.iter_mut().zip(theirs).for_each(|(our, their)| our.1.add_sum(their.1));
        return;
    }
    ours.extend(theirs);
    // Two sorted runs: the stable sort merges them in one pass and keeps ours first.
    ours.sort_by_key(|slot| slot.0);
    merge_neighbours(ours, CompensatedSum::add_sum);
}

/// The bounds that are in both lists; both increase.
pub(super) fn intersect(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let is_theirs = |bound: &&f64| {
        let at = theirs.partition_point(|b| b < *bound);
        theirs.get(at) == Some(*bound)
    };
    ours.iter().filter(is_theirs).copied().collect()
}
