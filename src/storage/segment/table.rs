//! Chunked tables: rows in chunks of 512, each chunk decoded as a whole; where a chunk lies is found without
//! reading the others.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::layout::take_u64;
use super::{Section, SectionId, SegmentError, SegmentWriter};
use crate::codec::Malformed;

/// Large enough that a chunk's fixed bytes thin out, small enough that one row costs microseconds.
pub const CHUNK_ROWS: usize = 512;

/// Collects the chunks of a table.
#[derive(Default)]
pub struct TableWriter {
    bytes: Vec<u8>,
    ends: Vec<u64>,
    rows: u64,
}

impl TableWriter {
    /// Ends a chunk of `rows` rows, which `encode` appends. All but the last have [`CHUNK_ROWS`].
    pub fn chunk(&mut self, rows: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        assert!(
            self.rows.is_multiple_of(CHUNK_ROWS as u64) && (1..=CHUNK_ROWS).contains(&rows),
            "chunk of {rows} rows"
        );
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len() as u64);
        self.rows += rows as u64;
    }

    pub fn finish<W: Write>(mut self, id: SectionId, to: &mut SegmentWriter<W>) -> io::Result<()> {
        for end in self.ends.iter().chain([&self.rows]) {
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        to.paged(id, &self.bytes)
    }
}

/// A table in a section.
pub struct Table<'a> {
    section: Section<'a>,
    row_count: u64,
    /// Where the ends of the chunks are listed.
    directory: u64,
}

impl<'a> Table<'a> {
    pub fn open(section: Section<'a>) -> Result<Table<'a>, SegmentError> {
        let damaged = || section.damaged(section.len(), Malformed("the table's row count is impossible"));
        let count_at = section.len().checked_sub(8).ok_or_else(damaged)?;
        let row_count = read_u64(&section, count_at)?;
        let directory_len = row_count.div_ceil(CHUNK_ROWS as u64).checked_mul(8).ok_or_else(damaged)?;
        let directory = count_at.checked_sub(directory_len).ok_or_else(damaged)?;
        Ok(Table { section, row_count, directory })
    }

    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    pub fn chunk_count(&self) -> u64 {
        self.row_count.div_ceil(CHUNK_ROWS as u64)
    }

    /// The rows of a chunk.
    pub fn rows(&self, chunk: u64) -> Range<u64> {
        let start = chunk * CHUNK_ROWS as u64;
        start..self.row_count.min(start + CHUNK_ROWS as u64)
    }

    /// Hands the bytes of a chunk and its count of rows to `decode`; what it refuses is damage.
    pub fn chunk<T>(
        &self,
        chunk: u64,
        decode: impl FnOnce(&mut &'a [u8], usize) -> Result<T, Malformed>,
    ) -> Result<T, SegmentError> {
        if chunk >= self.chunk_count() {
            return Err(self.section.damaged(self.directory, Malformed("a row lies behind the table's end")));
        }
        let end = read_u64(&self.section, self.directory + chunk * 8)?;
        let start = if chunk == 0 { 0 } else { read_u64(&self.section, self.directory + chunk * 8 - 8)? };
        let mut bytes = self.section.bytes(start..end)?;
        let rows = self.rows(chunk);
        let decoded = decode(&mut bytes, (rows.end - rows.start) as usize);
        let decoded =
            if bytes.is_empty() { decoded } else { decoded.and(Err(Malformed("bytes after a chunk"))) };
        decoded.map_err(|what| self.section.damaged(start, what))
    }
}

fn read_u64(section: &Section<'_>, at: u64) -> Result<u64, SegmentError> {
    let mut bytes = section.bytes(at..at + 8)?;
    take_u64(&mut bytes).map_err(|what| section.damaged(at, what))
}

/// The chunks decoded last. Queries walk series in order, so neighbours come from one chunk; several slots keep
/// threads that walk in different places apart.
pub struct ChunkCache<T, const SLOTS: usize = 4> {
    slots: [Slot<T>; SLOTS],
}

/// A chunk and its number.
type Slot<T> = Mutex<Option<(u64, Arc<T>)>>;

impl<T, const SLOTS: usize> Default for ChunkCache<T, SLOTS> {
    fn default() -> ChunkCache<T, SLOTS> {
        ChunkCache { slots: std::array::from_fn(|_| Slot::default()) }
    }
}

impl<T, const SLOTS: usize> ChunkCache<T, SLOTS> {
    /// The chunk, decoded now unless it is there.
    pub fn get<E>(&self, chunk: u64, decode: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        self.get_shared(chunk, || decode().map(Arc::new))
    }

    /// The same, where others may hold what is decoded.
    pub fn get_shared<E>(&self, chunk: u64, decode: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        let slot = &self.slots[(chunk % self.slots.len() as u64) as usize];
        if let Some((held, decoded)) = &*slot.lock()
            && *held == chunk
        {
            return Ok(decoded.clone());
        }
        let decoded = decode()?;
        *slot.lock() = Some((chunk, decoded.clone()));
        Ok(decoded)
    }
}

/// The chunk that one reader looked at last: as long as it stays there, it takes no lock and counts no holders.
pub struct LastChunk<T>(Option<(u64, Arc<T>)>);

impl<T> Default for LastChunk<T> {
    fn default() -> LastChunk<T> {
        LastChunk(None)
    }
}

impl<T> LastChunk<T> {
    /// The chunk with this number, fetched now unless it is the last one.
    pub fn get<E>(&mut self, chunk: u64, fetch: impl FnOnce() -> Result<Arc<T>, E>) -> Result<&T, E> {
        if self.0.as_ref().is_none_or(|(held, _)| *held != chunk) {
            self.0 = Some((chunk, fetch()?));
        }
        let (_, held) = self.0.as_ref().expect("it was fetched");
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::Mapped;
    use crate::storage::segment::{Segment, SegmentMeta};

    #[test]
    fn each_chunk_is_found_by_its_number() {
        let mut table = TableWriter::default();
        table.chunk(CHUNK_ROWS, |out| out.extend_from_slice(b"first"));
        table.chunk(3, |out| out.extend_from_slice(b"last"));
        let mut writer = SegmentWriter::new(Vec::new()).unwrap();
        table.finish(SectionId(5), &mut writer).unwrap();
        let file = writer.finish(&SegmentMeta::default()).unwrap();
        let segment = Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap();
        let table = Table::open(segment.section(SectionId(5)).unwrap()).unwrap();
        let read = |chunk| {
            table.chunk(chunk, |bytes, rows| {
                let all = std::mem::take(bytes);
                Ok((all, rows))
            })
        };
        assert_eq!(table.row_count(), 515);
        assert_eq!(read(0).unwrap(), (&b"first"[..], 512));
        assert_eq!(read(1).unwrap(), (&b"last"[..], 3));
        assert!(read(2).is_err());
        assert!(table.chunk(0, |_, _| Ok(())).is_err(), "a chunk that is not read to its end is damaged");
    }
}
