//! Bytes to columns of states of floats: those that are asked for, and what they follow from.

use std::borrow::Cow;
use std::mem::swap;
use std::ops::{Deref, Range};

use super::super::parts::Parts;
use super::super::residuals::{Packed, Places};
use super::super::scale::{IntegerScale, Whole, from_rounded_bits, to_rounded_bits};
use super::super::{spread_numbers, take_numbers};
use super::lost::take_resets;
use super::{EXPECTED, Filled, OF_MEAN, PLAIN, ROUNDED, SOME, STEPPED, Tail, UNKNOWN_FORM};
use crate::codec::{Malformed, floats, integers, take_u8};
use crate::model::rollup::{BucketTimes, Columns, FloatBuckets, TimesPart, greater, lesser};

pub(super) const MISSING: Malformed = Malformed("a column follows from one that is not there");

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
    let (kept, needed) = (to.has.intersection(wanted), needed(&parts, wanted));
    let (places, counts) = places_and_counts(times, rows, needed);
    let mut states = Filled { counts, ..Filled::default() };
    states.exchange_lists(kept, to);
    let taken = states.take(&parts, needed, &places);
    let tails = states.tails().into_iter().filter(|(column, _)| kept.contains(*column));
    tails.for_each(|(_, tail)| match &taken {
        Ok(()) => tail.keep(&times.counts, &places, rows),
        Err(_) => tail.list.truncate(tail.start),
    });
    states.exchange_lists(kept, to);
    taken?;
    to.narrow(wanted);
    to.extend_times(part);
    if kept.contains(Columns::RESETS) {
        to.resets.extend_from_slice(&spread_numbers(&times.counts, states.all_resets())[rows.clone()]);
    }
    if kept.contains(Columns::CHANGES) {
        to.changes.extend_from_slice(&spread_numbers(&times.counts, states.changes)[rows.clone()]);
    }
    Ok(())
}

/// What to unpack for these rows, and counts there: if they can be told by themselves and all buckets have samples, no more than
/// that.
fn places_and_counts<'a>(
    times: &'a BucketTimes,
    rows: &Range<usize>,
    needed: Columns,
) -> (Places, Cow<'a, [u64]>) {
    const OF_ALL: Columns = Columns::RESETS.union(Columns::LOST).union(Columns::CHANGES);
    let counts = filled(&times.counts);
    if matches!(counts, Cow::Owned(_)) || needed.intersection(OF_ALL) != Columns::NONE {
        return (Places::all(counts.len()), counts);
    }
    // First values follow from the bucket before; that of the first bucket here, without one, is not what it was.
    let places = Places { rows: rows.start.saturating_sub(1)..rows.end, count: counts.len() };
    let counts = times.counts[places.rows.clone()].into();
    (places, counts)
}

/// The counts of those buckets that have samples: nearly always all.
fn filled(counts: &[u64]) -> Cow<'_, [u64]> {
    // All are looked at: that is quicker than to stop at the first.
    if counts.iter().fold(true, |all, &count| all & (count > 0)) {
        return counts.into();
    }
    counts.iter().copied().filter(|&count| count > 0).collect()
}

impl Tail {
    /// Cuts all but these rows off what was unpacked, and puts a zero where a bucket has no samples.
    fn keep(&mut self, counts: &[u64], unpacked: &Places, rows: &Range<usize>) {
        if unpacked.count < counts.len() {
            let mut values = self.list.split_off(self.start).into_iter();
            let mut next = || values.next().expect("one for each bucket with samples");
            self.list.extend(counts.iter().map(|&count| if count > 0 { next() } else { 0.0 }));
        }
        let [from, to] = [rows.start, rows.end].map(|row| self.start + row - unpacked.rows.start);
        self.list.truncate(to);
        self.list.drain(self.start..from);
    }
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
    fn tails(&mut self) -> [(Columns, &mut Tail); 6] {
        [
            (Columns::LAST, &mut self.lasts),
            (Columns::FIRST, &mut self.firsts),
            (Columns::MIN, &mut self.mins),
            (Columns::MAX, &mut self.maxs),
            (Columns::SUM, &mut self.sums),
            (Columns::LOST, &mut self.lost),
        ]
    }

