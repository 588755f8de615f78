//! Resets of counters, and the values just before them: told for each reset, and most buckets have none.

use std::ops::Deref;

use super::super::parts::Parts;
use super::super::residuals::{Packed, Places};
use super::super::scale::{IntegerScale, Scale};
use super::unpack::{MISSING, take_floats};
use super::{EXPECTED, Filled, OF_MEAN, PLAIN, UNKNOWN_FORM};
use crate::codec::{Malformed, integers, take_u8};
use crate::model::rollup::{Columns, greater};

impl<C: Deref<Target = [f64]>> Filled<'_, C> {
    /// As if the value before each reset was the maximum; `maxs` are those of the buckets with resets.
    pub(super) fn lost_of_max(&self, maxs: impl IntoIterator<Item = f64>, scale: Scale) -> Vec<i64> {
        let rows = maxs.into_iter().zip(&self.resets);
        rows.map(|(max, (_, resets))| scale.integer_of(max).wrapping_mul(*resets)).collect()
    }

    /// As if the value before each reset was the mean; `sums` are those that a reader has, which may be rounded.
    pub(super) fn lost_of_mean(&self, sums: &[f64], scale: Scale) -> Vec<i64> {
        let lost = |&(row, resets): &(usize, i64)| {
            let count = self.counts[row];
            let sum = scale.of_sums(count).integer_of(*sums.get(row)?);
            Some(sum.wrapping_div((count as i64).max(1)).wrapping_mul(resets))
        };
        self.resets.iter().filter_map(lost).collect()
    }

    /// The resets of each bucket.
    pub(super) fn all_resets(&self) -> Vec<i64> {
        let mut all = vec![0; self.counts.len()];
        self.resets.iter().for_each(|&(row, resets)| all[row] = resets);
        all
    }

    /// The buckets that have resets.
    pub(super) fn reset_rows(&self) -> impl Iterator<Item = usize> {
        self.resets.iter().map(|(row, _)| *row)
    }

    pub(super) fn take_lost(&self, parts: &Parts<'_>, to: &mut Vec<f64>) -> Result<(), Malformed> {
        let start = to.len();
        to.resize(start + self.counts.len(), 0.0);
        let Some(mut bytes) = parts.get(Columns::LOST) else { return Ok(()) };
        if !parts.has.contains(Columns::RESETS) {
            return Err(Malformed("there are no resets to lose something in"));
        }
        let rows: Vec<usize> = self.reset_rows().collect();
        let form = take_u8(&mut bytes)?;
        let mut found = Vec::with_capacity(rows.len());
        if form == PLAIN {
            take_floats(bytes, &Places::all(rows.len()), &mut found)?;
        } else {
            let packed = Packed::open(bytes, rows.len())?;
            let scale = packed.scale;
            let expected = match form {
                EXPECTED => self.lost_of_max(self.take_maxs_of(&rows, parts)?, scale),
                OF_MEAN => self.lost_of_mean(self.known(&self.sums)?, scale),
                _ => return Err(UNKNOWN_FORM),
            };
            let value = |at: usize, integer| scale.of_sums(self.resets[at].1 as u64).value_of(integer);
            packed.unpack(&Places::all(rows.len()), |at| expected[at], value, &mut found)?;
        }
        rows.into_iter().zip(found).for_each(|(row, value)| to[start + row] = value);
        Ok(())
    }

    /// The greatest values of these buckets, which are in order; unless all are at hand, they are unpacked by themselves.
    fn take_maxs_of(&self, rows: &[usize], parts: &Parts<'_>) -> Result<Vec<f64>, Malformed> {
        let pick = |all: &[f64]| rows.iter().map(|&row| all[row]).collect();
        if self.maxs.len() == self.counts.len() {
            return Ok(pick(&self.maxs));
        }
        if !parts.has.contains(Columns::MAX) {
            return Err(MISSING);
        }
        let bytes = parts.get(Columns::MAX);
        match bytes.and_then(|bytes| bytes.split_first()) {
            Some((&EXPECTED, bytes)) => {
                self.known_ends()?;
                let packed = Packed::open(bytes, self.counts.len())?;
                let (scale, expected) = (packed.scale, self.integer_end(packed.scale, i64::max));
                let value = |_, integer| scale.value_of(integer);
                packed.unpack_some(self.counts.len(), rows, expected, value)
            }
            _ => {
                let mut all = Vec::new();
                let places = Places::all(self.counts.len());
                self.take_extreme(bytes, &places, greater, i64::max, &mut all)?;
                Ok(pick(&all))
            }
        }
    }
}

/// Places and numbers of those buckets that have resets: nearly always few.
pub(super) fn take_resets(bytes: Option<&[u8]>, count: usize) -> Result<Vec<(usize, i64)>, Malformed> {
    let (mut some, mut place) = (Vec::new(), 0);
    let Some(mut bytes) = bytes else { return Ok(some) };
    integers::for_each_group(&mut bytes, count, |group| {
        if group.iter().fold(0, |any, resets| any | resets) != 0 {
            some.extend((place..).zip(group.iter().copied()).filter(|(_, resets)| *resets != 0));
        }
        place += group.len();
    })?;
    if bytes.is_empty() { Ok(some) } else { Err(Malformed("bytes after a column")) }
}
