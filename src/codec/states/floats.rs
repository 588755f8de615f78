//! States of floats: the columns of a block, each as what it is more than others let expect.

use super::parts::{self, Parts};
use super::residuals::{Packed, Residuals};
use super::scale::Scale;
use super::times::BucketTimes;
use crate::codec::{Malformed, floats, integers, take_u8};
use crate::model::rollup::{Columns, FloatBuckets, greater, lesser};

/// Forms of a column of floats.
const PLAIN: u8 = 0;
const EXPECTED: u8 = 1;
/// Of the first values: expected to be the last one of the bucket before.
const STEPPED: u8 = 2;
/// Of sums: bits of what the ends let expect, less the lowest.
const ROUNDED: u8 = 2;

/// What is left out of the 52 bits of a sum: it is kept to 2^-45 of its size.
const SUM_BITS_DROPPED: u32 = 8;

/// Appends the states of `buckets`, without their times and counts.
pub fn encode(buckets: &FloatBuckets, out: &mut Vec<u8>) {
    let filled: Vec<usize> = (0..buckets.len()).filter(|&row| buckets.counts[row] > 0).collect();
    let pick = |column: &[f64]| match column.is_empty() {
        true => Vec::new(),
        false => filled.iter().map(|&row| column[row]).collect::<Vec<_>>(),
    };
    let pick_numbers = |column: &[u32]| match column.is_empty() {
        true => Vec::new(),
        false => filled.iter().map(|&row| i64::from(column[row])).collect::<Vec<_>>(),
    };
    let states = Filled {
        counts: filled.iter().map(|&row| buckets.counts[row]).collect(),
        lasts: pick(&buckets.lasts),
        firsts: pick(&buckets.firsts),
        mins: pick(&buckets.mins),
        maxs: pick(&buckets.maxs),
        sums: pick(&buckets.sums),
        resets: pick_numbers(&buckets.resets),
        lost: pick(&buckets.lost),
        changes: pick_numbers(&buckets.changes),
    };
    let scale = Scale::find(&[&states.lasts, &states.firsts, &states.mins, &states.maxs]);
    parts::put(tellable(buckets.has), |column| states.column(column, scale), out);
}

/// What was lost is told for each reset.
pub(super) fn tellable(has: Columns) -> Columns {
    if has.contains(Columns::RESETS) { has } else { has.difference(Columns::LOST) }
}

/// The states of buckets with these times: the `wanted` columns, as far as they are there.
pub fn decode(bytes: &[u8], times: &BucketTimes, wanted: Columns) -> Result<FloatBuckets, Malformed> {
    let parts = Parts::open(bytes)?;
    let mut states = Filled {
        counts: times.counts.iter().copied().filter(|&count| count > 0).collect(),
        ..Filled::default()
    };
    let wanted = wanted.intersection(parts.has);
    states.take(&parts, wanted)?;
    let mut buckets = FloatBuckets::new(wanted);
    (buckets.ends, buckets.counts) = (times.ends.clone(), times.counts.clone());
    buckets.stale_at = times.stale_at.clone();
    if wanted.contains(Columns::FIRST) {
        buckets.first_times = times.firsts.clone();
    }
    if wanted.contains(Columns::LAST) {
        buckets.last_times = times.lasts.clone();
    }
    let spread = |column: Columns, values: Vec<f64>| spread(wanted.contains(column), &times.counts, values);
    buckets.lasts = spread(Columns::LAST, states.lasts);
    buckets.firsts = spread(Columns::FIRST, states.firsts);
    buckets.mins = spread(Columns::MIN, states.mins);
    buckets.maxs = spread(Columns::MAX, states.maxs);
    buckets.sums = spread(Columns::SUM, states.sums);
    buckets.lost = spread(Columns::LOST, states.lost);
    buckets.resets = spread_numbers(wanted.contains(Columns::RESETS), &times.counts, states.resets);
    buckets.changes = spread_numbers(wanted.contains(Columns::CHANGES), &times.counts, states.changes);
    Ok(buckets)
}

/// Puts a zero where a bucket has no samples.
fn spread(is_wanted: bool, counts: &[u64], values: Vec<f64>) -> Vec<f64> {
    if !is_wanted || values.len() == counts.len() {
        return if is_wanted { values } else { Vec::new() };
    }
    let mut values = values.into_iter();
    let next =
        |&count: &u64| if count > 0 { values.next().expect("one for each bucket with samples") } else { 0.0 };
    counts.iter().map(next).collect()
}

