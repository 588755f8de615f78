//! Integers on disk, unpacked run by run: from the first one on, or, where they are coded and many, from an entry
//! near those that are wanted.

use std::ops::Range;

use super::{CODED, ENTRIES, decode_group, skip_group};
use crate::codec::bits::GROUP;
use crate::codec::coded::{CodedGroups, ENTRY_RESIDUALS, entry_count};
use crate::codec::varint::read_i64;
use crate::codec::{Malformed, take_u8};

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

    /// Before the first run: goes to the last entry that is not behind `place`, if there is one.
    pub fn enter(&mut self, place: usize) -> Result<(), Malformed> {
        self.enter_at((place.saturating_sub(self.order) / ENTRY_RESIDUALS).min(self.entries.len()))
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
