//! Bytes to columns of states of floats: those that are asked for, and what they follow from.

use std::borrow::Cow;
use std::ops::Range;

use super::super::parts::Parts;
use super::super::residuals::{Packed, Places};
use super::super::scale::{IntegerScale, Whole, from_rounded_bits, to_rounded_bits};
use super::super::{spread_numbers, take_numbers};
use super::{EXPECTED, Filled, OF_MEAN, PLAIN, ROUNDED, SOME, STEPPED, UNKNOWN_FORM};
use crate::codec::{Malformed, floats, integers, take_u8};
use crate::model::rollup::{Columns, FloatBuckets, TimesPart, greater, lesser};

const MISSING: Malformed = Malformed("a column follows from one that is not there");

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
    let wanted = wanted.intersection(parts.has);
    let needed = needed(&parts, wanted);
    let counts = filled(&times.counts);
    let places = match counts {
        Cow::Borrowed(_) => places_of(rows, times.len(), needed),
        Cow::Owned(_) => Places::all(counts.len()),
    };
    let is_part = places.rows.len() < places.count;
    let counts = if is_part { times.counts[places.rows.clone()].into() } else { counts };
    let mut states = Filled { counts, ..Filled::default() };
    states.take(&parts, needed, &places)?;
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
        if is_part {
            to.extend_from_slice(&values[rows.start - places.rows.start..]);
        } else {
            to.extend_from_slice(&spread(&times.counts, values)[rows.clone()]);
        }
    }
    if has.contains(Columns::RESETS) {
        to.resets.extend_from_slice(&spread_numbers(&times.counts, states.resets)[rows.clone()]);
    }
    if has.contains(Columns::CHANGES) {
        to.changes.extend_from_slice(&spread_numbers(&times.counts, states.changes)[rows.clone()]);
    }
    Ok(())
}