    /// Puts these columns behind the lists of `to`, and the second time gives the lists back.
    fn exchange_lists(&mut self, columns: Columns, to: &mut FloatBuckets) {
        let lists = [&mut to.lasts, &mut to.firsts, &mut to.mins, &mut to.maxs, &mut to.sums, &mut to.lost];
        for ((column, tail), list) in self.tails().into_iter().zip(lists) {
            if columns.contains(column) {
                swap(&mut tail.list, list);
                tail.start = tail.list.len();
            }
        }
    }

    /// Unpacks these columns, each after those it follows from.
    fn take(&mut self, parts: &Parts<'_>, needed: Columns, places: &Places) -> Result<(), Malformed> {
        let count = self.counts.len();
        if needed.contains(Columns::LAST) {
            let bytes = parts.get(Columns::LAST).ok_or(Malformed("there are no last values"))?;
            self.append(|states| &mut states.lasts, |_, to| take_plain(bytes, places, to))?;
        }
        if needed.contains(Columns::FIRST) {
            let bytes = parts.get(Columns::FIRST);
            self.append(|states| &mut states.firsts, |states, to| states.take_firsts(bytes, places, to))?;
        }
        if needed.contains(Columns::MIN) {
            let bytes = parts.get(Columns::MIN);
            let take = |states: &Self, to: &mut _| states.take_extreme(bytes, places, lesser, i64::min, to);
            self.append(|states| &mut states.mins, take)?;
        }
        if needed.contains(Columns::MAX) {
            let bytes = parts.get(Columns::MAX);
            let take = |states: &Self, to: &mut _| states.take_extreme(bytes, places, greater, i64::max, to);
            self.append(|states| &mut states.maxs, take)?;
        }
        if needed.contains(Columns::SUM) {
            let bytes = parts.get(Columns::SUM);
            self.append(|states| &mut states.sums, |states, to| states.take_sums(bytes, places, to))?;
        }
        if needed.contains(Columns::RESETS) {
            self.resets = take_resets(parts.get(Columns::RESETS), count)?;
        }
        if needed.contains(Columns::LOST) {
            self.append(|states| &mut states.lost, |states, to| states.take_lost(parts, to))?;
        }
        if needed.contains(Columns::CHANGES) {
            let residuals = take_numbers(parts.get(Columns::CHANGES), count)?;
            let expected = self.expected_changes();
            let changes = residuals.into_iter().zip(expected).map(|(r, e)| r.wrapping_add(e)).collect();
            self.changes = changes;
        }
        Ok(())
    }

