//! A column of floats as integers less what was expected, and patches for those that are no such integers.

use std::ops::Range;

use super::scale::Scale;
use crate::codec::integers::{self, Estimate};
use crate::codec::patches::{self, PATCH_BITS, Patches};
use crate::codec::{Effort, Malformed};

/// Values in terms of a scale and of what was expected there.
pub struct Residuals {
    scale: Scale,
    residuals: Vec<i64>,
    estimate: Estimate,
    /// Position and bits.
    patches: Vec<(usize, u64)>,
}

/// What is expected follows the values: twice the difference of what is left tells nothing more.
const ORDER_MAX: usize = 1;

impl Residuals {
    /// `integer` tells what stands for a value, unless nothing does; `None` if that is so for many of them.
    pub fn of(
        scale: Scale,
        values: &[f64],
        expected: impl Fn(usize) -> i64,
        integer: impl Fn(usize, f64) -> Option<i64>,
    ) -> Option<Residuals> {
        // A patch takes nine bytes; other forms take up to eight each.
        let patches_max = 1 + values.len() / 16;
        let mut patches = Vec::new();
        let mut residuals = Vec::with_capacity(values.len());
        for (at, &value) in values.iter().enumerate() {
            match integer(at, value) {
                Some(integer) => residuals.push(integer.wrapping_sub(expected(at))),
                None if patches.len() == patches_max => return None,
                None => {
                    patches.push((at, value.to_bits()));
                    residuals.push(0);
                }
            }
        }
        Some(Residuals::new(scale, residuals, patches))
    }

    /// The same where these integers stand for the values, for each of them.
    pub fn of_integers(scale: Scale, integers: &[i64], expected: impl Fn(usize) -> i64) -> Residuals {
        let residuals = integers.iter().enumerate().map(|(at, integer)| integer.wrapping_sub(expected(at)));
        Residuals::new(scale, residuals.collect(), Vec::new())
    }

    fn new(scale: Scale, residuals: Vec<i64>, patches: Vec<(usize, u64)>) -> Residuals {
        let estimate = Estimate::up_to(ORDER_MAX, &residuals);
        Residuals { scale, residuals, estimate, patches }
    }

    /// About how many bits all of it takes.
    pub fn cost_bits(&self) -> usize {
        self.patches.len() * PATCH_BITS + self.scale.cost_bits() + self.estimate.bits
    }

    pub fn put(&self, effort: Effort, out: &mut Vec<u8>) {
        patches::put(&self.patches, out);
        self.scale.put(out);
        integers::encode_as(&self.residuals, self.estimate, effort, out);
    }
}

/// Neighbours among the values of a column.
#[derive(Clone, Debug)]
pub struct Places {
    pub rows: Range<usize>,
    /// Of how many.
    pub count: usize,
}

impl Places {
    pub fn all(count: usize) -> Places {
        Places { rows: 0..count, count }
    }
}

/// A column as it is on disk, but for what was expected.
pub struct Packed<'a> {
    pub scale: Scale,
    patches: Patches<'a>,
    residuals: &'a [u8],
}

impl<'a> Packed<'a> {
    /// `bytes` hold `count` values and nothing else.
    pub fn open(mut bytes: &'a [u8], count: usize) -> Result<Packed<'a>, Malformed> {
        let bytes = &mut bytes;
        let patches = Patches::take(bytes, count)?;
        let scale = Scale::take(bytes)?;
        Ok(Packed { scale, patches, residuals: bytes })
    }

    /// Appends the values in some places: `value` makes one of its place among them and its integer.
    #[inline]
    pub fn unpack(
        self,
        places: &Places,
        expected: impl Fn(usize) -> i64,
        value: impl Fn(usize, i64) -> f64,
        to: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        self.unpack_runs(places, to, |first, residuals, to| {
            let of_place = |(i, &residual): (usize, &i64)| {
                let at = first + i;
                value(at, residual.wrapping_add(expected(at)))
            };
            to.extend(residuals.iter().enumerate().map(of_place));
        })
    }

    /// Appends the values in some places: `append` does it for a run of residuals, the first of which has this place among
    /// them.
    #[inline]
    pub fn unpack_runs(
        self,
        places: &Places,
        to: &mut Vec<f64>,
        append: impl Fn(usize, &[i64], &mut Vec<f64>),
    ) -> Result<(), Malformed> {
        let (start, rows) = (to.len(), places.rows.clone());
        to.reserve(rows.len());
        integers::for_each_group_in(self.residuals, places.count, rows.clone(), |run| {
            append(to.len() - start, run, to)
        })?;
        self.patches.apply(rows.start, &mut to[start..]);
        Ok(())
    }

    /// As [`Packed::unpack`], but only the values of these places, which are in order; most of the others are skipped.
    pub fn unpack_some(
        mut self,
        count: usize,
        places: &[usize],
        expected: impl Fn(usize) -> i64,
        value: impl Fn(usize, i64) -> f64,
    ) -> Result<Vec<f64>, Malformed> {
        let mut values = Vec::with_capacity(places.len());
        let wants = |run: Range<usize>| {
            let next = places.partition_point(|&place| place < run.start);
            places.get(next).is_some_and(|&place| place < run.end)
        };
        integers::for_each_wanted_group(&mut self.residuals, count, wants, |first, group| {
            while let Some(&at) = places.get(values.len()).filter(|&&at| at < first + group.len()) {
                values.push(value(at, group[at - first].wrapping_add(expected(at))));
            }
        })?;
        self.ended()?;
        self.patches.apply_some(places, &mut values);
        Ok(values)
    }

    fn ended(&self) -> Result<(), Malformed> {
        if self.residuals.is_empty() { Ok(()) } else { Err(Malformed("bytes after a column")) }
    }
}
