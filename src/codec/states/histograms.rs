//! States of native histograms: the columns of a block, each as what it is more than others let expect.

use std::ops::Range;
use std::sync::Arc;

use super::BucketTimes;
use super::parts::{self, Parts};
use super::{EFFORT, put_integers, spread_numbers, take_numbers, tellable};
use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, histograms, take_count, take_u8};
use crate::model::Histogram;
use crate::model::rollup::{Columns, HistogramBuckets};

/// Forms of the first histograms: as they are, or what the last one of the bucket is more.
const PLAIN: u8 = 0;
const LESS: u8 = 1;

type Column = Vec<Arc<Histogram>>;

/// Appends the states of `buckets`, without their times and counts.
pub fn encode(buckets: &HistogramBuckets, out: &mut Vec<u8>) {
    let filled: Vec<usize> = (0..buckets.len()).filter(|&row| buckets.counts[row] > 0).collect();
    let pick = |column: &[Arc<Histogram>]| match column.is_empty() {
        true => Column::new(),
        false => filled.iter().map(|&row| column[row].clone()).collect(),
    };
    let pick_some = |column: &[Option<Arc<Histogram>>]| match column.is_empty() {
        true => Vec::new(),
        false => filled.iter().map(|&row| column[row].clone()).collect::<Vec<_>>(),
    };
    let pick_numbers = |column: &[u32]| match column.is_empty() {
        true => Vec::new(),
        false => filled.iter().map(|&row| i64::from(column[row])).collect::<Vec<_>>(),
    };
    let states = Filled {
        counts: filled.iter().map(|&row| buckets.counts[row]).collect(),
        lasts: pick(&buckets.lasts),
        firsts: pick(&buckets.firsts),
        sums: pick_some(&buckets.sums),
        resets: pick_numbers(&buckets.resets),
        lost: pick_some(&buckets.lost),
        changes: pick_numbers(&buckets.changes),
    };
    let has = tellable(buckets.has).difference(Columns::MIN.union(Columns::MAX));
    parts::put(has, |column| states.column(column), out);
}

/// Appends the states of those `rows` of the buckets with these times: the `wanted` columns, as far as they are there; on an
/// error nothing.
pub fn decode(
    bytes: &[u8],
    times: &BucketTimes,
    wanted: Columns,
    rows: Range<usize>,
    to: &mut HistogramBuckets,
) -> Result<(), Malformed> {
    let parts = Parts::open(bytes)?;
    let counts = times.counts.iter().copied().filter(|&count| count > 0).collect();
    let mut states = Filled { counts, ..Filled::default() };
    let wanted = wanted.intersection(parts.has);
    states.take(&parts, wanted)?;
    to.narrow(wanted);
    let has = to.has;
    to.ends.extend_from_slice(&times.ends[rows.clone()]);
    to.counts.extend_from_slice(&times.counts[rows.clone()]);
    to.stale_at.extend_from_slice(&times.stale_at[rows.clone()]);
    let nothing: Arc<Histogram> = Arc::default();
    let one = |histogram: Option<Arc<Histogram>>| histogram.unwrap_or_else(|| nothing.clone());
    let (skip, take) = (rows.start, rows.len());
    if has.contains(Columns::FIRST) {
        to.first_times.extend_from_slice(&times.firsts[rows.clone()]);
        to.firsts.extend(spread(&times.counts, states.firsts).skip(skip).take(take).map(one));
    }
    if has.contains(Columns::LAST) {
        to.last_times.extend_from_slice(&times.lasts[rows.clone()]);
        to.lasts.extend(spread(&times.counts, states.lasts).skip(skip).take(take).map(one));
    }
    if has.contains(Columns::SUM) {
        to.sums.extend(spread(&times.counts, states.sums).skip(skip).take(take).map(Option::flatten));
    }
    if has.contains(Columns::LOST) {
        to.lost.extend(spread(&times.counts, states.lost).skip(skip).take(take).map(Option::flatten));
    }
    if has.contains(Columns::RESETS) {
        to.resets.extend_from_slice(&spread_numbers(&times.counts, states.resets)[rows.clone()]);
    }
    if has.contains(Columns::CHANGES) {
        to.changes.extend_from_slice(&spread_numbers(&times.counts, states.changes)[rows]);
    }
    Ok(())
}