    /// Appends to a column, while the others may be looked at.
    fn append(
        &mut self,
        tail: fn(&mut Self) -> &mut Tail,
        take: impl FnOnce(&Self, &mut Vec<f64>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut list = std::mem::take(&mut tail(self).list);
        let start = std::mem::take(&mut tail(self).start);
        let taken = take(self, &mut list);
        *tail(self) = Tail { list, start };
        taken
    }
}

impl<C: Deref<Target = [f64]>> Filled<'_, C> {
    fn take_firsts(&self, bytes: Option<&[u8]>, places: &Places, to: &mut Vec<f64>) -> Result<(), Malformed> {
        let lasts = self.known(&self.lasts);
        let Some(mut bytes) = bytes else {
            to.extend_from_slice(lasts?);
            return Ok(());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places, to),
            form => form,
        };
        let packed = Packed::open(bytes, places.count)?;
        match Whole::of(packed.scale) {
            Some(whole) => self.unpack_firsts(form, lasts?, whole, packed, places, to),
            None => self.unpack_firsts(form, lasts?, packed.scale, packed, places, to),
        }
    }

    fn unpack_firsts(
        &self,
        form: u8,
        lasts: &[f64],
        scale: impl IntegerScale,
        packed: Packed<'_>,
        places: &Places,
        to: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        match form {
            EXPECTED => {
                packed.unpack(places, self.expected_first(scale), |_, integer| scale.value_of(integer), to)
            }
            STEPPED => packed.unpack_runs(places, to, |first, steps, to| {
                // Those of the buckets before.
                let alone = usize::from(first == 0 && !steps.is_empty());
                scale.extend_stepped(to, &lasts[..alone], &steps[..alone]);
                let before = &lasts[(first + alone).saturating_sub(1)..];
                scale.extend_stepped(to, before, &steps[alone..]);
            }),
            _ => Err(UNKNOWN_FORM),
        }
    }

    pub(super) fn take_extreme(
        &self,
        bytes: Option<&[u8]>,
        places: &Places,
        of_floats: impl Fn(f64, f64) -> f64,
        of_integers: impl Fn(i64, i64) -> i64,
        to: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            to.extend(self.ends(of_floats));
            return Ok(());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places, to),
            form => form,
        };
        self.known_ends()?;
        match form {
            EXPECTED => {
                let packed = Packed::open(bytes, places.count)?;
                match Whole::of(packed.scale) {
                    Some(whole) => self.unpack_extremes(of_integers, whole, packed, places, to),
                    None => self.unpack_extremes(of_integers, packed.scale, packed, places, to),
                }
            }
            SOME => take_some(bytes, places, self.ends(of_floats), to),
            _ => Err(UNKNOWN_FORM),
        }
    }

    fn unpack_extremes(
        &self,
        of: impl Fn(i64, i64) -> i64,
        scale: impl IntegerScale,
        packed: Packed<'_>,
        places: &Places,
        to: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let value = |_, integer| scale.value_of(integer);
        packed.unpack(places, self.integer_end(scale, of), value, to)
    }

    /// Appends the sums as they are read.
    pub(super) fn take_sums(
        &self,
        bytes: Option<&[u8]>,
        places: &Places,
        to: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let Some(mut bytes) = bytes else {
            self.known_ends()?;
            to.extend(self.expected_sums());
            return Ok(());
        };
        let form = match take_u8(&mut bytes)? {
            PLAIN => return take_floats(bytes, places, to),
            form => form,
        };
        self.known_ends()?;
        let packed = Packed::open(bytes, places.count)?;
        let scale = packed.scale;
        match form {
            EXPECTED => {
                let value = |at: usize, integer| scale.of_sums(self.counts[at]).value_of(integer);
                packed.unpack(places, self.expected_integer_sum(scale), value, to)
            }
            ROUNDED => {
                let expected: Vec<f64> = self.expected_sums().collect();
                let expected = |at: usize| to_rounded_bits(expected[at]);
                packed.unpack(places, expected, |_, integer| from_rounded_bits(integer), to)
            }
            _ => Err(UNKNOWN_FORM),
        }
    }

    /// Foreign bytes may say of a column that it follows from one that is not there.
    pub(super) fn known<'a>(&self, column: &'a [f64]) -> Result<&'a [f64], Malformed> {
        let is_there = column.len() == self.counts.len();
        is_there.then_some(column).ok_or(MISSING)
    }

    pub(super) fn known_ends(&self) -> Result<(), Malformed> {
        self.known(&self.firsts).and(self.known(&self.lasts)).map(|_| ())
    }
}

/// Appends these values, which lie in these places, and of which some are others.
fn take_some(
    mut bytes: &[u8],
    places: &Places,
    values: impl Iterator<Item = f64>,
    to: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let start = to.len();
    to.extend(values);
    let flags = integers::take_integers(&mut bytes, places.count)?;
    let others_in = |flags: &[i64]| flags.iter().filter(|&&flag| flag != 0).count();
    let (before, count) = (others_in(&flags[..places.rows.start]), others_in(&flags));
    let flags = &flags[places.rows.clone()];
    let mut others = Vec::new();
    take_floats(bytes, &Places { rows: before..before + others_in(flags), count }, &mut others)?;
    let values = to[start..].iter_mut().zip(flags).filter(|(_, flag)| **flag != 0);
    values.zip(others).for_each(|((value, _), other)| *value = other);
    Ok(())
}

fn take_plain(mut bytes: &[u8], places: &Places, to: &mut Vec<f64>) -> Result<(), Malformed> {
    match take_u8(&mut bytes)? {
        PLAIN => take_floats(bytes, places, to),
        _ => Err(UNKNOWN_FORM),
    }
}

pub(super) fn take_floats(bytes: &[u8], places: &Places, to: &mut Vec<f64>) -> Result<(), Malformed> {
    to.reserve(places.rows.len());
    floats::decode_in(bytes, places.count, places.rows.clone(), to).map(drop)
}
