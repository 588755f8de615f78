//! The columns of times and the blocks of a segment so far, and their tables. What is equal is written once, and pointed at.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::super::segment_layout::{self as layout, BLOCKS, BlockRow, COLUMNS, Column, SeriesRow};
use crate::model::Timestamp;
use crate::model::rollup::BucketTimes;
use crate::storage::segment::{CHECK_LEN, CHUNK_ROWS, SegmentWriter, TableWriter};

/// Columns remembered for sharing; at 32 bytes each that is 4 MiB. Then the writer forgets and begins again.
const SHARED_COLUMNS_MAX: usize = 128 << 10;

/// Blocks remembered for sharing, likewise less than 1 MiB. Series that are equal are mostly neighbours: all buckets of
/// a histogram above its largest value, and its count.
const SHARED_BLOCKS_MAX: usize = 16 << 10;

/// What is shorter is shared only with the block before it: to point elsewhere takes some bytes twice.
const SHARED_BLOCK_LEN_MIN: usize = 24;

/// The timestamp columns so far.
#[derive(Default)]
pub struct Columns {
    table: TableWriter,
    pending: Vec<Column>,
    count: u64,
    /// What was asked for last: series in order of their labels often share their times with the next ones.
    last: Vec<Timestamp>,
    /// The same of the times of buckets.
    last_buckets: BucketTimes,
    last_number: u64,
    /// Numbers of columns by a hash of their content.
    known: HashMap<u128, u64, RandomState>,
}

/// A column that is not there yet, by the hash of its content.
pub struct NewColumn(u128);

impl Columns {
    /// The number of a column of these times.
    pub fn find(&mut self, times: &[Timestamp]) -> Result<u64, NewColumn> {
        if self.last == times {
            return Ok(self.last_number);
        }
        refill(&mut self.last, times);
        self.find_by(content_hash(times))
    }

    /// The same of times of buckets. `others`: of first and last samples, and stale markers.
    pub fn find_buckets(
        &mut self,
        ends: &[Timestamp],
        counts: &[u64],
        others: [&[Timestamp]; 3],
    ) -> Result<u64, NewColumn> {
        let last = &mut self.last_buckets;
        let last_others = [&last.firsts[..], &last.lasts, &last.stale_at];
        if (&last.ends[..], &last.counts[..], last_others) == (ends, counts, others) {
            return Ok(self.last_number);
        }
        refill(&mut last.ends, ends);
        refill(&mut last.counts, counts);
        let kept = [&mut last.firsts, &mut last.lasts, &mut last.stale_at];
        kept.into_iter().zip(others).for_each(|(kept, others)| refill(kept, others));
        self.find_by(content_hash((ends, counts, others)))
    }

    /// The times of buckets that were asked for last.
    pub fn last_buckets(&self) -> &BucketTimes {
        &self.last_buckets
    }

    fn find_by(&mut self, hash: u128) -> Result<u64, NewColumn> {
        self.last_number = *self.known.get(&hash).ok_or(NewColumn(hash))?;
        Ok(self.last_number)
    }

    /// Adds the column that was asked for last, once it is written; answers with its number.
    pub fn add(&mut self, NewColumn(hash): NewColumn, column: Column) -> u64 {
        if self.known.len() >= SHARED_COLUMNS_MAX {
            self.known.clear();
        }
        self.last_number = self.count;
        self.known.insert(hash, self.count);
        self.count += 1;
        self.pending.push(column);
        if self.pending.len() == CHUNK_ROWS {
            self.flush();
        }
        self.last_number
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.table.chunk(self.pending.len(), |out| layout::encode_columns(&self.pending, out));
            self.pending.clear();
        }
    }

    /// Writes their table.
    pub fn finish<W: Write>(mut self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        self.flush();
        self.table.finish(COLUMNS, to)
    }
}

/// The blocks so far.
#[derive(Default)]
pub struct Blocks {
    table: TableWriter,
    series: Vec<SeriesRow>,
    pending: Vec<BlockRow>,
    /// Where the first block of the pending ones counts from, and where the last one ended.
    chunk_start: u64,
    end: u64,
    /// The bytes of the block before.
    last: Vec<u8>,
    /// Offsets of blocks by a hash of their bytes.
    known: HashMap<u128, u64, RandomState>,
}

impl Blocks {
    /// None where a block is shared with the next one only.
    pub fn hash_of(bytes: &[u8]) -> Option<u128> {
        (bytes.len() >= SHARED_BLOCK_LEN_MIN).then(|| xxh3_128(bytes))
    }

    /// Where a block of these bytes lies.
    pub fn offset_of(&self, bytes: &[u8], hash: Option<u128>) -> Option<u64> {
        if bytes == self.last {
            return Some(self.end - block_len(bytes));
        }
        self.known.get(&hash?).copied()
    }

    /// Adds a block of a series, which lies at `offset`.
    pub fn add(&mut self, bytes: &[u8], hash: Option<u128>, offset: u64, column: u64) {
        let len = block_len(bytes);
        self.pending.push(BlockRow { skip: offset.wrapping_sub(self.end), len, column });
        self.end = offset + len;
        refill(&mut self.last, bytes);
        if let Some(hash) = hash {
            if self.known.len() >= SHARED_BLOCKS_MAX {
                self.known.clear();
            }
            self.known.insert(hash, offset);
        }
    }

    /// Ends a series: its blocks were added.
    pub fn add_series(&mut self, series: SeriesRow) {
        self.series.push(series);
        if self.series.len() == CHUNK_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.series.is_empty() {
            let encode =
                |out: &mut Vec<u8>| layout::encode_blocks(self.chunk_start, &self.series, &self.pending, out);
            self.table.chunk(self.series.len(), encode);
            self.series.clear();
            self.pending.clear();
        }
        self.chunk_start = self.end;
    }

    /// Writes their table.
    pub fn finish<W: Write>(mut self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        self.flush();
        self.table.finish(BLOCKS, to)
    }
}

fn block_len(bytes: &[u8]) -> u64 {
    (bytes.len() + CHECK_LEN) as u64
}

fn refill<T: Copy>(list: &mut Vec<T>, values: &[T]) {
    list.clear();
    list.extend_from_slice(values);
}

/// For what is compared within one run alone.
fn content_hash(content: impl Hash) -> u128 {
    let mut hasher = Xxh3Default::new();
    content.hash(&mut hasher);
    hasher.digest128()
}
