//! The sections of a logs segment (`storage-format.md` §6) and the rows of their tables.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::head::Share;
use crate::codec::Malformed;
use crate::codec::integers::{self, take_integers};
use crate::codec::varint::{read_u64, write_u64};
use crate::model::{NanoRange, Nanos};
use crate::storage::segment::SectionId;

pub const DATA: SectionId = SectionId(1);
pub const BLOCKS: SectionId = SectionId(2);
pub const GROUPS: SectionId = SectionId(3);
pub const STREAMS: SectionId = SectionId(8);
pub const SOFT_LABELS: SectionId = SectionId(9);
pub const GRAMS: SectionId = SectionId(10);

/// As a person calls it.
pub fn section_name(id: SectionId) -> &'static str {
    match id.0 {
        1 => "data",
        2 => "blocks",
        3 => "groups",
        4 => "series",
        5 => "dictionary",
        6 => "postings",
        7 => "names",
        8 => "streams",
        9 => "soft labels",
        10 => "grams",
        _ => "unknown",
    }
}

/// A block is full at this many rows …
pub const BLOCK_ROWS_MAX: usize = 64 << 10;
/// … or at this much text: what one look at a block unpacks at most, but for a very long line.
pub const BLOCK_TEXT_BYTES: usize = 2 << 20;

/// What the lines of a block may unpack to at most, and the values of one name of metadata: a block may hold one line that
/// is longer than all others together.
pub const BLOCK_TEXT_BYTES_MAX: u64 = 1 << 30;

/// What the table of soft labels may unpack to.
pub const SOFT_LABELS_BYTES_MAX: usize = 1 << 20;

/// Bytes of the parts of a block, in their order in DATA. A part that is not there has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartLens {
    pub times: u64,
    pub streams: u64,
    pub lines: u64,
    pub trace_ids: u64,
    /// Of all metadata columns; the directory tells them apart.
    pub columns: u64,
    pub directory: u64,
}

impl PartLens {
    /// The place of the columns among the parts; each of them has a checksum of its own.
    pub const COLUMNS: usize = 4;

    pub fn all(&self) -> [u64; 6] {
        [self.times, self.streams, self.lines, self.trace_ids, self.columns, self.directory]
    }

    pub fn total(&self) -> u64 {
        self.all().iter().fold(0, |sum, len| sum.saturating_add(*len))
    }
}

/// What the table says of a block, but for its place and its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHeader {
    pub lens: PartLens,
    pub row_count: usize,
    /// Of all lines.
    pub line_bytes: u64,
    pub min_time: Nanos,
    pub max_time: Nanos,
    /// It was encoded to stay: merges copy it even if it is of middle size.
    pub is_final: bool,
}

impl BlockHeader {
    pub fn range(&self) -> NanoRange {
        NanoRange::closed(self.min_time, self.max_time)
    }

    pub fn overlaps(&self, range: NanoRange) -> bool {
        self.min_time <= range.until && self.max_time > range.after
    }

    pub fn lies_in(&self, range: NanoRange) -> bool {
        range.contains(self.min_time) && range.contains(self.max_time)
    }
}

/// A block before it knows where it lies.
#[derive(Clone, Debug)]
pub struct BlockRow {
    pub header: BlockHeader,
    /// What its streams have in it; the order is that of the numbers in the block.
    pub shares: Vec<Share>,
}

/// Where a block lies and what it is.
#[derive(Debug)]
pub struct Block {
    pub offset: u64,
    pub header: BlockHeader,
    /// The filter of what its lines are made of; nothing where there is none.
    pub grams: Option<Place>,
    /// Not stored: whether the checksum of its lines was compared since the table was read.
    pub are_lines_checked: AtomicBool,
    /// In its chunk of the table.
    shares: Range<usize>,
}

/// Bytes of DATA, their checksum included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub len: u64,
}

