//! Integers on disk, unpacked run by run: from the first one on, or, where they are coded and many, from an entry
//! near those that are wanted, or from where somebody was before.

use std::ops::Range;

use super::{CODED, ENTRIES, decode_group, skip_group};
use crate::codec::ans;
use crate::codec::bits::GROUP;
use crate::codec::coded::{CodedGroups, ENTRY_RESIDUALS, entry_count};
use crate::codec::varint::read_i64;
use crate::codec::{Malformed, take, take_u8};

const FOREIGN_MARK: Malformed = Malformed("a mark was set among other numbers");

pub struct Runs<'a> {
    count: usize,
    order: usize,
    /// How many were unpacked or passed by.
    done: usize,
    sums: Sums,
    entries: Vec<Sums>,
    /// Behind the residuals, if they are not coded; what is left of them.
    bytes: &'a [u8],
    coded: Option<CodedGroups<'a>>,
    run: [i64; GROUP],
}

/// What the next residuals are added to: the number before them, and how far that is from the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    value: i64,
    difference: i64,
}

/// Between two runs: what it takes to go on from there, among the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many numbers come before it.
    pub done: usize,
    sums: Sums,
    rest: Rest,
}

/// Where the next residuals begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// So many bytes before the end.
    Packed(usize),
    Coded(ans::Entry),
}

impl<'a> Runs<'a> {
    /// `count` integers, which begin at the front of `bytes`.
    pub fn open(mut bytes: &'a [u8], count: usize) -> Result<Runs<'a>, Malformed> {
        let head = take_u8(&mut bytes)?;
        let order = usize::from(head & !(CODED | ENTRIES));
        if order > 2 || head & (CODED | ENTRIES) == ENTRIES {
            return Err(Malformed("unknown order of differences"));
        }
        let mut sums = Sums::default();
        if order >= 1 && count >= 1 {
            sums.value = read_i64(&mut bytes)?;
        }
        if order == 2 && count >= 2 {
            sums.difference = read_i64(&mut bytes)?;
        }
        let mut runs =
            Runs { count, order, done: 0, sums, entries: Vec::new(), bytes, coded: None, run: [0; GROUP] };
        if head & CODED != 0 {
            runs.open_coded(head & ENTRIES != 0)?;
        }
        Ok(runs)
    }

    fn open_coded(&mut self, has_entries: bool) -> Result<(), Malformed> {
        let residual_count = self.count.saturating_sub(self.order);
        let entry_count = if has_entries { entry_count(residual_count)? } else { 0 };
        let mut sums = self.sums;
        for _ in 0..entry_count {
            if self.order >= 1 {
                sums.value = sums.value.wrapping_add(read_i64(&mut self.bytes)?);
            }
            if self.order == 2 {
                sums.difference = sums.difference.wrapping_add(read_i64(&mut self.bytes)?);
            }
            self.entries.push(sums);
        }
        self.coded = Some(CodedGroups::open(self.bytes, residual_count, entry_count)?);
        Ok(())
    }

    /// The places of the next run; none behind the last one.
    pub fn next_places(&self) -> Range<usize> {
        let left = self.count - self.done;
        self.done..self.done + if self.done < self.order { left.min(1) } else { left.min(GROUP) }
    }

    /// Unpacks the next run.
    pub fn next(&mut self) -> Result<&[i64], Malformed> {
        let len = self.next_places().len();
        let run = &mut self.run[..len];
        if self.done < self.order {
            if self.done == 1 {
                self.sums.value = self.sums.value.wrapping_add(self.sums.difference);
            }
            run.fill(self.sums.value);
        } else {
            match (self.order, &mut self.coded) {
                (1, Some(coded)) => {
                    coded.next_sums(self.sums.value, run)?;
                    self.sums.value = run[len - 1];
                }
                (_, Some(coded)) => {
                    coded.next(run)?;
                    self.sums.add_up(self.order, run);
                }
                (_, None) => {
                    decode_group(&mut self.bytes, run)?;
                    self.sums.add_up(self.order, run);
                }
            }
        }
        self.done += len;
        Ok(run)
    }

    /// Passes the next run by, and does not unpack what others do not build on.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let len = self.next_places().len();
        match (self.order, &mut self.coded) {
            (0, None) => skip_group(&mut self.bytes, len)?,
            (0, Some(coded)) => drop(coded.pass(len)?),
            // One after the other they would wait for each other.
            (1, Some(coded)) if self.done > 0 => {
                self.sums.value = self.sums.value.wrapping_add(coded.pass(len)?);
            }
            _ => return self.next().map(drop),
        }
        self.done += len;
        Ok(())
    }

    /// Before the first run: goes to the last entry that is not behind `place`, if there is one, or to a mark that was set among
    /// these integers, if that is nearer.
    pub fn enter(&mut self, place: usize, mark: Option<&Mark>) -> Result<(), Malformed> {
        let entry = (place.saturating_sub(self.order) / ENTRY_RESIDUALS).min(self.entries.len());
        match mark.filter(|mark| (entry * ENTRY_RESIDUALS..=place).contains(&mark.done)) {
            Some(mark) => self.resume(mark),
            None => self.enter_at(entry),
        }
    }

