//! The sections of a traces segment (`storage-format.md` §7) and the rows of their tables.

use super::columns::ValueType;
use crate::codec::integers::{self, take_integers};
use crate::codec::varint::write_u64;
use crate::codec::{Malformed, put_text, take_count, take_text};
use crate::model::{NanoRange, Nanos};
use crate::storage::segment::{CHECK_LEN, SectionId};

pub const DATA: SectionId = SectionId(1);
pub const BLOCKS: SectionId = SectionId(2);
pub const FIRST_IDS: SectionId = SectionId(3);
pub const FILTERS: SectionId = SectionId(4);

/// As a person calls it.
pub fn section_name(id: SectionId) -> &'static str {
    match id.0 {
        1 => "data",
        2 => "blocks",
        3 => "first ids",
        4 => "filters",
        _ => "unknown",
    }
}

/// A block ends with the trace that fills it. A trace by its id costs all columns of its block, at 4096 rows 0.7 ms, and a
/// search puts some twenty traces together; smaller blocks compress a little worse.
pub const BLOCK_ROWS: usize = 2048;
pub const BLOCK_BYTES: usize = 4 << 20;
/// A trace that is larger goes on in the next block.
pub const BLOCK_ROWS_MAX: usize = 2 * BLOCK_ROWS;
/// What no block may exceed, so that a reader can tell what is impossible.
pub const BLOCK_ROWS_LIMIT: usize = 64 << 10;
/// What one column of a block may unpack to.
pub const COLUMN_BYTES_MAX: usize = 256 << 20;
/// Values of attributes in one block.
pub const VALUES_MAX: usize = 16 << 20;

/// Trace ids in one filter, so that building it takes a few MiB of memory.
pub const FILTER_IDS: usize = 256 << 10;

/// The parts that a block may have once; a part whose rows all have the default value is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Traces = 0,
    SpanIds = 1,
    Parents = 2,
    Starts = 3,
    Durations = 4,
    Kinds = 5,
    Statuses = 6,
    Names = 7,
    StatusMessages = 8,
    TraceStates = 9,
    Flags = 10,
    Dropped = 11,
    Origins = 12,
    Shapes = 13,
    Events = 14,
    Links = 15,
}

pub const PART_NAMES: [&str; 16] = [
    "traces",
    "span ids",
    "parents",
    "starts",
    "durations",
    "kinds",
    "statuses",
    "names",
    "status messages",
    "trace states",
    "flags",
    "dropped",
    "origins",
    "shapes",
    "events",
    "links",
];

/// Codes from here on are columns of attributes: 16 + 8 × number of the key + type.
const ATTRIBUTE_CODE: i64 = PART_NAMES.len() as i64;

/// Where bytes lie in DATA; `len` counts their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub len: u64,
}

/// What the table says of a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockEntry {
    pub row_count: usize,
    pub trace_count: usize,
    pub first_start: Nanos,
    /// Not before `first_start`.
    pub last_end: Nanos,
    pub duration_max_ns: i64,
    pub has_error: bool,
    /// A bit for each service: that of [`service_bit`].
    pub services: u64,
    pub parts: [Option<Place>; PART_NAMES.len()],
    pub attributes: Vec<AttributePart>,
}

/// A column of attributes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttributePart {
    /// Index in the keys of the chunk.
    pub key: u32,
    pub value_type: ValueType,
    pub place: Place,
}

impl BlockEntry {
    pub fn range(&self) -> NanoRange {
        NanoRange::closed(self.first_start, self.last_end)
    }
}

/// Which bit stands for a service; several may share one.
pub fn service_bit(name: &str) -> u64 {
    1 << (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % 64)
}

/// Some blocks, with the keys of their attributes.
#[derive(Debug, Default)]
pub struct BlockChunk {
    pub keys: Vec<Box<str>>,
    pub blocks: Vec<BlockEntry>,
}

