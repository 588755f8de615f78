//! The sorted values of one label name, front-coded in blocks of 16, each value with the series that have it.

use std::ops::ControlFlow;

use crate::codec::text::TextBuffer;
use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, put_text, take_count, take_text};
use crate::storage::segment::{Section, SegmentError};

const BLOCK_VALUES: usize = 16;

/// The series that have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    One(u32),
    List { offset: u64, len: u64, count: u32 },
}

/// Appends the dictionary of one name. Values come in order; of several series each value's list lies behind the
/// one before, the first at the offset given.
pub struct DictionaryWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    restarts: Vec<u64>,
    last: String,
    value_count: usize,
    postings_at: u64,
}

impl<'o> DictionaryWriter<'o> {
    pub fn new(out: &'o mut Vec<u8>, postings_at: u64) -> DictionaryWriter<'o> {
        let start = out.len();
        DictionaryWriter {
            out,
            start,
            restarts: Vec::new(),
            last: String::new(),
            value_count: 0,
            postings_at,
        }
    }

    /// `list_len`: the length of the list of a value that more than one series has.
    pub fn value(&mut self, value: &str, series_count: usize, only_series: u32, list_len: u64) {
        if self.value_count.is_multiple_of(BLOCK_VALUES) {
            self.restarts.push((self.out.len() - self.start) as u64);
            write_u64(self.out, self.postings_at);
            self.last.clear();
        }
        let shared = shared_len(&self.last, value);
        write_u64(self.out, shared as u64);
        put_text(self.out, &value[shared..]);
        write_u64(self.out, series_count as u64);
        if series_count == 1 {
            write_u64(self.out, u64::from(only_series));
        } else {
            write_u64(self.out, list_len);
            self.postings_at += list_len;
        }
        self.last.clear();
        self.last.push_str(value);
        self.value_count += 1;
    }

    pub fn finish(self) {
        for restart in self.restarts {
            self.out.extend_from_slice(&restart.to_le_bytes());
        }
    }
}

/// The common beginning, up to a whole character.
fn shared_len(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

/// The dictionary of one name, read in place.
#[derive(Clone, Copy)]
pub struct Dictionary<'a> {
    pub section: Section<'a>,
    /// Where it lies in the section.
    pub offset: u64,
    pub len: u64,
    pub value_count: u32,
    pub series_count: u32,
}

/// Stands at a value, or behind the last; holds a block of them.
pub struct ValuesCursor<'a> {
    dictionary: Dictionary<'a>,
    next_block: u32,
    block: TextBuffer,
    /// Of the value in the block.
    at: usize,
    /// The value before those of the block.
    last: String,
}

impl<'a> Dictionary<'a> {
    /// Stands at the first value.
    pub fn cursor(self) -> Result<ValuesCursor<'a>, SegmentError> {
        let (block, last) = Default::default();
        let mut cursor = ValuesCursor { dictionary: self, next_block: 0, block, at: 0, last };
        cursor.load()?;
        Ok(cursor)
    }
}

impl ValuesCursor<'_> {
    /// None behind the last value. No value is empty, and each is behind the one before.
    pub fn current(&self) -> Option<&str> {
        (self.at < self.block.len()).then(|| self.block.get(self.at))
    }

    pub fn advance(&mut self) -> Result<(), SegmentError> {
        self.at += 1;
        if self.at >= self.block.len() { self.load() } else { Ok(()) }
    }

    /// Goes to the next block.
    fn load(&mut self) -> Result<(), SegmentError> {
        self.block.clear();
        self.at = 0;
        if self.next_block == self.dictionary.block_count() {
            return Ok(());
        }
        let ValuesCursor { dictionary, block, last, .. } = self;
        dictionary.scan_in_order(self.next_block, last, &mut |value, _| block.push(value))?;
        self.next_block += 1;
        Ok(())
    }
}

