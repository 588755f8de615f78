//! One block: rows of a group in order of time, as parts that are read one by one (`storage-format.md` §6.1).

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::rows::Rows;
use super::segment_layout::{BLOCK_TEXT_BYTES_MAX, BlockHeader, PartLens};
use super::trace_ids;
use crate::codec::rows::RowSet;
use crate::codec::text::{self, Effort, TextBuffer, TextColumn};
use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, integers, put_text, take_count, take_text, take_u8};
use crate::model::Nanos;
use crate::storage::segment::SegmentWriter;

/// Times are whole multiples of a power of ten that senders count in: ns, µs, ms, s.
const UNITS: [Nanos; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

mod presence {
    pub const ALL: u8 = 0;
    pub const SOME: u8 = 1;
}

/// What a metadata column is called and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnEntry {
    pub name: String,
    /// From the start of the first column.
    pub offset: u64,
    pub len: u64,
    /// Of all its values together.
    pub value_bytes: usize,
}

/// A filter of grams pays if it takes no more of the bytes of the lines themselves than one in so many.
const LINE_BYTES_A_GRAM_BYTE: u64 = 8;

/// Writes the parts of a block and says what they are, and what its lines are made of: the filter of their grams, empty
/// where it would not pay. Rows are in order of time; their stream numbers are below `stream_count`.
pub fn write<W: Write>(
    rows: &Rows,
    stream_count: usize,
    effort: Effort,
    to: &mut SegmentWriter<W>,
) -> io::Result<(BlockHeader, Vec<u8>)> {
    assert!(rows.timestamps.is_sorted(), "rows of a block are in order of time");
    let times = write_part(to, |out| encode_times(&rows.timestamps, out))?;
    let mut lens = PartLens { times, ..PartLens::default() };
    if stream_count > 1 {
        let numbers: Vec<i64> = rows.streams.iter().map(|&stream| i64::from(stream)).collect();
        lens.streams = write_part(to, |out| integers::encode(&numbers, out))?;
    }
    let mut grams = Vec::new();
    lens.lines = write_part(to, |out| {
        text::encode_with_grams(&rows.lines, effort, out).encode(&mut grams);
    })?;
    if grams.len() as u64 * LINE_BYTES_A_GRAM_BYTE > lens.lines {
        grams.clear();
    }
    if rows.metadata.has_pairs() {
        lens.trace_ids = write_part(to, |out| trace_ids::encode(&rows.metadata, out))?;
        let columns = columns_of(rows);
        let mut directory = Vec::new();
        write_u64(&mut directory, columns.len() as u64);
        for (name, column) in &columns {
            let len = write_part(to, |out| encode_column(column, rows.len(), effort, out))?;
            lens.columns += len;
            put_text(&mut directory, name);
            write_u64(&mut directory, len);
            write_u64(&mut directory, column.values.bytes.len() as u64);
        }
        lens.directory = write_part(to, |out| out.append(&mut directory))?;
    }
    let header = BlockHeader {
        lens,
        row_count: rows.len(),
        line_bytes: rows.lines.bytes.len() as u64,
        min_time: rows.timestamps[0],
        max_time: rows.timestamps[rows.len() - 1],
        is_final: effort == Effort::Best,
    };
    Ok((header, grams))
}