pub(super) fn spread_numbers(is_wanted: bool, counts: &[u64], values: Vec<i64>) -> Vec<u32> {
    if !is_wanted {
        return Vec::new();
    }
    let mut values = values.into_iter();
    let next =
        |&count: &u64| if count > 0 { values.next().expect("one for each bucket with samples") } else { 0 };
    counts.iter().map(next).map(|value| u32::try_from(value).unwrap_or(u32::MAX)).collect()
}

/// The buckets that have samples. A column that is not there, or not yet unpacked, is empty.
#[derive(Default)]
struct Filled {
    counts: Vec<u64>,
    lasts: Vec<f64>,
    firsts: Vec<f64>,
    mins: Vec<f64>,
    maxs: Vec<f64>,
    sums: Vec<f64>,
    resets: Vec<i64>,
    lost: Vec<f64>,
    changes: Vec<i64>,
}

impl Filled {
    /// The bytes of a column; none if it is as expected.
    fn column(&self, column: Columns, scale: Scale) -> Option<Vec<u8>> {
        let lasts = || integers_of(scale, &self.lasts);
        match column {
            Columns::LAST => Some(with_plain(&self.lasts, [])),
            Columns::FIRST => {
                let values = &self.firsts;
                let is_expected = self.has_ends() && same_bits(values, &self.lasts);
                (!is_expected).then(|| {
                    let forms = self.has_ends().then(lasts).into_iter().flat_map(|lasts| {
                        let expected = [(EXPECTED, between(&lasts, &self.counts)), (STEPPED, before(&lasts))];
                        expected.map(|(form, expected)| (form, exact(scale, values, &expected)))
                    });
                    with_plain(values, forms)
                })
            }
            Columns::MIN => self.extreme_column(scale, &self.mins, lesser, i64::min),
            Columns::MAX => self.extreme_column(scale, &self.maxs, greater, i64::max),
            Columns::SUM => self.sum_column(scale),
            Columns::RESETS => {
                self.resets.iter().any(|&resets| resets != 0).then(|| integers_column(&self.resets))
            }
            Columns::LOST => {
                let lost = self.where_reset(&self.lost);
                (!lost.is_empty()).then(|| {
                    let expected = integers_of(scale, &self.where_reset(&self.maxs));
                    let form = (expected.len() == lost.len()).then(|| exact(scale, &lost, &expected));
                    with_plain(&lost, form.map(|form| (EXPECTED, form)))
                })
            }
            Columns::CHANGES => {
                let residuals: Vec<i64> = self
                    .changes
                    .iter()
                    .zip(self.expected_changes())
                    .map(|(c, e)| c.wrapping_sub(e))
                    .collect();
                residuals.iter().any(|&residual| residual != 0).then(|| integers_column(&residuals))
            }
            _ => None,
        }
    }

    fn extreme_column(
        &self,
        scale: Scale,
        values: &[f64],
        of_floats: fn(f64, f64) -> f64,
        of_integers: fn(i64, i64) -> i64,
    ) -> Option<Vec<u8>> {
        if !self.has_ends() {
            return Some(with_plain(values, []));
        }
        if values.iter().map(|v| v.to_bits()).eq(self.ends(of_floats)) {
            return None;
        }
        let (firsts, lasts) = (integers_of(scale, &self.firsts), integers_of(scale, &self.lasts));
        let residuals = exact(scale, values, &of_both(&firsts, &lasts, of_integers));
        Some(with_plain(values, [(EXPECTED, residuals)]))
    }

