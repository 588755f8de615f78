//! States of floats: the columns of a block, each as what it is more than others let expect.

mod pack;
mod unpack;

use std::borrow::Cow;

pub use pack::encode;
pub use unpack::decode;

use super::EFFORT;
use super::scale::Scale;
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

/// The buckets that have samples. A column that is not there, or not yet unpacked, is empty.
#[derive(Default)]
struct Filled<'a> {
    counts: Cow<'a, [u64]>,
    lasts: Vec<f64>,
    firsts: Vec<f64>,
    mins: Vec<f64>,
    maxs: Vec<f64>,
    sums: Vec<f64>,
    resets: Vec<i64>,
    lost: Vec<f64>,
    changes: Vec<i64>,
}

impl Filled<'_> {
    /// First values if all steps from the last one of the bucket before to the last one of the bucket are equal.
    fn expected_firsts(&self, scale: Scale) -> Vec<i64> {
        let mut firsts = scale.integers_of(&self.lasts);
        let mut before = firsts.first().copied().unwrap_or(0);
        for (slot, &count) in firsts.iter_mut().zip(self.counts.iter()) {
            let last = std::mem::replace(slot, before);
            *slot = before.wrapping_add(last.wrapping_sub(before) / (count as i64).max(1));
            before = last;
        }
        firsts
    }

    /// The last value of the bucket before, and of the first bucket its own.
    fn stepped_firsts(&self, scale: Scale) -> Vec<i64> {
        let mut firsts = scale.integers_of(&self.lasts);
        firsts.copy_within(..self.lasts.len().saturating_sub(1), self.lasts.len().min(1));
        firsts
    }

    /// Of each bucket one of its ends.
    fn ends(&self, of: fn(f64, f64) -> f64) -> impl Iterator<Item = f64> {
        self.firsts.iter().zip(&self.lasts).map(move |(&first, &last)| of(first, last))
    }

    fn integer_ends(&self, scale: Scale, of: fn(i64, i64) -> i64) -> Vec<i64> {
        let ends = scale.integers_of(&self.firsts).into_iter().zip(scale.integers_of(&self.lasts));
        ends.map(|(first, last)| of(first, last)).collect()
    }

    /// As if all samples were between the first and the last.
    fn expected_sums(&self) -> Vec<f64> {
        let middle = self.ends(|first, last| first * 0.5 + last * 0.5);
        middle.zip(self.counts.iter()).map(|(middle, &count)| middle * count as f64).collect()
    }

    fn expected_integer_sums(&self, scale: Scale) -> Vec<i64> {
        let both = self.integer_ends(scale, i64::wrapping_add);
        both.into_iter()
            .zip(self.counts.iter())
            .map(|(both, &count)| both.wrapping_mul(count as i64) / 2)
            .collect()
    }

    /// As if the value before each reset was the maximum.
    fn lost_of_max(&self, scale: Scale) -> Vec<i64> {
        let rows = self.maxs.iter().zip(&self.resets).filter(|(_, resets)| **resets != 0);
        rows.map(|(&max, &resets)| scale.integer_of(max).wrapping_mul(resets)).collect()
    }

    /// As if the value before each reset was the mean.
    fn lost_of_mean(&self, scale: Scale) -> Vec<i64> {
        let rows =
            self.sums.iter().zip(self.counts.iter()).zip(&self.resets).filter(|(_, resets)| **resets != 0);
        let lost = rows.map(|((&sum, &count), &resets)| {
            let mean = scale.of_sums(count).integer_of(sum).wrapping_div((count as i64).max(1));
            mean.wrapping_mul(resets)
        });
        lost.collect()
    }

    /// The buckets that have resets, by how many.
    fn reset_counts(&self) -> Vec<u64> {
        self.resets.iter().filter(|&&resets| resets != 0).map(|&resets| resets as u64).collect()
    }

    /// A bucket whose ends and extremes are one has no changes; in another, each sample is expected to be one.
    fn expected_changes(&self) -> Vec<i64> {
        let is_even = |at: usize, a: &[f64], b: &[f64]| match (a.get(at), b.get(at)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let rows = self.counts.iter().enumerate();
        let expected = rows.map(|(at, &count)| {
            let is_constant = is_even(at, &self.firsts, &self.lasts) && is_even(at, &self.mins, &self.maxs);
            if is_constant { 0 } else { (count as i64).wrapping_sub(1) }
        });
        expected.collect()
    }
}