impl Dictionary<'_> {
    /// Who has this value.
    pub fn find(&self, value: &str) -> Result<Option<(u32, Holders)>, SegmentError> {
        let mut found = None;
        self.scan_from(value, |id, candidate, holders| {
            if candidate == value {
                found = Some((id, holders));
            }
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Visits values in order, from the first that is not less than `from`.
    pub fn scan_from(
        &self,
        from: &str,
        mut each: impl FnMut(u32, &str, Holders) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        // The last block that begins with no more than `from`.
        let (mut low, mut high) = (0, self.block_count());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let mut first_is_less = false;
            let _ = self.scan_block(middle, &mut |_, value, _| {
                first_is_less = value <= from;
                ControlFlow::Break(())
            })?;
            *(if first_is_less { &mut low } else { &mut high }) = middle;
        }
        let mut each = |id, value: &str, holders| {
            if value < from { ControlFlow::Continue(()) } else { each(id, value, holders) }
        };
        for block in low..self.block_count() {
            if self.scan_block(block, &mut each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits all values. That none is empty, and each behind the one before, is seen to.
    pub fn scan_all(&self, mut each: impl FnMut(Holders)) -> Result<(), SegmentError> {
        let mut last = String::new();
        (0..self.block_count())
            .try_for_each(|block| self.scan_in_order(block, &mut last, &mut |_, holders| each(holders)))
    }

    /// The same of a block; `last` is the value before those of the block, then the last one of these.
    fn scan_in_order(
        &self,
        block: u32,
        last: &mut String,
        each: &mut impl FnMut(&str, Holders),
    ) -> Result<(), SegmentError> {
        let mut is_in_order = true;
        let _ = self.scan_block(block, &mut |_, value, holders| {
            is_in_order &= **last < *value;
            last.clear();
            last.push_str(value);
            each(value, holders);
            ControlFlow::Continue(())
        })?;
        match is_in_order {
            true => Ok(()),
            false => Err(self.section.damaged(self.offset, Malformed("values of a label are not in order"))),
        }
    }

    /// The value with this number.
    pub fn value(&self, id: u32) -> Result<String, SegmentError> {
        let mut found = None;
        if id < self.value_count {
            let _ = self.scan_block(id / BLOCK_VALUES as u32, &mut |at, value, _| {
                if at < id {
                    return ControlFlow::Continue(());
                }
                found = Some(value.to_owned());
                ControlFlow::Break(())
            })?;
        }
        found.ok_or_else(|| self.section.damaged(self.offset, Malformed("a value's number is too large")))
    }

    fn block_count(&self) -> u32 {
        self.value_count.div_ceil(BLOCK_VALUES as u32)
    }

    fn scan_block(
        &self,
        block: u32,
        each: &mut impl FnMut(u32, &str, Holders) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SegmentError> {
        let (offset, bytes) = self.block(block)?;
        let first = block * BLOCK_VALUES as u32;
        let count = (self.value_count - first).min(BLOCK_VALUES as u32);
        read_block(bytes, first..first + count, self.series_count, each)
            .map_err(|what| self.section.damaged(offset, what))
    }

    /// Where a block lies in the section, and its bytes.
    fn block(&self, block: u32) -> Result<(u64, &[u8]), SegmentError> {
        let impossible = || self.section.damaged(self.offset, Malformed("a dictionary is out of bounds"));
        let blocks_len = self.len.checked_sub(u64::from(self.block_count()) * 8).ok_or_else(impossible)?;
        let restart = |block: u32| {
            if block == self.block_count() {
                return Ok(blocks_len);
            }
            let at = self.offset + blocks_len + u64::from(block) * 8;
            let bytes = self.section.bytes(at..at + 8)?;
            Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        };
        let (start, end) = (restart(block)?, restart(block + 1)?);
        if start > end || end > blocks_len {
            return Err(impossible());
        }
        Ok((self.offset + start, self.section.bytes(self.offset + start..self.offset + end)?))
    }
}

fn read_block(
    mut bytes: &[u8],
    ids: std::ops::Range<u32>,
    series_count: u32,
    each: &mut impl FnMut(u32, &str, Holders) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Malformed> {
    let bytes = &mut bytes;
    let mut offset = read_u64(bytes)?;
    let mut value = String::new();
    for id in ids {
        let shared = take_count(bytes, value.len())?;
        if !value.is_char_boundary(shared) {
            return Err(Malformed("a value is cut inside a character"));
        }
        value.truncate(shared);
        value.push_str(take_text(bytes)?);
        let count = take_count(bytes, series_count as usize)? as u32;
        let holders = if count == 1 {
            Holders::One(take_count(bytes, series_count as usize - 1)? as u32)
        } else {
            let len = read_u64(bytes)?;
            let list = Holders::List { offset, len, count };
            offset = offset.checked_add(len).ok_or(Malformed("a list lies behind the end"))?;
            list
        };
        if each(id, &value, holders).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
