//! States of buckets (`model::rollup`) to bytes: when the samples of each bucket were, which many series share, and
//! what they were.
//!
//! A column is what is left of it when others are known: where the first value follows from the last ones, an extreme is
//! an end, or nothing was lost, it takes next to nothing. A reader asks for columns and unpacks these and what they
//! follow from. Sums are kept as far as is promised of them, 2^-45 of their size; all else to the bit.

mod floats;
mod histograms;
mod parts;
mod residuals;
mod scale;
mod times;

#[cfg(test)]
mod tests;

pub use crate::model::rollup::BucketTimes;
pub use floats::{Forms, decode as decode_floats, encode as encode_floats};
pub use histograms::{decode as decode_histograms, encode as encode_histograms};
pub use parts::columns;

use super::{Effort, Malformed, integers};
use crate::model::rollup::Columns;

/// Rollups stay for months, and are few beside the samples that they are made of.
const EFFORT: Effort = Effort::Best;

/// What was lost is told for each reset.
fn tellable(has: Columns) -> Columns {
    if has.contains(Columns::RESETS) { has } else { has.difference(Columns::LOST) }
}

fn put_integers(values: &[i64], out: &mut Vec<u8>) {
    integers::encode_with(values, EFFORT, out);
}

/// A column of integers that are zero if they are not there.
fn take_numbers(bytes: Option<&[u8]>, count: usize) -> Result<Vec<i64>, Malformed> {
    let Some(mut bytes) = bytes else { return Ok(vec![0; count]) };
    let values = integers::take_integers(&mut bytes, count)?;
    if bytes.is_empty() { Ok(values) } else { Err(Malformed("bytes after a column")) }
}

/// One for each bucket: zero where it has no samples.
fn spread_numbers(counts: &[u64], values: Vec<i64>) -> Vec<u32> {
    let mut values = values.into_iter();
    let mut next = || values.next().expect("one for each bucket with samples");
    let spread = counts.iter().map(|&count| if count > 0 { next() } else { 0 });
    spread.map(|value| u32::try_from(value).unwrap_or(u32::MAX)).collect()
}