/// A chunk of the table of blocks.
#[derive(Debug)]
pub struct BlockChunk {
    pub blocks: Vec<Block>,
    shares: Vec<Share>,
}

impl BlockChunk {
    pub fn shares(&self, block: &Block) -> &[Share] {
        &self.shares[block.shares.clone()]
    }

    /// Takes a chunk of `count` blocks off the front. No stream has a number beyond `stream_count`.
    pub fn decode(bytes: &mut &[u8], count: usize, stream_count: u64) -> Result<BlockChunk, Malformed> {
        let mut offset = read_u64(bytes)?;
        let mut lens = [(); 6].map(|()| Vec::new());
        for column in &mut lens {
            *column = take_integers(bytes, count)?;
        }
        let row_counts = take_integers(bytes, count)?;
        let line_bytes = take_integers(bytes, count)?;
        let min_times = take_integers(bytes, count)?;
        let spans = take_integers(bytes, count)?;
        let finals = take_integers(bytes, count)?;
        let share_counts = take_integers(bytes, count)?;
        let (mut blocks, mut first_share) = (Vec::with_capacity(count), 0usize);
        for at in 0..count {
            let [times, streams, lines, trace_ids, columns, directory] =
                std::array::from_fn(|part| lens[part][at] as u64);
            let lens = PartLens { times, streams, lines, trace_ids, columns, directory };
            if !(1..=BLOCK_ROWS_MAX as i64).contains(&row_counts[at]) {
                return Err(Malformed("a block has too many rows or none"));
            }
            if !(1..=row_counts[at]).contains(&share_counts[at]) {
                return Err(Malformed("a block has more streams than rows or none"));
            }
            let shares = first_share..first_share + share_counts[at] as usize;
            first_share = shares.end;
            let header = BlockHeader {
                lens,
                row_count: row_counts[at] as usize,
                line_bytes: line_bytes[at] as u64,
                min_time: min_times[at],
                max_time: min_times[at].wrapping_add(spans[at]),
                is_final: finals[at] != 0,
            };
            if header.line_bytes > BLOCK_TEXT_BYTES_MAX {
                return Err(Malformed("a block has more text than a block can have"));
            }
            if header.min_time > header.max_time {
                return Err(Malformed("a block ends before it begins"));
            }
            let are_lines_checked = AtomicBool::new(false);
            blocks.push(Block { offset, header, grams: None, are_lines_checked, shares });
            offset = offset.wrapping_add(lens.total());
        }
        let shares = decode_shares(bytes, &blocks, first_share, stream_count)?;
        Ok(BlockChunk { blocks, shares })
    }

    /// Takes what the table of grams says of the same blocks, as [`encode_grams`] wrote it.
    pub fn add_grams(&mut self, bytes: &mut &[u8], count: usize) -> Result<(), Malformed> {
        if count != self.blocks.len() {
            return Err(Malformed("the grams are those of other blocks"));
        }
        let mut offset = read_u64(bytes)?;
        for (block, len) in self.blocks.iter_mut().zip(take_integers(bytes, count)?) {
            let len = len as u64;
            block.grams = (len > 0).then_some(Place { offset, len });
            offset = offset.wrapping_add(len);
        }
        Ok(())
    }
}

/// Appends a chunk of blocks; the first one lies at `offset`, the others follow.
pub fn encode_blocks(offset: u64, blocks: &[BlockRow], out: &mut Vec<u8>) {
    write_u64(out, offset);
    for part in 0..6 {
        put(out, blocks.iter().map(|b| b.header.lens.all()[part] as i64));
    }
    put(out, blocks.iter().map(|b| b.header.row_count as i64));
    put(out, blocks.iter().map(|b| b.header.line_bytes as i64));
    put(out, blocks.iter().map(|b| b.header.min_time));
    put(out, blocks.iter().map(|b| b.header.max_time.wrapping_sub(b.header.min_time)));
    put(out, blocks.iter().map(|b| i64::from(b.header.is_final)));
    put(out, blocks.iter().map(|b| b.shares.len() as i64));
    put(out, blocks.iter().flat_map(|b| &b.shares).map(|share| i64::from(share.stream)));
    // The last stream of a block has what is left of it.
    let but_last = || blocks.iter().flat_map(|b| &b.shares[..b.shares.len() - 1]);
    put(out, but_last().map(|share| share.rows as i64));
    put(out, but_last().map(|share| share.bytes as i64));
}