/// One for each bucket that has samples.
fn spread<T>(counts: &[u64], values: Vec<T>) -> impl Iterator<Item = Option<T>> {
    let mut values = values.into_iter();
    let mut next = move || values.next().expect("one for each bucket with samples");
    counts.iter().map(move |&count| (count > 0).then(&mut next))
}

/// The buckets that have samples. A column that is not there, or not yet unpacked, is empty.
#[derive(Default)]
struct Filled {
    counts: Vec<u64>,
    lasts: Column,
    firsts: Column,
    sums: Vec<Option<Arc<Histogram>>>,
    resets: Vec<i64>,
    lost: Vec<Option<Arc<Histogram>>>,
    changes: Vec<i64>,
}

impl Filled {
    /// The bytes of a column; none if it is as expected.
    fn column(&self, column: Columns) -> Option<Vec<u8>> {
        match column {
            Columns::LAST => Some(block(&self.lasts)),
            Columns::FIRST => self.first_column(),
            Columns::SUM => Some(some_of(&self.sums)),
            Columns::RESETS => self.resets.iter().any(|&resets| resets != 0).then(|| numbers(&self.resets)),
            Columns::LOST => self.lost.iter().any(|lost| lost.is_some()).then(|| some_of(&self.lost)),
            Columns::CHANGES => {
                let residuals: Vec<i64> = self
                    .changes
                    .iter()
                    .zip(self.expected_changes())
                    .map(|(c, e)| c.wrapping_sub(e))
                    .collect();
                residuals.iter().any(|&residual| residual != 0).then(|| numbers(&residuals))
            }
            _ => None,
        }
    }

    fn first_column(&self) -> Option<Vec<u8>> {
        let pairs = || self.firsts.iter().zip(&self.lasts);
        let has_ends = self.firsts.len() == self.lasts.len();
        if has_ends && pairs().all(|(first, last)| first.is_identical(last)) {
            return None;
        }
        let mut plain = vec![PLAIN];
        histograms::encode_block_with(&self.firsts, EFFORT, &mut plain);
        let less: Option<Column> = match has_ends {
            true => pairs().map(|(first, last)| less(first, last).map(Arc::new)).collect(),
            false => None,
        };
        let less = less.map(|less| {
            let mut bytes = vec![LESS];
            histograms::encode_block_with(&less, EFFORT, &mut bytes);
            bytes
        });
        Some(less.filter(|less| less.len() < plain.len()).unwrap_or(plain))
    }

    /// Unpacks these columns and what they follow from.
    fn take(&mut self, parts: &Parts<'_>, wanted: Columns) -> Result<(), Malformed> {
        let count = self.counts.len();
        let ends = Columns::FIRST.union(Columns::LAST);
        let needed = match wanted.intersection(Columns::FIRST.union(Columns::CHANGES)) {
            Columns::NONE => wanted,
            _ => wanted.union(ends).intersection(parts.has),
        };
        if needed.contains(Columns::LAST) {
            let bytes = parts.get(Columns::LAST).ok_or(Malformed("there are no last histograms"))?;
            self.lasts = take_block(bytes, count)?;
        }
        if needed.contains(Columns::FIRST) {
            self.firsts = self.take_firsts(parts.get(Columns::FIRST))?;
        }
        if needed.contains(Columns::SUM) {
            let bytes = parts.get(Columns::SUM).ok_or(Malformed("there are no sums of histograms"))?;
            self.sums = take_some(bytes, count)?;
        }
        if needed.contains(Columns::RESETS) {
            self.resets = take_numbers(parts.get(Columns::RESETS), count)?;
        }
        if needed.contains(Columns::LOST) {
            self.lost = match parts.get(Columns::LOST) {
                Some(bytes) => take_some(bytes, count)?,
                None => vec![None; count],
            };
        }
        if needed.contains(Columns::CHANGES) {
            let residuals = take_numbers(parts.get(Columns::CHANGES), count)?;
            let expected = self.expected_changes();
            self.changes = residuals.into_iter().zip(expected).map(|(r, e)| r.wrapping_add(e)).collect();
        }
        Ok(())
    }

