//! The index of a block: its symbols, and its series in their order. Postings are not needed to read everything.

use std::path::Path;

use super::BlockError;
use super::file::ForeignFile;
use crate::codec::{self, Malformed, varint};
use crate::model::{Labels, Timestamp};

const MAGIC: u32 = 0xbaaa_d700;
/// Since Prometheus 2.0; version 1 was of its betas.
const VERSION: u8 = 2;
/// Six places and a checksum.
const CONTENTS_BYTES: usize = 6 * 8 + 4;
/// Where series begin.
const SERIES_ALIGNMENT: u64 = 16;

pub struct Index {
    file: ForeignFile,
    symbols: Symbols,
    /// Where the series are.
    begin: u64,
    end: u64,
}

/// A series and where its chunks are.
#[derive(Debug)]
pub struct Entry {
    /// By which tombstones mean it.
    pub reference: u64,
    pub labels: Labels,
    pub chunks: Vec<ChunkPlace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    pub first: Timestamp,
    pub last: Timestamp,
    /// The number of the file, counted from 0, and the place in it, 32 bits each.
    pub reference: u64,
}

impl Index {
    pub fn open(path: &Path) -> Result<Index, BlockError> {
        let mut file = ForeignFile::open(path)?;
        let version = file.bytes(0, 5)?[4];
        if file.u32(0)? != MAGIC {
            return Err(file.malformed(0, "not the index of a Prometheus block"));
        }
        if version != VERSION {
            return Err(file
                .malformed(4, format!("index of version {version}; version {VERSION} is what can be read")));
        }
        let at = file.len.saturating_sub(CONTENTS_BYTES as u64);
        let contents = file.checked(at, CONTENTS_BYTES - 4)?;
        let places =
            contents.chunks_exact(8).map(|place| u64::from_be_bytes(place.try_into().expect("eight bytes")));
        let places: Vec<u64> = places.collect();
        let begin = places[1];
        if begin > at {
            return Err(
                file.malformed(at, format!("series from byte {begin} on, behind the end of the file"))
            );
        }
        // What follows the series is optional, and postings may follow at once.
        let end = places[2..].iter().copied().filter(|place| *place > begin).min().unwrap_or(at);
        let symbols = Symbols::read(&mut file, places[0])?;
        Ok(Index { file, symbols, begin, end })
    }

    /// Where the first series is.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// How far a place is, between 0 and 1.
    pub fn share(&self, at: u64) -> f64 {
        at.saturating_sub(self.begin) as f64 / self.end.saturating_sub(self.begin).max(1) as f64
    }

    /// The series at or behind `at`, which is set behind it.
    pub fn next(&mut self, at: &mut u64) -> Result<Option<Entry>, BlockError> {
        let place = at.next_multiple_of(SERIES_ALIGNMENT);
        if place >= self.end {
            return Ok(None);
        }
        let head = self.file.up_to(place, varint::LEN_MAX)?;
        let mut rest = head;
        let len = varint::read_u64(&mut rest);
        let head_len = head.len() - rest.len();
        let len = len.map_err(|error| self.file.malformed(place, error.to_string()))?;
        if len == 0 {
            return self.padding(place).map(|()| None);
        }
        let (from, len) = (place + head_len as u64, usize::try_from(len).unwrap_or(usize::MAX));
        let bytes = self.file.checked(from, len)?;
        let entry = read_entry(bytes, place / SERIES_ALIGNMENT, &self.symbols);
        let entry = entry.map_err(|reason| self.file.malformed(place, reason))?;
        *at = from + len as u64 + 4;
        Ok(Some(entry))
    }

    /// A few zeros may stand before the next section; more would be series that were lost.
    fn padding(&mut self, at: u64) -> Result<(), BlockError> {
        let len = self.end - at;
        let is_padding =
            len <= SERIES_ALIGNMENT && self.file.bytes(at, len as usize)?.iter().all(|byte| *byte == 0);
        if is_padding { Ok(()) } else { Err(self.file.malformed(at, "a series without a length")) }
    }
}

fn read_entry(mut bytes: &[u8], reference: u64, symbols: &Symbols) -> Result<Entry, String> {
    let text = |error: Malformed| error.to_string();
    let mut next = || varint::read_u64(&mut bytes).map_err(|error| text(error.into()));
    let label_count = next()?;
    let mut pairs = Vec::new();
    for _ in 0..label_count {
        pairs.push((symbols.get(next()?)?, symbols.get(next()?)?));
    }
    let labels = Labels::from_pairs(pairs).map_err(|error| error.to_string())?;
    let chunk_count = next()?;
    let mut chunks: Vec<ChunkPlace> = Vec::new();
    for _ in 0..chunk_count {
        // Each is told by its distance to the one before.
        let place = match chunks.last() {
            None => {
                let first = varint::unzigzag(next()?);
                let last = first.wrapping_add(next()? as i64);
                ChunkPlace { first, last, reference: next()? }
            }
            Some(before) => {
                let first = before.last.wrapping_add(next()? as i64);
                let last = first.wrapping_add(next()? as i64);
                let step = varint::unzigzag(next()?);
                ChunkPlace { first, last, reference: before.reference.wrapping_add_signed(step) }
            }
        };
        if place.first > place.last {
            return Err(format!("a chunk from {} to {}", place.first, place.last));
        }
        chunks.push(place);
    }
    Ok(Entry { reference, labels, chunks })
}

/// All texts of the index, one after the other.
struct Symbols {
    bytes: Vec<u8>,
    /// Where each begins and ends.
    places: Vec<(u32, u32)>,
}

impl Symbols {
    fn read(file: &mut ForeignFile, at: u64) -> Result<Symbols, BlockError> {
        let len = file.u32(at)? as usize;
        let bytes = file.checked(at.saturating_add(4), len)?.to_vec();
        let places = Symbols::places(&bytes).map_err(|error| file.malformed(at, error.to_string()))?;
        Ok(Symbols { bytes, places })
    }

    fn places(bytes: &[u8]) -> Result<Vec<(u32, u32)>, Malformed> {
        let mut rest = bytes;
        let count = codec::take(&mut rest, 4)?;
        let count = u32::from_be_bytes(count.try_into().expect("four bytes"));
        let mut places = Vec::new();
        for _ in 0..count {
            let text = codec::take_text(&mut rest)?;
            let end = bytes.len() - rest.len();
            // The section's length is 32 bits.
            places.push(((end - text.len()) as u32, end as u32));
        }
        Ok(places)
    }

    fn get(&self, number: u64) -> Result<&str, String> {
        let place = usize::try_from(number).ok().and_then(|number| self.places.get(number));
        let Some(&(begin, end)) = place else {
            return Err(format!("symbol {number} of {}", self.places.len()));
        };
        let bytes = &self.bytes[begin as usize..end as usize];
        Ok(std::str::from_utf8(bytes).expect("symbols are checked when they are read"))
    }
}