    fn sum_column(&self, scale: Scale) -> Option<Vec<u8>> {
        if !self.has_ends() {
            return Some(with_plain(&self.sums, []));
        }
        let expected = self.expected_sums();
        let is_close = |at: usize, sum: f64, stored: f64| {
            let size = sum.abs().max(self.firsts[at].abs()).max(self.lasts[at].abs());
            sum.to_bits() == stored.to_bits() || (sum - stored).abs() <= size * SUM_ERROR
        };
        if self.sums.iter().zip(&expected).enumerate().all(|(at, (&sum, &stored))| is_close(at, sum, stored))
        {
            return None;
        }
        let residuals = match scale {
            Scale::Decimal { .. } => {
                let expected = self.expected_integer_sums(scale);
                let integer = |at: usize, sum: f64| {
                    let scale = scale.of_sums(self.counts[at]);
                    let integer = scale.integer_of(sum);
                    is_close(at, sum, scale.value_of(integer)).then_some(integer)
                };
                (EXPECTED, Residuals::of(scale, &self.sums, &expected, integer))
            }
            Scale::Bits => {
                let expected: Vec<i64> = expected.into_iter().map(to_rounded_bits).collect();
                let integer = |at: usize, sum: f64| {
                    let integer = to_rounded_bits(sum);
                    is_close(at, sum, from_rounded_bits(integer)).then_some(integer)
                };
                (ROUNDED, Residuals::of(scale, &self.sums, &expected, integer))
            }
        };
        Some(with_plain(&self.sums, [residuals]))
    }

    /// Unpacks these columns and what they follow from.
    fn take(&mut self, parts: &Parts<'_>, wanted: Columns) -> Result<(), Malformed> {
        let needed = needed(parts, wanted);
        let count = self.counts.len();
        if needed.contains(Columns::LAST) {
            let bytes = parts.get(Columns::LAST).ok_or(Malformed("there are no last values"))?;
            self.lasts = take_plain(bytes, count)?;
        }
        if needed.contains(Columns::FIRST) {
            self.firsts = self.take_firsts(parts.get(Columns::FIRST))?;
        }
        if needed.contains(Columns::MIN) {
            self.mins = self.take_extreme(parts.get(Columns::MIN), lesser, i64::min)?;
        }
        if needed.contains(Columns::MAX) {
            self.maxs = self.take_extreme(parts.get(Columns::MAX), greater, i64::max)?;
        }
        if needed.contains(Columns::SUM) {
            self.sums = self.take_sums(parts.get(Columns::SUM))?;
        }
        if needed.contains(Columns::RESETS) {
            self.resets = take_integers(parts.get(Columns::RESETS), count)?;
        }
        if needed.contains(Columns::LOST) {
            self.lost = self.take_lost(parts.get(Columns::LOST))?;
        }
        if needed.contains(Columns::CHANGES) {
            let residuals = take_integers(parts.get(Columns::CHANGES), count)?;
            let expected = self.expected_changes();
            self.changes = residuals.into_iter().zip(expected).map(|(r, e)| r.wrapping_add(e)).collect();
        }
        Ok(())
    }

