//! Bytes to columns of states of floats: those that are asked for, and what they follow from.

use std::borrow::Cow;

use super::super::parts::Parts;
use super::super::residuals::Packed;
use super::super::scale::{from_rounded_bits, to_rounded_bits};
use super::super::{spread_numbers, take_numbers};
use super::{EXPECTED, Filled, OF_MEAN, PLAIN, ROUNDED, SOME, STEPPED, UNKNOWN_FORM};
use crate::codec::{Malformed, floats, integers, take_u8};
use crate::model::rollup::{Columns, FloatBuckets, TimesPart, greater, lesser};

/// Appends the states of a part of the buckets with these times: the `wanted` columns, as far as they are there; on an
/// error nothing.
pub fn decode(
    bytes: &[u8],
    part: &TimesPart,
    wanted: Columns,
    to: &mut FloatBuckets,
) -> Result<(), Malformed> {
    let TimesPart { times, rows } = part;
    let parts = Parts::open(bytes)?;
    let mut states = Filled { counts: filled(&times.counts), ..Filled::default() };
    let wanted = wanted.intersection(parts.has);
    states.take(&parts, needed(&parts, wanted))?;
    to.narrow(wanted);
    let has = to.has;
    to.extend_times(part);
    let floats = [
        (Columns::LAST, &mut to.lasts, states.lasts),
        (Columns::FIRST, &mut to.firsts, states.firsts),
        (Columns::MIN, &mut to.mins, states.mins),
        (Columns::MAX, &mut to.maxs, states.maxs),
        (Columns::SUM, &mut to.sums, states.sums),
        (Columns::LOST, &mut to.lost, states.lost),
    ];
    for (_, to, values) in floats.into_iter().filter(|(column, ..)| has.contains(*column)) {
        to.extend_from_slice(&spread(&times.counts, values)[rows.clone()]);
    }
    if has.contains(Columns::RESETS) {
        to.resets.extend_from_slice(&spread_numbers(&times.counts, states.resets)[rows.clone()]);
    }
    if has.contains(Columns::CHANGES) {
        to.changes.extend_from_slice(&spread_numbers(&times.counts, states.changes)[rows.clone()]);
    }
    Ok(())
}

/// The counts of those buckets that have samples: nearly always all.
fn filled(counts: &[u64]) -> Cow<'_, [u64]> {
    if counts.iter().all(|&count| count > 0) {
        return counts.into();
    }
    counts.iter().copied().filter(|&count| count > 0).collect()
}

/// Puts a zero where a bucket has no samples.
fn spread(counts: &[u64], values: Vec<f64>) -> Vec<f64> {
    if values.len() == counts.len() {
        return values;
    }
    let mut values = values.into_iter();
    let mut next = || values.next().expect("one for each bucket with samples");
    counts.iter().map(|&count| if count > 0 { next() } else { 0.0 }).collect()
}

/// What must be unpacked for these columns: beside themselves what they follow from, if they are not told plainly.
fn needed(parts: &Parts<'_>, wanted: Columns) -> Columns {
    let form = |column| parts.get(column).and_then(|bytes: &[u8]| bytes.first().copied());
    let follows = |needed: Columns, column| needed.contains(column) && form(column) != Some(PLAIN);
    let mut needed = wanted;
    // In the order in which one leads to another.
    if needed.contains(Columns::CHANGES) {
        needed = needed.union(Columns::MIN).union(Columns::MAX).union(Columns::FIRST).union(Columns::LAST);
    }
    if needed.contains(Columns::LOST) {
        let others = match form(Columns::LOST) {
            None => Columns::NONE,
            Some(EXPECTED) => Columns::RESETS.union(Columns::MAX),
            Some(OF_MEAN) => Columns::RESETS.union(Columns::SUM),
            Some(_) => Columns::RESETS,
        };
        needed = needed.union(others);
    }
    let of_ends = [Columns::MIN, Columns::MAX, Columns::SUM];
    if of_ends.into_iter().any(|column| follows(needed, column)) {
        needed = needed.union(Columns::FIRST).union(Columns::LAST);
    }
    if follows(needed, Columns::FIRST) {
        needed = needed.union(Columns::LAST);
    }
    needed.intersection(parts.has)
}

impl Filled<'_> {
    /// Unpacks these columns, each after those it follows from.
    fn take(&mut self, parts: &Parts<'_>, needed: Columns) -> Result<(), Malformed> {
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
            self.resets = take_numbers(parts.get(Columns::RESETS), count)?;
        }
        if needed.contains(Columns::LOST) {
            self.lost = self.take_lost(parts.get(Columns::LOST))?;
        }
        if needed.contains(Columns::CHANGES) {
            let residuals = take_numbers(parts.get(Columns::CHANGES), count)?;
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
        self.known(&self.lasts)?;
        let packed = Packed::open(bytes, self.counts.len())?;
        let expected = match form {
            EXPECTED => self.expected_firsts(packed.scale),
            STEPPED => self.stepped_firsts(packed.scale),
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
            return Ok(self.ends(of_floats).collect());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, self.counts.len()),
            form => form,
        };
        self.known_ends()?;
        match form {
            EXPECTED => {
                let packed = Packed::open(bytes, self.counts.len())?;
                let expected = self.integer_ends(packed.scale, of_integers);
                take_exact(packed, &expected)
            }
            SOME => take_some(bytes, self.ends(of_floats).collect()),
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
        let reset_counts = self.reset_counts();
        let form = take_u8(&mut bytes)?;
        let found = if form == PLAIN {
            take_floats(bytes, reset_counts.len())?
        } else {
            let packed = Packed::open(bytes, reset_counts.len())?;
            let scale = packed.scale;
            let expected = match form {
                EXPECTED => self.known(&self.maxs).map(|_| self.lost_of_max(scale))?,
                OF_MEAN => self.known(&self.sums).map(|_| self.lost_of_mean(scale))?,
                _ => return Err(UNKNOWN_FORM),
            };
            let mut found = Vec::with_capacity(expected.len());
            let value = |at: usize, integer| scale.of_sums(reset_counts[at]).value_of(integer);
            packed.unpack(&expected, value, &mut found)?;
            found
        };
        let mut found = found.into_iter();
        let mut next = || found.next().expect("one for each bucket with resets");
        Ok(self.resets.iter().map(|&resets| if resets != 0 { next() } else { 0.0 }).collect())
    }

    /// Foreign bytes may say of a column that it follows from one that is not there.
    fn known<'a>(&self, column: &'a [f64]) -> Result<&'a [f64], Malformed> {
        let is_there = column.len() == self.counts.len();
        is_there.then_some(column).ok_or(Malformed("a column follows from one that is not there"))
    }

    fn known_ends(&self) -> Result<(), Malformed> {
        self.known(&self.firsts).and(self.known(&self.lasts)).map(|_| ())
    }
}

fn take_exact(packed: Packed<'_>, expected: &[i64]) -> Result<Vec<f64>, Malformed> {
    let (scale, mut values) = (packed.scale, Vec::with_capacity(expected.len()));
    packed.unpack(expected, |_, integer| scale.value_of(integer), &mut values)?;
    Ok(values)
}

/// Of these values some are others.
fn take_some(mut bytes: &[u8], mut values: Vec<f64>) -> Result<Vec<f64>, Malformed> {
    let flags = integers::take_integers(&mut bytes, values.len())?;
    let others = take_floats(bytes, flags.iter().filter(|&&flag| flag != 0).count())?;
    let places = values.iter_mut().zip(flags).filter(|(_, flag)| *flag != 0);
    places.zip(others).for_each(|((value, _), other)| *value = other);
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
