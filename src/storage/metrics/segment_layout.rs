//! The sections of a metrics segment (`storage-format.md` §5) and the rows of their tables.

use std::sync::atomic::{AtomicU64, Ordering};

use roaring::RoaringBitmap;

use crate::codec::integers::{self, take_integers};
use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, take_count};
use crate::model::{MetricType, TimeRange, Timestamp};
use crate::storage::index::{decode_ordinals, encode_ordinals};
use crate::storage::segment::SectionId;

pub const DATA: SectionId = SectionId(1);
pub const COLUMNS: SectionId = SectionId(2);
pub const BLOCKS: SectionId = SectionId(3);
pub const STARTS: SectionId = SectionId(8);
pub const METADATA: SectionId = SectionId(9);
pub const ABSENT: SectionId = SectionId(10);

/// As a person calls it.
pub fn section_name(id: SectionId) -> &'static str {
    match id.0 {
        1 => "data",
        2 => "columns",
        3 => "blocks",
        4 => "series",
        5 => "dictionary",
        6 => "postings",
        7 => "names",
        8 => "starts",
        9 => "metadata",
        10 => "absent",
        _ => "unknown",
    }
}

/// Long blocks compress best; a query that wants one sample of this many decodes for some ten microseconds.
pub const BLOCK_SAMPLES_MAX: usize = 8192;

/// Native histograms are hundreds of times larger than floats, and are unpacked a block at a time.
pub const BLOCK_HISTOGRAMS_MAX: usize = 512;
pub const BLOCK_EXEMPLARS_MAX: usize = 1024;

/// What a block or section may unpack to.
pub const EXEMPLAR_BYTES_MAX: usize = 64 << 20;
pub const METADATA_BYTES_MAX: usize = 256 << 20;

/// Days to weeks of buckets; one column of them takes a few kilobytes.
pub const BLOCK_BUCKETS_MAX: usize = 2048;
pub const BLOCK_HISTOGRAM_BUCKETS_MAX: usize = 256;

pub const BUCKET_TIMES_CODEC: u8 = 32;
pub const STATES_CODEC: u8 = 32;
pub const HISTOGRAMS_CODEC: u8 = 1;
pub const EXEMPLARS_CODEC: u8 = 1;

/// Types by their number on disk.
pub const METRIC_TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// Where a timestamp column lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub offset: u64,
    pub len: u64,
    pub sample_count: usize,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Column {
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.first <= range.until && self.last > range.after
    }

    /// About how many of its samples lie in the range; at least 1 where any may.
    pub fn count_in(&self, range: TimeRange) -> u64 {
        if !self.overlaps(range) {
            return 0;
        }
        spread_evenly(self.sample_count as u64, TimeRange::closed(self.first, self.last), range)
    }

    /// Whether some, but not all of its samples may lie in the range.
    pub fn sticks_out_of(&self, range: TimeRange) -> bool {
        self.first <= range.after || self.last > range.until
    }
}

/// The share of `count` samples, spread evenly over `held`, that falls into `wanted`; at least 1.
pub(super) fn spread_evenly(count: u64, held: TimeRange, wanted: TimeRange) -> u64 {
    let length = |range: TimeRange| (i128::from(range.until) - i128::from(range.after)).max(1);
    let share = length(held.intersect(&wanted)) * i128::from(count) / length(held);
    u64::try_from(share + 1).map_or(count, |share| share.min(count).max(1))
}

/// A row of the table of blocks, before it knows where it lies.
#[derive(Clone, Copy, Debug)]
pub struct BlockRow {
    pub skip: u64,
    pub len: u64,
    pub column: u64,
}

/// Where a block of values lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub offset: u64,
    pub len: u64,
    pub column: u64,
}

/// How many blocks of each kind a series has, and where its starts lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesRow {
    pub float_blocks: usize,
    pub histogram_blocks: usize,
    pub exemplar_blocks: usize,
    /// 0, or 1 + offset in STARTS.
    pub starts: u64,
}

pub fn encode_columns(columns: &[Column], out: &mut Vec<u8>) {
    put(out, columns, |c| c.offset as i64);
    put(out, columns, |c| c.len as i64);
    put(out, columns, |c| c.sample_count as i64);
    put(out, columns, |c| c.first);
    put(out, columns, |c| c.last.wrapping_sub(c.first));
}

pub fn decode_columns(bytes: &mut &[u8], count: usize) -> Result<Vec<Column>, Malformed> {
    let offsets = take_integers(bytes, count)?;
    let lens = take_integers(bytes, count)?;
    let sample_counts = take_integers(bytes, count)?;
    let firsts = take_integers(bytes, count)?;
    let spans = take_integers(bytes, count)?;
    let mut columns = Vec::with_capacity(count);
    for at in 0..count {
        if !(1..=BLOCK_SAMPLES_MAX as i64).contains(&sample_counts[at]) {
            return Err(Malformed("a column has too many samples or none"));
        }
        columns.push(Column {
            offset: offsets[at] as u64,
            len: lens[at] as u64,
            sample_count: sample_counts[at] as usize,
            first: firsts[at],
            last: firsts[at].wrapping_add(spans[at]),
        });
    }
    Ok(columns)
}

