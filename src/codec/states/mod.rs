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

pub use floats::{decode as decode_floats, encode as encode_floats};
pub use histograms::{decode as decode_histograms, encode as encode_histograms};
pub use parts::columns;
pub use times::BucketTimes;