    fn take_firsts(&self, bytes: Option<&[u8]>) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else { return Ok(self.known(&self.lasts)?.to_vec()) };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, self.counts.len()),
            form => form,
        };
        let packed = Packed::open(bytes, self.counts.len())?;
        let lasts = integers_of(packed.scale, self.known(&self.lasts)?);
        let expected = match form {
            EXPECTED => between(&lasts, &self.counts),
            STEPPED => before(&lasts),
            _ => return Err(UNKNOWN_FORM),
        };
        take_exact(packed, &expected)
    }

    fn take_extreme(
        &self,
        bytes: Option<&[u8]>,
        of_floats: fn(f64, f64) -> f64,
        of_integers: fn(i64, i64) -> i64,
    ) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            return Ok(self.ends(of_floats).map(f64::from_bits).collect());
        };
        match take_u8(&mut bytes)? {
            PLAIN => take_floats(bytes, self.counts.len()),
            EXPECTED => {
                self.known_ends()?;
                let packed = Packed::open(bytes, self.counts.len())?;
                let firsts = integers_of(packed.scale, &self.firsts);
                let lasts = integers_of(packed.scale, &self.lasts);
                take_exact(packed, &of_both(&firsts, &lasts, of_integers))
            }
            _ => Err(UNKNOWN_FORM),
        }
    }

    fn take_sums(&self, bytes: Option<&[u8]>) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            return Ok(self.expected_sums());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, self.counts.len()),
            form => form,
        };
        self.known_ends()?;
        let packed = Packed::open(bytes, self.counts.len())?;
        let (scale, mut sums) = (packed.scale, Vec::with_capacity(self.counts.len()));
        match form {
            EXPECTED => {
                let value = |at: usize, integer| scale.of_sums(self.counts[at]).value_of(integer);
                packed.unpack(&self.expected_integer_sums(scale), value, &mut sums)?;
            }
            ROUNDED => {
                let expected: Vec<i64> = self.expected_sums().into_iter().map(to_rounded_bits).collect();
                packed.unpack(&expected, |_, integer| from_rounded_bits(integer), &mut sums)?;
            }
            _ => return Err(UNKNOWN_FORM),
        }
        Ok(sums)
    }

    fn take_lost(&self, bytes: Option<&[u8]>) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else { return Ok(vec![0.0; self.counts.len()]) };
        if self.resets.len() != self.counts.len() {
            return Err(Malformed("there are no resets to lose something in"));
        }
        let reset_count = self.resets.iter().filter(|&&resets| resets != 0).count();
        let found = match take_u8(&mut bytes)? {
            PLAIN => take_floats(bytes, reset_count)?,
            EXPECTED => {
                let packed = Packed::open(bytes, reset_count)?;
                let maxs = self.where_reset(self.known(&self.maxs)?);
                let expected = integers_of(packed.scale, &maxs);
                take_exact(packed, &expected)?
            }
            _ => return Err(UNKNOWN_FORM),
        };
        let mut found = found.into_iter();
        let next = |&resets: &i64| {
            if resets != 0 { found.next().expect("one for each bucket with resets") } else { 0.0 }
        };
        Ok(self.resets.iter().map(next).collect())
    }

    /// Foreign bytes may say of a column that it follows from one that is not there.
    fn known<'a>(&self, column: &'a [f64]) -> Result<&'a [f64], Malformed> {
        let is_there = column.len() == self.counts.len();
        is_there.then_some(column).ok_or(Malformed("a column follows from one that is not there"))
    }

    fn known_ends(&self) -> Result<(), Malformed> {
        self.known(&self.firsts)?;
        self.known(&self.lasts)?;
        Ok(())
    }

    fn has_ends(&self) -> bool {
        self.firsts.len() == self.counts.len() && self.lasts.len() == self.counts.len()
    }

    /// Bits of the one of each bucket's ends.
    fn ends(&self, of: fn(f64, f64) -> f64) -> impl Iterator<Item = u64> {
        self.firsts.iter().zip(&self.lasts).map(move |(&first, &last)| of(first, last).to_bits())
    }

    /// As if all samples were between the first and the last.
    fn expected_sums(&self) -> Vec<f64> {
        let ends = self.firsts.iter().zip(&self.lasts);
        ends.zip(&self.counts)
            .map(|((first, last), &count)| (first * 0.5 + last * 0.5) * count as f64)
            .collect()
    }

    fn expected_integer_sums(&self, scale: Scale) -> Vec<i64> {
        let (firsts, lasts) = (integers_of(scale, &self.firsts), integers_of(scale, &self.lasts));
        let ends = firsts.iter().zip(&lasts).zip(&self.counts);
        ends.map(|((first, last), &count)| first.wrapping_add(*last).wrapping_mul(count as i64) / 2).collect()
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
            if is_constant { 0 } else { count as i64 - 1 }
        });
        expected.collect()
    }

    /// Of a column what stands where there were resets.
    fn where_reset(&self, column: &[f64]) -> Vec<f64> {
        let rows = column.iter().zip(&self.resets);
        rows.filter(|(_, resets)| **resets != 0).map(|(&value, _)| value).collect()
    }
}

const UNKNOWN_FORM: Malformed = Malformed("unknown form of a column");

/// As far as a sum may be from the one it stands for, in terms of its size: 2^-45.
const SUM_ERROR: f64 = 1.0 / (1u64 << 45) as f64;

/// What must be unpacked for these columns.
fn needed(parts: &Parts<'_>, wanted: Columns) -> Columns {
    let mut needed = wanted;
    // In the order in which one leads to another.
    if needed.contains(Columns::CHANGES) {
        needed = needed.union(Columns::MIN).union(Columns::MAX);
    }
    if needed.contains(Columns::LOST) && parts.get(Columns::LOST).is_some() {
        needed = needed.union(Columns::RESETS).union(Columns::MAX);
    }
    let follows = [Columns::MIN, Columns::MAX, Columns::SUM, Columns::CHANGES];
    if follows.into_iter().any(|column| needed.contains(column)) {
        needed = needed.union(Columns::FIRST);
    }
    if needed.contains(Columns::FIRST) {
        needed = needed.union(Columns::LAST);
    }
    needed.intersection(parts.has)
}