/// Appends a chunk of the table of grams: where the filter of the first block that has one lies, and how long each is.
pub fn encode_grams(offset: u64, lens: &[u64], out: &mut Vec<u8>) {
    write_u64(out, offset);
    put(out, lens.iter().map(|&len| len as i64));
}

fn decode_shares(
    bytes: &mut &[u8],
    blocks: &[Block],
    count: usize,
    stream_count: u64,
) -> Result<Vec<Share>, Malformed> {
    // A group of 128 integers takes two bytes at least.
    if count > bytes.len().saturating_mul(64) {
        return Err(Malformed("more streams in blocks than there can be"));
    }
    let streams = take_integers(bytes, count)?;
    let rows = take_integers(bytes, count - blocks.len())?;
    let line_bytes = take_integers(bytes, count - blocks.len())?;
    let mut told = rows.into_iter().zip(line_bytes);
    let mut shares = Vec::with_capacity(count);
    for block in blocks {
        let (mut rows_left, mut bytes_left) = (block.header.row_count as u64, block.header.line_bytes);
        for at in block.shares.clone() {
            let stream = u32::try_from(streams[at]).ok().filter(|&stream| u64::from(stream) < stream_count);
            let stream = stream.ok_or(Malformed("a block of a stream that there is not"))?;
            let is_last = at + 1 == block.shares.end;
            let told_of_it = if is_last { None } else { told.next() };
            let (rows, bytes) =
                told_of_it.map_or((rows_left, bytes_left), |(rows, bytes)| (rows as u64, bytes as u64));
            let too_much = Malformed("the streams of a block have more than the block");
            rows_left = rows_left.checked_sub(rows).ok_or(too_much)?;
            bytes_left = bytes_left.checked_sub(bytes).ok_or(too_much)?;
            shares.push(Share { stream, rows, bytes });
        }
    }
    Ok(shares)
}

fn put(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    integers::encode(&values.collect::<Vec<_>>(), out);
}

/// Appends a chunk of groups: the first block of the first of them, and how many blocks each has.
pub fn encode_groups(first_block: u64, block_counts: &[u64], out: &mut Vec<u8>) {
    write_u64(out, first_block);
    put(out, block_counts.iter().map(|&count| count as i64));
}

/// The blocks of each group of a chunk.
pub fn decode_groups(
    bytes: &mut &[u8],
    count: usize,
    block_count: u64,
) -> Result<Vec<Range<u64>>, Malformed> {
    let mut next = read_u64(bytes)?;
    let mut groups = Vec::with_capacity(count);
    for blocks in take_integers(bytes, count)? {
        let blocks = u64::try_from(blocks).ok().and_then(|blocks| next.checked_add(blocks));
        let end = blocks.filter(|&end| end <= block_count);
        let end = end.ok_or(Malformed("a group has more blocks than there are"))?;
        groups.push(next..end);
        next = end;
    }
    Ok(groups)
}

/// Appends a chunk of streams: the group of each.
pub fn encode_streams(groups: &[u32], out: &mut Vec<u8>) {
    put(out, groups.iter().map(|&group| i64::from(group)));
}

pub fn decode_streams(bytes: &mut &[u8], count: usize) -> Result<Vec<u32>, Malformed> {
    let groups = take_integers(bytes, count)?.into_iter().map(u32::try_from);
    groups.collect::<Result<_, _>>().map_err(|_| Malformed("a stream of a group that there is not"))
}