impl BlockChunk {
    /// Appends the chunk. The parts of a block lie one after the other.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_u64(out, self.keys.len() as u64);
        self.keys.iter().for_each(|key| put_text(out, key));
        let parts: Vec<Vec<(i64, Place)>> = self.blocks.iter().map(coded_parts).collect();
        put(out, parts.iter().map(|parts| parts.first().map_or(0, |(_, place)| place.offset as i64)));
        put(out, parts.iter().map(|parts| parts.len() as i64));
        put(out, self.blocks.iter().map(|b| b.row_count as i64));
        put(out, self.blocks.iter().map(|b| b.trace_count as i64));
        put(out, self.blocks.iter().map(|b| b.first_start));
        put(out, self.blocks.iter().map(|b| b.last_end.wrapping_sub(b.first_start)));
        put(out, self.blocks.iter().map(|b| b.duration_max_ns));
        put(out, self.blocks.iter().map(|b| i64::from(b.has_error)));
        put(out, self.blocks.iter().map(|b| b.services as i64));
        put(out, parts.iter().flatten().map(|(code, _)| *code));
        put(out, parts.iter().flatten().map(|(_, place)| place.len as i64));
    }

    /// Takes a chunk of `count` blocks off the front. `data_len` bounds how many parts there can be.
    pub fn decode(bytes: &mut &[u8], count: usize, data_len: u64) -> Result<BlockChunk, Malformed> {
        let key_count = take_count(bytes, bytes.len())?;
        let keys = (0..key_count).map(|_| Ok(take_text(bytes)?.into())).collect::<Result<_, Malformed>>()?;
        let offsets = take_integers(bytes, count)?;
        let part_counts = take_integers(bytes, count)?;
        let row_counts = take_integers(bytes, count)?;
        let trace_counts = take_integers(bytes, count)?;
        let first_starts = take_integers(bytes, count)?;
        let spans = take_integers(bytes, count)?;
        let durations = take_integers(bytes, count)?;
        let errors = take_integers(bytes, count)?;
        let services = take_integers(bytes, count)?;
        // No part is shorter than its checksum.
        let parts_max = i64::try_from(data_len / CHECK_LEN as u64).unwrap_or(i64::MAX);
        let mut part_total = 0i64;
        for &parts in &part_counts {
            part_total = part_total.saturating_add(parts);
            if parts < 0 || part_total > parts_max {
                return Err(Malformed("a block has more parts than there can be"));
            }
        }
        let codes = take_integers(bytes, part_total as usize)?;
        let lens = take_integers(bytes, part_total as usize)?;
        let mut chunk = BlockChunk { keys, blocks: Vec::with_capacity(count) };
        let mut parts = codes.into_iter().zip(lens);
        for at in 0..count {
            let rows = 1..=BLOCK_ROWS_LIMIT as i64;
            if !rows.contains(&row_counts[at]) || !(1..=row_counts[at]).contains(&trace_counts[at]) {
                return Err(Malformed("a block has too many rows or traces, or none"));
            }
            let mut block = BlockEntry {
                row_count: row_counts[at] as usize,
                trace_count: trace_counts[at] as usize,
                first_start: first_starts[at],
                last_end: first_starts[at].wrapping_add(spans[at]),
                duration_max_ns: durations[at],
                has_error: errors[at] != 0,
                services: services[at] as u64,
                ..BlockEntry::default()
            };
            let mut offset = offsets[at] as u64;
            for (code, len) in parts.by_ref().take(part_counts[at] as usize) {
                let place = Place { offset, len: len as u64 };
                chunk.add_part(&mut block, code, place)?;
                offset = offset.wrapping_add(place.len);
            }
            chunk.blocks.push(block);
        }
        Ok(chunk)
    }

    fn add_part(&self, block: &mut BlockEntry, code: i64, place: Place) -> Result<(), Malformed> {
        if (0..ATTRIBUTE_CODE).contains(&code) {
            block.parts[code as usize] = Some(place);
            return Ok(());
        }
        let code = code.wrapping_sub(ATTRIBUTE_CODE);
        let value_type = ValueType::ALL.get((code & 7) as usize);
        let key = u32::try_from(code >> 3).ok().filter(|&key| (key as usize) < self.keys.len());
        let (Some(&value_type), Some(key)) = (value_type, key) else {
            // A part that a later minor version added.
            return if code >= 0 { Ok(()) } else { Err(Malformed("a part without a name")) };
        };
        block.attributes.push(AttributePart { key, value_type, place });
        Ok(())
    }
}

/// The parts of a block in order of their places, by their codes.
fn coded_parts(block: &BlockEntry) -> Vec<(i64, Place)> {
    let fixed = block.parts.iter().enumerate().filter_map(|(code, place)| Some((code as i64, (*place)?)));
    let code = |part: &AttributePart| ATTRIBUTE_CODE + (i64::from(part.key) << 3) + part.value_type as i64;
    let attributes = block.attributes.iter().map(|part| (code(part), part.place));
    let mut parts: Vec<_> = fixed.chain(attributes).collect();
    parts.sort_by_key(|(_, place)| place.offset);
    parts
}

fn put(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    integers::encode(&values.collect::<Vec<_>>(), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk() -> BlockChunk {
        let mut block = BlockEntry {
            row_count: 3,
            trace_count: 2,
            first_start: 1_700_000_000_000_000_000,
            last_end: 1_700_000_000_000_000_007,
            duration_max_ns: 5,
            has_error: true,
            services: service_bit("cart"),
            ..BlockEntry::default()
        };
        block.parts[Part::Traces as usize] = Some(Place { offset: 100, len: 40 });
        block.parts[Part::Names as usize] = Some(Place { offset: 140, len: 9 });
        let place = Place { offset: 149, len: 12 };
        block.attributes.push(AttributePart { key: 1, value_type: ValueType::Bool, place });
        let mut later = block.clone();
        later.parts[Part::Names as usize] = None;
        later.attributes[0].place.offset = 140;
        BlockChunk { keys: vec!["".into(), "user.id".into()], blocks: vec![block, later] }
    }

    #[test]
    fn a_chunk_comes_back() {
        let (chunk, mut bytes) = (chunk(), Vec::new());
        chunk.encode(&mut bytes);
        let mut slice = &bytes[..];
        let decoded = BlockChunk::decode(&mut slice, 2, 1000).unwrap();
        assert!(slice.is_empty());
        assert_eq!((decoded.keys, decoded.blocks), (chunk.keys, chunk.blocks));
        assert!(BlockChunk::decode(&mut &bytes[..], 2, 8).is_err(), "more parts than the data can hold");
    }

    proptest! {
        #[test]
        fn a_damaged_chunk_is_an_error_or_a_chunk(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = Vec::new();
            chunk().encode(&mut bytes);
            assert!(BlockChunk::decode(&mut &bytes[..cut.index(bytes.len())], 2, 1000).is_err());
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = BlockChunk::decode(&mut &bytes[..], 2, 1000);
        }
    }
}