/// Writes a part and its checksum, or nothing if `encode` adds nothing; answers with its length.
fn write_part<W: Write>(to: &mut SegmentWriter<W>, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<u64> {
    let mut part = Vec::new();
    encode(&mut part);
    if part.is_empty() { Ok(0) } else { to.write_block(&part) }
}

fn encode_times(times: &[Nanos], out: &mut Vec<u8>) {
    let unit =
        UNITS.iter().rposition(|unit| times.iter().all(|time| time % unit == 0)).expect("1 divides all");
    out.push(unit as u8);
    integers::encode(&times.iter().map(|time| time / UNITS[unit]).collect::<Vec<_>>(), out);
}

/// The times of a block, which do not decrease.
pub fn decode_times(mut bytes: &[u8], header: &BlockHeader) -> Result<Vec<Nanos>, Malformed> {
    let unit = *UNITS.get(take_u8(&mut bytes)? as usize).ok_or(Malformed("unknown unit of times"))?;
    let mut times = Vec::new();
    integers::decode(&mut bytes, header.row_count, &mut times)?;
    times.iter_mut().for_each(|time| *time = time.wrapping_mul(unit));
    let is_right = times.first() == Some(&header.min_time) && times.last() == Some(&header.max_time);
    if bytes.is_empty() && is_right && times.is_sorted() {
        Ok(times)
    } else {
        Err(Malformed("times of a block are not what the table says"))
    }
}

/// The stream of each row, as number in the block.
pub fn decode_streams(
    mut bytes: &[u8],
    row_count: usize,
    stream_count: usize,
) -> Result<Vec<u32>, Malformed> {
    let mut streams = Vec::with_capacity(row_count);
    let mut is_right = true;
    integers::for_each_group(&mut bytes, row_count, |group| {
        is_right &= group.iter().all(|&stream| (0..stream_count as i64).contains(&stream));
        streams.extend(group.iter().map(|&stream| stream as u32));
    })?;
    if is_right && bytes.is_empty() {
        Ok(streams)
    } else {
        Err(Malformed("a row has a stream that the block has not"))
    }
}

/// Which rows have a value for a name, and the values.
#[derive(Default)]
struct Column {
    rows: Vec<i64>,
    values: TextBuffer,
}

/// The metadata by name.
fn columns_of(rows: &Rows) -> BTreeMap<&str, Column> {
    let mut columns: Vec<Column> = Vec::new();
    columns.resize_with(rows.metadata.name_count(), Column::default);
    for row in 0..rows.len() {
        for (name, value) in rows.metadata.numbered(row) {
            let column = &mut columns[name as usize];
            column.rows.push(row as i64);
            column.values.push(value);
        }
    }
    let numbered = columns.into_iter().enumerate();
    numbered.map(|(name, column)| (rows.metadata.name(name as u32), column)).collect()
}

fn encode_column(column: &Column, row_count: usize, effort: Effort, out: &mut Vec<u8>) {
    if column.rows.len() == row_count {
        out.push(presence::ALL);
    } else {
        out.push(presence::SOME);
        write_u64(out, column.rows.len() as u64);
        integers::encode(&column.rows, out);
    }
    text::encode(&column.values, effort, out);
}

/// The metadata columns of a block, in order of their names. Together they are `columns_len` bytes long.
pub fn decode_directory(mut bytes: &[u8], columns_len: u64) -> Result<Vec<ColumnEntry>, Malformed> {
    let bytes = &mut bytes;
    let mut entries: Vec<ColumnEntry> = Vec::new();
    let mut offset = 0u64;
    for _ in 0..take_count(bytes, bytes.len())? {
        let name = take_text(bytes)?.to_owned();
        if entries.last().is_some_and(|last| last.name >= name) {
            return Err(Malformed("metadata columns are not in order"));
        }
        let len = read_u64(bytes)?;
        let value_bytes = take_count(bytes, BLOCK_TEXT_BYTES_MAX as usize)?;
        let end = offset.checked_add(len).filter(|&end| end <= columns_len);
        entries.push(ColumnEntry { name, offset, len, value_bytes });
        offset = end.ok_or(Malformed("a metadata column lies behind the block's end"))?;
    }
    if offset == columns_len && bytes.is_empty() {
        Ok(entries)
    } else {
        Err(Malformed("bytes after the metadata"))
    }
}

/// A metadata column: the rows that have the name, and their values.
pub struct MetadataColumn<'a> {
    /// `None`: all of them.
    rows: Option<Vec<u32>>,
    values: TextColumn<'a>,
    count: usize,
}