/// Appends a chunk of series; `blocks` are those of all of them, `offset` is where the first `skip` counts from.
pub fn encode_blocks(offset: u64, series: &[SeriesRow], blocks: &[BlockRow], out: &mut Vec<u8>) {
    write_u64(out, offset);
    put(out, series, |s| s.float_blocks as i64);
    put(out, series, |s| s.histogram_blocks as i64);
    put(out, series, |s| s.exemplar_blocks as i64);
    put(out, series, |s| s.starts as i64);
    put(out, blocks, |b| b.skip as i64);
    put(out, blocks, |b| b.len as i64);
    put(out, blocks, |b| b.column as i64);
}

const TOO_MANY_BLOCKS: Malformed = Malformed("a series has more blocks than there can be");

/// A chunk of the table of blocks.
#[derive(Debug)]
pub struct BlockChunk {
    series: Vec<SeriesRow>,
    /// Of each series: its first block.
    firsts: Vec<usize>,
    blocks: Vec<Block>,
    /// The last float of each block, in bits, as soon as somebody wanted that one alone; until then [`UNKNOWN`].
    last_floats: Box<[AtomicU64]>,
}

/// A NaN that nobody sends; if somebody does, it is never known.
const UNKNOWN: u64 = u64::MAX;

/// The blocks of one series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesBlocks<'a> {
    pub floats: &'a [Block],
    pub histograms: &'a [Block],
    pub exemplars: &'a [Block],
    /// The offset in STARTS.
    pub starts: Option<u64>,
}

impl BlockChunk {
    /// Takes a chunk of `count` series off the front.
    pub fn decode(bytes: &mut &[u8], count: usize) -> Result<BlockChunk, Malformed> {
        // Of each 128 blocks three groups of integers are told, of two bytes at least.
        let blocks_max = bytes.len().saturating_mul(128 / 6 + 1);
        let mut offset = read_u64(bytes)?;
        let floats = take_integers(bytes, count)?;
        let histograms = take_integers(bytes, count)?;
        let exemplars = take_integers(bytes, count)?;
        let starts = take_integers(bytes, count)?;
        let is_possible = |counts: &[i64]| counts.iter().all(|&c| c >= 0 && c <= blocks_max as i64);
        if ![&floats, &histograms, &exemplars].into_iter().all(|counts| is_possible(counts)) {
            return Err(TOO_MANY_BLOCKS);
        }
        let (mut series, mut firsts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut block_count = 0;
        for at in 0..count {
            firsts.push(block_count);
            let counts = [floats[at], histograms[at], exemplars[at]];
            let [float_blocks, histogram_blocks, exemplar_blocks] = counts.map(|c| c as usize);
            block_count += float_blocks + histogram_blocks + exemplar_blocks;
            let starts = starts[at] as u64;
            series.push(SeriesRow { float_blocks, histogram_blocks, exemplar_blocks, starts });
        }
        // At most 512 rows of 3 * blocks_max, so the sum is none that wrapped.
        if block_count > blocks_max {
            return Err(TOO_MANY_BLOCKS);
        }
        let skips = take_integers(bytes, block_count)?;
        let lens = take_integers(bytes, block_count)?;
        let columns = take_integers(bytes, block_count)?;
        let mut place = |((skip, len), column): ((i64, i64), i64)| {
            let block =
                Block { offset: offset.wrapping_add(skip as u64), len: len as u64, column: column as u64 };
            offset = block.offset.wrapping_add(block.len);
            block
        };
        let blocks = skips.into_iter().zip(lens).zip(columns).map(&mut place).collect();
        let last_floats = (0..block_count).map(|_| AtomicU64::new(UNKNOWN)).collect();
        Ok(BlockChunk { series, firsts, blocks, last_floats })
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<BlockChunk>()
            + size_of_val(&*self.series)
            + size_of_val(&*self.firsts)
            + size_of_val(&*self.blocks)
            + size_of_val(&*self.last_floats)
    }

    /// The last float of a series' block of floats, if it is known.
    pub fn last_float(&self, row: usize, block: usize) -> Option<f64> {
        let bits = self.last_floats[self.firsts[row] + block].load(Ordering::Relaxed);
        (bits != UNKNOWN).then(|| f64::from_bits(bits))
    }

    pub fn know_last_float(&self, row: usize, block: usize, value: f64) {
        self.last_floats[self.firsts[row] + block].store(value.to_bits(), Ordering::Relaxed);
    }

    pub fn of(&self, row: usize) -> SeriesBlocks<'_> {
        let SeriesRow { float_blocks, histogram_blocks, exemplar_blocks, starts } = self.series[row];
        let blocks = &self.blocks[self.firsts[row]..];
        let (floats, blocks) = blocks.split_at(float_blocks);
        let (histograms, blocks) = blocks.split_at(histogram_blocks);
        SeriesBlocks {
            floats,
            histograms,
            exemplars: &blocks[..exemplar_blocks],
            starts: starts.checked_sub(1),
        }
    }
}

/// Series that the index names and of which nothing is here.
pub fn encode_absent(absent: &RoaringBitmap, out: &mut Vec<u8>) {
    write_u64(out, absent.len());
    encode_ordinals(&absent.iter().collect::<Vec<_>>(), out);
}

pub fn decode_absent(mut bytes: &[u8], series_count: u32) -> Result<RoaringBitmap, Malformed> {
    let count = take_count(&mut bytes, series_count as usize)?;
    decode_ordinals(bytes, count, series_count)
}

fn put<T>(out: &mut Vec<u8>, rows: &[T], field: impl Fn(&T) -> i64) {
    integers::encode(&rows.iter().map(field).collect::<Vec<_>>(), out);
}