    fn take_firsts(&self, bytes: Option<&[u8]>) -> Result<Column, Malformed> {
        let count = self.counts.len();
        let lasts = || {
            let is_there = self.lasts.len() == count;
            is_there.then_some(&self.lasts).ok_or(Malformed("a column follows from one that is not there"))
        };
        let Some(mut bytes) = bytes else { return Ok(lasts()?.clone()) };
        match take_u8(&mut bytes)? {
            PLAIN => take_block(bytes, count),
            LESS => {
                let less = take_block(bytes, count)?;
                let pairs = less.into_iter().zip(lasts()?);
                pairs.map(|(less, last)| more(&less, last).map(Arc::new)).collect()
            }
            _ => Err(Malformed("unknown form of a column")),
        }
    }

    /// A bucket that ends as it begins has no changes; in another, each sample is expected to be one.
    fn expected_changes(&self) -> Vec<i64> {
        let rows = self.counts.iter().enumerate();
        let expected = rows.map(|(at, &count)| match (self.firsts.get(at), self.lasts.get(at)) {
            (Some(first), Some(last)) if !first.equals(last) => (count as i64).wrapping_sub(1),
            _ => 0,
        });
        expected.collect()
    }
}

/// What `last` counts more than `first`, from which [`more`] finds `first` again, to the bit. The sum of observations,
/// which is no integer, stays as it is.
fn less(first: &Histogram, last: &Histogram) -> Option<Histogram> {
    if !first.has_layout_of(last) {
        return None;
    }
    let mut less = first.clone();
    combine(&mut less, last);
    let mut back = less.clone();
    combine(&mut back, last);
    back.is_identical(first).then_some(less)
}

/// The histogram that counts this much less than `last`.
fn more(less: &Histogram, last: &Histogram) -> Result<Histogram, Malformed> {
    if !less.has_layout_of(last) {
        return Err(Malformed("a histogram is told by one of another layout"));
    }
    let mut first = less.clone();
    combine(&mut first, last);
    Ok(first)
}

/// Each count becomes what that of `last` is more: its own inverse.
fn combine(histogram: &mut Histogram, last: &Histogram) {
    histogram.zero_count = last.zero_count - histogram.zero_count;
    histogram.count = last.count - histogram.count;
    let counts = histogram.positive_buckets.iter_mut().chain(&mut histogram.negative_buckets);
    let of_last = last.positive_buckets.iter().chain(&last.negative_buckets);
    counts.zip(of_last).for_each(|(count, last)| *count = last - *count);
}

fn numbers(values: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_integers(values, &mut bytes);
    bytes
}

fn block(histograms: &[Arc<Histogram>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    histograms::encode_block_with(histograms, EFFORT, &mut bytes);
    bytes
}

fn take_block(bytes: &[u8], count: usize) -> Result<Column, Malformed> {
    let mut found = Column::new();
    histograms::decode_block(bytes, count, &mut found)?;
    Ok(found)
}

/// How many there are and where, then those.
fn some_of(column: &[Option<Arc<Histogram>>]) -> Vec<u8> {
    let there: Column = column.iter().flatten().cloned().collect();
    let mut bytes = Vec::new();
    write_u64(&mut bytes, (column.len() - there.len()) as u64);
    let mut next = 0;
    for (at, _) in column.iter().enumerate().filter(|(_, histogram)| histogram.is_none()) {
        write_u64(&mut bytes, (at - next) as u64);
        next = at + 1;
    }
    histograms::encode_block_with(&there, EFFORT, &mut bytes);
    bytes
}

fn take_some(mut bytes: &[u8], count: usize) -> Result<Vec<Option<Arc<Histogram>>>, Malformed> {
    let missing_max = count.min(bytes.len());
    let missing = take_count(&mut bytes, missing_max)?;
    let mut is_there = vec![true; count];
    let mut next = 0u64;
    for _ in 0..missing {
        let at = next.checked_add(read_u64(&mut bytes)?).filter(|&at| at < count as u64);
        let at = at.ok_or(Malformed("a missing histogram lies outside its block"))?;
        is_there[at as usize] = false;
        next = at + 1;
    }
    let mut found = take_block(bytes, count - missing)?.into_iter();
    Ok(is_there.into_iter().map(|is_there| if is_there { found.next() } else { None }).collect())
}