impl<'a> MetadataColumn<'a> {
    pub fn open(
        mut bytes: &'a [u8],
        row_count: usize,
        value_bytes: usize,
    ) -> Result<MetadataColumn<'a>, Malformed> {
        let rows = match take_u8(&mut bytes)? {
            presence::ALL => None,
            presence::SOME => Some(decode_rows(&mut bytes, row_count)?),
            _ => return Err(Malformed("unknown kind of presence")),
        };
        let count = rows.as_ref().map_or(row_count, Vec::len);
        Ok(MetadataColumn { rows, values: TextColumn::open(bytes, count, value_bytes)?, count })
    }

    /// Removes the rows that have the name from `found`.
    pub fn remove_present(&self, found: &mut RowSet) {
        match &self.rows {
            None => found.clear(),
            Some(rows) => rows.iter().for_each(|&row| found.remove(row as usize)),
        }
    }

    /// Adds the rows whose value is `value` to `found`.
    pub fn add_equal(&self, value: &str, found: &mut RowSet) -> Result<(), Malformed> {
        let mut equal = RowSet::all(self.count);
        self.values.equals(value, &mut equal)?;
        equal.iter().for_each(|at| found.insert(self.row(at)));
        Ok(())
    }

    /// The values of the rows in `rows`: calls `each` with row and value, in order of rows.
    pub fn for_each(&self, rows: &RowSet, mut each: impl FnMut(usize, &str)) -> Result<(), Malformed> {
        let mut wanted = RowSet::none(self.count);
        (0..self.count).filter(|&at| rows.contains(self.row(at))).for_each(|at| wanted.insert(at));
        if wanted.is_empty() {
            return Ok(());
        }
        let mut values = TextBuffer::default();
        self.values.decode_rows(&wanted, &mut values)?;
        wanted.iter().for_each(|at| each(self.row(at), values.get(at)));
        Ok(())
    }

    fn row(&self, at: usize) -> usize {
        self.rows.as_ref().map_or(at, |rows| rows[at] as usize)
    }
}

/// Row numbers that strictly increase.
fn decode_rows(bytes: &mut &[u8], row_count: usize) -> Result<Vec<u32>, Malformed> {
    let count = take_count(bytes, row_count)?;
    let mut rows = Vec::new();
    integers::decode(bytes, count, &mut rows)?;
    let is_right = rows.is_sorted_by(|a, b| a < b)
        && rows.first().is_none_or(|&first| first >= 0)
        && rows.last().is_none_or(|&last| last < row_count as i64);
    if !is_right {
        return Err(Malformed("rows of a metadata column are not in order"));
    }
    Ok(rows.into_iter().map(|row| row as u32).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_parts_never_panic(bytes: Vec<u8>, row_count in 1usize..300, stream_count in 1usize..4) {
            let header = BlockHeader { row_count, ..BlockHeader::default() };
            let _ = decode_times(&bytes, &header);
            let _ = decode_streams(&bytes, row_count, stream_count);
            let _ = decode_directory(&bytes, 100);
            read_column(&bytes, row_count);
        }

        #[test]
        fn changed_columns_never_panic(
            rows in prop::collection::btree_map(0i64..100, "[a-f0-9]{0,6}", 1..100),
            at: prop::sample::Index,
            flip: u8,
            cut: prop::sample::Index,
        ) {
            let column = Column { rows: rows.keys().copied().collect(), values: rows.values().collect() };
            let mut bytes = Vec::new();
            encode_column(&column, 100, Effort::Fast, &mut bytes);
            prop_assert_eq!(read_column(&bytes, 100), Some(rows));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            read_column(&bytes, 100);
            read_column(&bytes[..cut.index(bytes.len())], 100);
        }
    }

    fn read_column(bytes: &[u8], row_count: usize) -> Option<BTreeMap<i64, String>> {
        let column = MetadataColumn::open(bytes, row_count, 1000).ok()?;
        let mut rows = BTreeMap::new();
        column
            .for_each(&RowSet::all(row_count), |row, value| drop(rows.insert(row as i64, value.to_owned())))
            .ok()?;
        column.add_equal("ab", &mut RowSet::none(row_count)).ok()?;
        Some(rows)
    }

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        let bytes_of = |times: &[Nanos]| {
            let mut bytes = Vec::new();
            encode_times(times, &mut bytes);
            let (min_time, max_time) = (times[0], times[times.len() - 1]);
            let header = BlockHeader { row_count: times.len(), min_time, max_time, ..BlockHeader::default() };
            assert_eq!(decode_times(&bytes, &header).unwrap(), times);
            bytes.len()
        };
        let jitter = |unit: i64| (0..1000).map(|i| (i * 100 + i * i % 97) * unit).collect::<Vec<_>>();
        assert_eq!(bytes_of(&jitter(1)), bytes_of(&jitter(1_000_000)));
        bytes_of(&[Nanos::MIN, -1, 0, Nanos::MAX]);
    }
}