    fn resume(&mut self, mark: &Mark) -> Result<(), Malformed> {
        match (&mut self.coded, mark.rest) {
            (Some(coded), Rest::Coded(place)) => coded.resume(&place, mark.done - self.order)?,
            (None, Rest::Packed(left)) => {
                let passed = self.bytes.len().checked_sub(left).ok_or(FOREIGN_MARK)?;
                take(&mut self.bytes, passed)?;
            }
            _ => return Err(FOREIGN_MARK),
        }
        (self.sums, self.done) = (mark.sums, mark.done);
        Ok(())
    }

    /// Before the next run.
    pub fn mark(&self) -> Mark {
        let rest = match &self.coded {
            Some(coded) => Rest::Coded(coded.place()),
            None => Rest::Packed(self.bytes.len()),
        };
        Mark { done: self.done, sums: self.sums, rest }
    }

    /// Before the first run, of numbers that increase: goes to the last entry before which all are at most `number`.
    pub fn enter_above(&mut self, number: i64) -> Result<(), Malformed> {
        // Entries tell no numbers where there are no differences.
        let passed = if self.order == 0 { 0 } else { self.entries.partition_point(|e| e.value <= number) };
        self.enter_at(passed)
    }

    fn enter_at(&mut self, entry: usize) -> Result<(), Malformed> {
        if let (Some(coded), Some(before)) = (&mut self.coded, entry.checked_sub(1)) {
            coded.enter(before)?;
            self.sums = self.entries[before];
            self.done = self.order + entry * ENTRY_RESIDUALS;
        }
        Ok(())
    }

    /// Behind the last run, where nothing may follow.
    pub fn finish_all(self) -> Result<(), Malformed> {
        if self.finish()?.is_empty() { Ok(()) } else { Err(Malformed("bytes after the numbers")) }
    }

    /// Behind the last run: the bytes that follow.
    pub fn finish(self) -> Result<&'a [u8], Malformed> {
        self.coded.map_or(Ok(self.bytes), CodedGroups::finish)
    }
}

impl Sums {
    /// From residuals to numbers.
    fn add_up(&mut self, order: usize, run: &mut [i64]) {
        let Sums { mut value, mut difference } = *self;
        match order {
            0 => {}
            1 => {
                for slot in run {
                    value = value.wrapping_add(*slot);
                    *slot = value;
                }
            }
            _ => {
                for slot in run {
                    difference = difference.wrapping_add(*slot);
                    value = value.wrapping_add(difference);
                    *slot = value;
                }
            }
        }
        *self = Sums { value, difference };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MARKED_MIN, encode_with, for_each_group_from};
    use super::*;
    use crate::codec::Effort;

    fn some(mark: &mut Option<Mark>, bytes: &[u8], count: usize, wanted: Range<usize>) -> Vec<i64> {
        let mut found = Vec::new();
        for_each_group_from(mark, bytes, count, wanted, |run| found.extend_from_slice(run)).unwrap();
        found
    }

    #[test]
    fn a_mark_is_set_where_those_begin_that_are_wanted() {
        let values: Vec<i64> = (0..2_000).map(|i| i * 7 + i * i % 11).collect();
        let mut bytes = Vec::new();
        encode_with(&values, Effort::Best, &mut bytes);
        let mut mark = None;
        assert_eq!(some(&mut mark, &bytes, 2_000, 1_600..1_700), values[1_600..1_700]);
        let near = mark.expect("there was much to pass by");
        assert!(near.done <= 1_600 && near.done > 1_600 - GROUP);
        assert_eq!(some(&mut mark, &bytes, 2_000, near.done..2_000), values[near.done..]);
        assert_eq!(mark, Some(near), "nothing was passed by");
        assert_eq!(
            some(&mut mark, &bytes, 2_000, 800..900),
            values[800..900],
            "a mark behind them is of no use"
        );
        assert!(mark.unwrap().done <= 800);
        let mut none = None;
        some(&mut none, &bytes, 2_000, MARKED_MIN - 1..2_000);
        assert_eq!(none, None, "so few are passed by at once");
    }

    #[test]
    fn a_mark_among_other_numbers_is_malformed() {
        let values: Vec<i64> = (0..2_000).map(|i| i * 7 + i * i % 11).collect();
        let [coded, packed] = [Effort::Best, Effort::Fast].map(|effort| {
            let mut bytes = Vec::new();
            encode_with(&values, effort, &mut bytes);
            bytes
        });
        let mut mark = None;
        some(&mut mark, &coded, 2_000, 1_600..2_000);
        assert!(matches!(mark.unwrap().rest, Rest::Coded(_)));
        assert!(for_each_group_from(&mut mark, &packed, 2_000, 1_600..2_000, |_| {}).is_err());
    }

    proptest! {
        #[test]
        fn those_from_a_mark_on_are_those_without_one(
            steps in prop::collection::vec(prop_oneof![30 => -500i64..500, 1 => any::<i64>()], 1..60), order in 0usize..3, len in 1usize..6_000, best: bool,
            asked in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        ) {
            let mut values: Vec<i64> = (0..len).map(|i| steps[i * i % steps.len()]).collect();
            for _ in 0..order {
                let mut sum = 0i64;
                values.iter_mut().for_each(|value| { sum = sum.wrapping_add(*value); *value = sum });
            }
            let mut bytes = Vec::new();
            encode_with(&values, if best { Effort::Best } else { Effort::Fast }, &mut bytes);
            let mut mark = None;
            for (from, to) in asked {
                let (from, to) = (from.index(len), to.index(len) + 1);
                let wanted = from.min(to)..from.max(to);
                prop_assert_eq!(some(&mut mark, &bytes, len, wanted.clone()), &values[wanted]);
            }
        }
    }
}
