//! States of floats: the columns of a block, each as what it is more than others let expect.

mod lost;
mod pack;
mod unpack;

use std::borrow::Cow;
use std::ops::Deref;

pub use pack::encode;
pub use unpack::decode;

use super::EFFORT;
use super::scale::{IntegerScale, Scale};
use crate::codec::{Effort, Malformed};

/// What columns are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms {
    /// The fewest bytes.
    Smallest,
    /// Columns that are unpacked quickly, and by themselves where they are not half as large again.
    Quick,
}

impl Forms {
    /// What each form is written with.
    pub(super) fn effort(self) -> Effort {
        match self {
            Forms::Smallest => EFFORT,
            Forms::Quick => Effort::Fast,
        }
    }
}

/// Forms of a column of floats: as they are, or as integers more than expected.
const PLAIN: u8 = 0;
const EXPECTED: u8 = 1;
/// Of first values: expected to be the last one of the bucket before.
const STEPPED: u8 = 2;
/// Of sums: rounded bits more than the expected sum's.
const ROUNDED: u8 = 2;
/// Of what was lost: expected to be the mean of the bucket at each reset.
const OF_MEAN: u8 = 2;
/// Of extremes: which are not as expected, and those.
const SOME: u8 = 3;

const UNKNOWN_FORM: Malformed = Malformed("unknown form of a column");

/// The buckets that have samples. A column that is not there, or not yet unpacked, is empty. Columns that are packed lie with whoever
/// has the buckets.
#[derive(Default)]
struct Filled<'a, C = Tail> {
    counts: Cow<'a, [u64]>,
    lasts: C,
    firsts: C,
    mins: C,
    maxs: C,
    sums: C,
    /// Of the buckets that have some.
    resets: Vec<(usize, i64)>,
    lost: C,
    changes: Vec<i64>,
}

/// A column behind what a list held before.
#[derive(Default)]
struct Tail {
    list: Vec<f64>,
    start: usize,
}

impl From<Vec<f64>> for Tail {
    fn from(list: Vec<f64>) -> Tail {
        Tail { list, start: 0 }
    }
}

impl Deref for Tail {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.list[self.start..]
    }
}

impl<C: Deref<Target = [f64]>> Filled<'_, C> {
    fn expected_first(&self, scale: impl IntegerScale) -> impl Fn(usize) -> i64 {
        expected_first(&self.counts, self.integers(&self.lasts, scale))
    }

    fn stepped_first(&self, scale: impl IntegerScale) -> impl Fn(usize) -> i64 {
        stepped_first(self.integers(&self.lasts, scale))
    }

    fn integers<'a, S: IntegerScale>(
        &self,
        column: &'a C,
        scale: S,
    ) -> impl Fn(usize) -> i64 + Copy + use<'a, C, S> {
        let values = &column[..];
        move |at| scale.integer_of(values[at])
    }

    /// Of each bucket one of its ends.
    fn ends(&self, of: impl Fn(f64, f64) -> f64) -> impl Iterator<Item = f64> {
        self.firsts.iter().zip(&*self.lasts).map(move |(&first, &last)| of(first, last))
    }

    fn integer_end(&self, scale: impl IntegerScale, of: impl Fn(i64, i64) -> i64) -> impl Fn(usize) -> i64 {
        integer_end(self.integers(&self.firsts, scale), self.integers(&self.lasts, scale), of)
    }

    /// As if all samples were between the first and the last.
    fn expected_sums(&self) -> impl Iterator<Item = f64> {
        let middle = self.ends(|first, last| first * 0.5 + last * 0.5);
        middle.zip(self.counts.iter()).map(|(middle, &count)| middle * count as f64)
    }

    fn expected_integer_sum(&self, scale: Scale) -> impl Fn(usize) -> i64 {
        expected_integer_sum(&self.counts, self.integer_end(scale, i64::wrapping_add))
    }

    /// A bucket whose ends and extremes are one has no changes; in another, each sample is expected to be one.
    fn expected_changes(&self) -> impl Iterator<Item = i64> {
        let is_even = |at: usize, a: &[f64], b: &[f64]| match (a.get(at), b.get(at)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let rows = self.counts.iter().enumerate();
        rows.map(move |(at, &count)| {
            let is_constant = is_even(at, &self.firsts, &self.lasts) && is_even(at, &self.mins, &self.maxs);
            if is_constant { 0 } else { (count as i64).wrapping_sub(1) }
        })
    }
}

/// The first value of a bucket if all steps from the last one of the bucket before to the last one of the bucket are equal. `last`
/// tells the last value of a bucket.
fn expected_first(counts: &[u64], last: impl Fn(usize) -> i64 + Copy) -> impl Fn(usize) -> i64 {
    let before = stepped_first(last);
    move |at| {
        let (before, last) = (before(at), last(at));
        before.wrapping_add(last.wrapping_sub(before) / (counts[at] as i64).max(1))
    }
}

/// The last value of the bucket before, and of the first bucket its own.
fn stepped_first(last: impl Fn(usize) -> i64) -> impl Fn(usize) -> i64 {
    move |at| last(at.saturating_sub(1))
}

/// Of a bucket one of its ends, or both.
fn integer_end(
    first: impl Fn(usize) -> i64,
    last: impl Fn(usize) -> i64,
    of: impl Fn(i64, i64) -> i64,
) -> impl Fn(usize) -> i64 {
    move |at| of(first(at), last(at))
}

/// As if all samples were between the first and the last, which are given added up.
fn expected_integer_sum(counts: &[u64], both: impl Fn(usize) -> i64) -> impl Fn(usize) -> i64 {
    move |at| both(at).wrapping_mul(counts[at] as i64) / 2
}