/// What to unpack for these rows of so many buckets, which all have samples: if it can be told by itself, no more than that.
fn places_of(rows: &Range<usize>, count: usize, needed: Columns) -> Places {
    const OF_ALL: Columns = Columns::RESETS.union(Columns::LOST).union(Columns::CHANGES);
    if needed.intersection(OF_ALL) != Columns::NONE {
        return Places::all(count);
    }
    // First values follow from the bucket before; that of the first bucket here, without one, is not what it was.
    Places { rows: rows.start.saturating_sub(1)..rows.end, count }
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
            // Of the greatest values only those of some buckets are needed, where they can be told by themselves.
            Some(EXPECTED) if form(Columns::MAX) != Some(PLAIN) => {
                Columns::RESETS.union(Columns::FIRST).union(Columns::LAST)
            }
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
    fn take(&mut self, parts: &Parts<'_>, needed: Columns, places: &Places) -> Result<(), Malformed> {
        let count = self.counts.len();
        if needed.contains(Columns::LAST) {
            let bytes = parts.get(Columns::LAST).ok_or(Malformed("there are no last values"))?;
            self.lasts = take_plain(bytes, places)?;
        }
        if needed.contains(Columns::FIRST) {
            self.firsts = self.take_firsts(parts.get(Columns::FIRST), places)?;
        }
        if needed.contains(Columns::MIN) {
            self.mins = self.take_extreme(parts.get(Columns::MIN), places, lesser, i64::min)?;
        }
        if needed.contains(Columns::MAX) {
            self.maxs = self.take_extreme(parts.get(Columns::MAX), places, greater, i64::max)?;
        }
        if needed.contains(Columns::SUM) {
            self.sums = self.take_sums(parts.get(Columns::SUM), places)?;
        }
        if needed.contains(Columns::RESETS) {
            self.resets = take_numbers(parts.get(Columns::RESETS), count)?;
        }
        if needed.contains(Columns::LOST) {
            self.lost = self.take_lost(parts)?;
        }
        if needed.contains(Columns::CHANGES) {
            let residuals = take_numbers(parts.get(Columns::CHANGES), count)?;
            let expected = self.expected_changes();
            self.changes = residuals.into_iter().zip(expected).map(|(r, e)| r.wrapping_add(e)).collect();
        }
        Ok(())
    }

    fn take_firsts(&self, bytes: Option<&[u8]>, places: &Places) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else { return Ok(self.known(&self.lasts)?.to_vec()) };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places),
            form => form,
        };
        self.known(&self.lasts)?;
        let packed = Packed::open(bytes, places.count)?;
        match Whole::of(packed.scale) {
            Some(whole) => self.unpack_firsts(form, whole, packed, places),
            None => self.unpack_firsts(form, packed.scale, packed, places),
        }
    }

    fn unpack_firsts(
        &self,
        form: u8,
        scale: impl IntegerScale,
        packed: Packed<'_>,
        places: &Places,
    ) -> Result<Vec<f64>, Malformed> {
        let value = |_, integer| scale.value_of(integer);
        match form {
            EXPECTED => packed.unpack(places, self.expected_first(scale), value),
            STEPPED => packed.unpack(places, self.stepped_first(scale), value),
            _ => Err(UNKNOWN_FORM),
        }
    }

    fn take_extreme(
        &self,
        bytes: Option<&[u8]>,
        places: &Places,
        of_floats: impl Fn(f64, f64) -> f64,
        of_integers: impl Fn(i64, i64) -> i64,
    ) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            return Ok(self.ends(of_floats).collect());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places),
            form => form,
        };
        self.known_ends()?;
        match form {
            EXPECTED => {
                let packed = Packed::open(bytes, places.count)?;
                match Whole::of(packed.scale) {
                    Some(whole) => self.unpack_extremes(of_integers, whole, packed, places),
                    None => self.unpack_extremes(of_integers, packed.scale, packed, places),
                }
            }
            SOME => take_some(bytes, places, self.ends(of_floats).collect()),
            _ => Err(UNKNOWN_FORM),
        }
    }

    fn unpack_extremes(
        &self,
        of: impl Fn(i64, i64) -> i64,
        scale: impl IntegerScale,
        packed: Packed<'_>,
        places: &Places,
    ) -> Result<Vec<f64>, Malformed> {
        packed.unpack(places, self.integer_end(scale, of), |_, integer| scale.value_of(integer))
    }

    fn take_sums(&self, bytes: Option<&[u8]>, places: &Places) -> Result<Vec<f64>, Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            return Ok(self.expected_sums());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places),
            form => form,
        };
        self.known_ends()?;
        let packed = Packed::open(bytes, places.count)?;
        let scale = packed.scale;
        match form {
            EXPECTED => {
                let value = |at: usize, integer| scale.of_sums(self.counts[at]).value_of(integer);
                packed.unpack(places, self.expected_integer_sum(scale), value)
            }
            ROUNDED => {
                let expected = self.expected_sums();
                let expected = |at: usize| to_rounded_bits(expected[at]);
                packed.unpack(places, expected, |_, integer| from_rounded_bits(integer))
            }
            _ => Err(UNKNOWN_FORM),
        }
    }

    fn take_lost(&self, parts: &Parts<'_>) -> Result<Vec<f64>, Malformed> {
        let mut lost = vec![0.0; self.counts.len()];
        let Some(mut bytes) = parts.get(Columns::LOST) else { return Ok(lost) };
        if self.resets.len() != self.counts.len() {
            return Err(Malformed("there are no resets to lose something in"));
        }
        let rows: Vec<usize> = self.reset_rows().collect();
        let form = take_u8(&mut bytes)?;
        let found = if form == PLAIN {
            take_floats(bytes, &Places::all(rows.len()))?
        } else {
            let packed = Packed::open(bytes, rows.len())?;
            let scale = packed.scale;
            let expected = match form {
                EXPECTED => self.lost_of_max(self.take_maxs_of(&rows, parts)?, scale),
                OF_MEAN => self.known(&self.sums).map(|_| self.lost_of_mean(scale))?,
                _ => return Err(UNKNOWN_FORM),
            };
            let value = |at: usize, integer| scale.of_sums(self.resets[rows[at]] as u64).value_of(integer);
            packed.unpack(&Places::all(rows.len()), |at| expected[at], value)?
        };
        rows.into_iter().zip(found).for_each(|(row, value)| lost[row] = value);
        Ok(lost)
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
                let all = self.take_extreme(bytes, &Places::all(self.counts.len()), greater, i64::max);
                all.map(|all| pick(&all))
            }
        }
    }

    /// Foreign bytes may say of a column that it follows from one that is not there.
    fn known<'a>(&self, column: &'a [f64]) -> Result<&'a [f64], Malformed> {
        let is_there = column.len() == self.counts.len();
        is_there.then_some(column).ok_or(MISSING)
    }

    fn known_ends(&self) -> Result<(), Malformed> {
        self.known(&self.firsts).and(self.known(&self.lasts)).map(|_| ())
    }
}

/// Of these values, which lie in these places, some are others.
fn take_some(mut bytes: &[u8], places: &Places, mut values: Vec<f64>) -> Result<Vec<f64>, Malformed> {
    let flags = integers::take_integers(&mut bytes, places.count)?;
    let others_in = |flags: &[i64]| flags.iter().filter(|&&flag| flag != 0).count();
    let (before, count) = (others_in(&flags[..places.rows.start]), others_in(&flags));
    let flags = &flags[places.rows.clone()];
    let others = take_floats(bytes, &Places { rows: before..before + others_in(flags), count })?;
    let places = values.iter_mut().zip(flags).filter(|(_, flag)| **flag != 0);
    places.zip(others).for_each(|((value, _), other)| *value = other);
    Ok(values)
}

fn take_plain(mut bytes: &[u8], places: &Places) -> Result<Vec<f64>, Malformed> {
    match take_u8(&mut bytes)? {
        PLAIN => take_floats(bytes, places),
        _ => Err(UNKNOWN_FORM),
    }
}

fn take_floats(bytes: &[u8], places: &Places) -> Result<Vec<f64>, Malformed> {
    let mut values = Vec::with_capacity(places.rows.len());
    floats::decode_in(bytes, places.count, places.rows.clone(), &mut values)?;
    Ok(values)
}