/// The smallest of these forms and the plain one.
fn with_plain(values: &[f64], forms: impl IntoIterator<Item = (u8, Option<Residuals>)>) -> Vec<u8> {
    let mut smallest = vec![PLAIN];
    floats::encode(values, &mut smallest);
    for (form, residuals) in forms {
        if let Some(residuals) = residuals {
            let mut bytes = vec![form];
            residuals.put(&mut bytes);
            if bytes.len() < smallest.len() {
                smallest = bytes;
            }
        }
    }
    smallest
}

/// Residuals from which every bit comes back.
fn exact(scale: Scale, values: &[f64], expected: &[i64]) -> Option<Residuals> {
    let integer = |_: usize, value: f64| {
        let integer = scale.integer_of(value);
        (scale.value_of(integer).to_bits() == value.to_bits()).then_some(integer)
    };
    Residuals::of(scale, values, expected, integer)
}

fn take_exact(packed: Packed<'_>, expected: &[i64]) -> Result<Vec<f64>, Malformed> {
    let (scale, mut values) = (packed.scale, Vec::with_capacity(expected.len()));
    packed.unpack(expected, |_, integer| scale.value_of(integer), &mut values)?;
    Ok(values)
}

fn take_plain(mut bytes: &[u8], count: usize) -> Result<Vec<f64>, Malformed> {
    match take_u8(&mut bytes)? {
        PLAIN => take_floats(bytes, count),
        _ => Err(UNKNOWN_FORM),
    }
}

fn take_floats(bytes: &[u8], count: usize) -> Result<Vec<f64>, Malformed> {
    let mut values = Vec::with_capacity(count);
    floats::decode(bytes, count, &mut values)?;
    Ok(values)
}

pub(super) fn integers_column(values: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    integers::encode(values, &mut bytes);
    bytes
}

/// A column of integers that are zero if they are not there.
pub(super) fn take_integers(bytes: Option<&[u8]>, count: usize) -> Result<Vec<i64>, Malformed> {
    let Some(mut bytes) = bytes else { return Ok(vec![0; count]) };
    let values = integers::take_integers(&mut bytes, count)?;
    if bytes.is_empty() { Ok(values) } else { Err(Malformed("bytes after a column")) }
}

fn integers_of(scale: Scale, values: &[f64]) -> Vec<i64> {
    values.iter().map(|&value| scale.integer_of(value)).collect()
}

/// First values if the last ones before and here are `lasts` and all steps of a bucket are equal.
fn between(lasts: &[i64], counts: &[u64]) -> Vec<i64> {
    let step = |(before, last, count): (i64, i64, u64)| {
        before.wrapping_add(last.wrapping_sub(before).wrapping_div((count as i64).max(1)))
    };
    before(lasts).into_iter().zip(lasts).zip(counts).map(|((b, &l), &c)| step((b, l, c))).collect()
}

/// The last value of the bucket before, and of the first bucket its own.
fn before(lasts: &[i64]) -> Vec<i64> {
    lasts.first().into_iter().chain(lasts).copied().take(lasts.len()).collect()
}

fn of_both(firsts: &[i64], lasts: &[i64], of: fn(i64, i64) -> i64) -> Vec<i64> {
    firsts.iter().zip(lasts).map(|(&first, &last)| of(first, last)).collect()
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
}

/// The high bits of a float as an integer that grows with it; -0 is 0.
fn to_rounded_bits(value: f64) -> i64 {
    let magnitude = value.to_bits() & (u64::MAX >> 1);
    // Half of what is dropped rounds it; it may carry into the exponent, which is the next power of two then.
    let rounded = (magnitude.saturating_add(1 << (SUM_BITS_DROPPED - 1)) >> SUM_BITS_DROPPED) as i64;
    if value.is_sign_negative() { -rounded } else { rounded }
}

fn from_rounded_bits(integer: i64) -> f64 {
    let value = f64::from_bits((integer.unsigned_abs() << SUM_BITS_DROPPED) & (u64::MAX >> 1));
    if integer < 0 { -value } else { value }
}
