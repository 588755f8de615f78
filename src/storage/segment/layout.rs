//! The fixed parts of a segment: header, footer, tail.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Malformed, take, take_u8};
use crate::model::Timestamp;

pub const MAGIC: [u8; 8] = *b"ICESEG\r\n";
/// A reader refuses a larger one.
pub const MAJOR: u16 = 1;
/// A reader does not mind a larger one.
pub const MINOR: u16 = 4;

pub const HEADER_LEN: usize = 16;
/// Where magic and version end in the header, whatever the minor version.
pub const VERSION_END: usize = 12;
pub const TAIL_LEN: usize = 32;
/// Of the tail, what its checksum covers.
pub const TAIL_CHECKED_LEN: usize = 16;
/// What a checksum of a paged section covers. At 4 KiB the page table is 0.2 % of the section, and a look at one
/// page costs half a microsecond of hashing.
pub const PAGE_LEN: usize = 4096;

/// A section; its meaning belongs to the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SectionId(pub u32);

impl SectionId {
    /// Not a section: header, footer and tail, in errors.
    pub const FRAME: SectionId = SectionId(0);
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SectionId::FRAME => f.write_str("frame"),
            SectionId(id) => write!(f, "section {id}"),
        }
    }
}

/// Who finds damage in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    /// The container, page by page.
    Paged = 1,
    /// The signal: what it puts in the section carries checksums of its own.
    Blocks = 2,
}

/// What a segment holds, told by its footer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SegmentMeta {
    /// Which signal it belongs to; to the container just a byte.
    pub signal: u8,
    /// 0: as sent.
    pub tier_resolution_ms: u32,
    pub tenant: u64,
    /// The earliest and the latest row; both 0 where there is none.
    pub min_time: Timestamp,
    pub max_time: Timestamp,
    /// The sequence numbers of the log records in here; the highest wins where two segments differ.
    pub min_seq: u64,
    pub max_seq: u64,
    pub series_count: u64,
    pub row_count: u64,
}

/// A line of the section table.
#[derive(Clone, Debug)]
pub struct SectionEntry {
    pub id: SectionId,
    pub checking: Checking,
    pub offset: u64,
    /// Without the page table that follows a paged section.
    pub len: u64,
    pub checksum: u64,
}

impl SectionEntry {
    pub fn page_count(&self) -> u64 {
        match self.checking {
            Checking::Paged => self.len.div_ceil(PAGE_LEN as u64),
            Checking::Blocks => 0,
        }
    }
}

/// What a file of this major and that minor version begins with.
pub fn header(minor: u16) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    header[10..12].copy_from_slice(&minor.to_le_bytes());
    header
}

/// Footer and tail of a file whose sections end at `offset`.
pub fn footer(meta: &SegmentMeta, sections: &[SectionEntry], offset: u64) -> Vec<u8> {
    let mut out = vec![meta.signal, 0, 0, 0];
    out.extend_from_slice(&meta.tier_resolution_ms.to_le_bytes());
    out.extend_from_slice(&meta.tenant.to_le_bytes());
    out.extend_from_slice(&meta.min_time.to_le_bytes());
    out.extend_from_slice(&meta.max_time.to_le_bytes());
    for number in [meta.min_seq, meta.max_seq, meta.series_count, meta.row_count] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for section in sections {
        out.extend_from_slice(&section.id.0.to_le_bytes());
        out.extend_from_slice(&[section.checking as u8, 0, 0, 0]);
        for number in [section.offset, section.len, section.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    let footer_len = out.len();
    let file_len = offset + (footer_len + TAIL_LEN) as u64;
    out.extend_from_slice(&(footer_len as u32).to_le_bytes());
    out.extend_from_slice(&MAJOR.to_le_bytes());
    out.extend_from_slice(&MINOR.to_le_bytes());
    out.extend_from_slice(&file_len.to_le_bytes());
    let checksum = xxh3_64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&MAGIC);
    out
}

/// The last bytes of a file, taken apart but not yet believed.
pub struct RawTail {
    pub footer_len: u32,
    pub major: u16,
    pub minor: u16,
    pub file_len: u64,
    pub checksum: u64,
}

impl RawTail {
    /// `None` if this is not the end of a segment.
    pub fn parse(tail: &[u8; TAIL_LEN]) -> Option<RawTail> {
        let mut bytes = &tail[..];
        let raw = RawTail {
            footer_len: take_u32(&mut bytes).ok()?,
            major: u16::from_le_bytes([bytes[0], bytes[1]]),
            minor: u16::from_le_bytes([bytes[2], bytes[3]]),
            file_len: u64::from_le_bytes(bytes[4..12].try_into().ok()?),
            checksum: u64::from_le_bytes(bytes[12..20].try_into().ok()?),
        };
        (bytes[20..] == MAGIC).then_some(raw)
    }
}

/// A footer whose checksum was right.
pub fn parse_footer(mut bytes: &[u8]) -> Result<(SegmentMeta, Vec<SectionEntry>), Malformed> {
    let bytes = &mut bytes;
    let signal = take_u8(bytes)?;
    take(bytes, 3)?;
    let meta = SegmentMeta {
        signal,
        tier_resolution_ms: take_u32(bytes)?,
        tenant: take_u64(bytes)?,
        min_time: take_u64(bytes)? as i64,
        max_time: take_u64(bytes)? as i64,
        min_seq: take_u64(bytes)?,
        max_seq: take_u64(bytes)?,
        series_count: take_u64(bytes)?,
        row_count: take_u64(bytes)?,
    };
    let mut sections = Vec::new();
    for _ in 0..take_u32(bytes)? {
        let id = SectionId(take_u32(bytes)?);
        let checking = match take(bytes, 4)?[0] {
            1 => Checking::Paged,
            2 => Checking::Blocks,
            _ => return Err(Malformed("unknown way of checking a section")),
        };
        let (offset, len, checksum) = (take_u64(bytes)?, take_u64(bytes)?, take_u64(bytes)?);
        sections.push(SectionEntry { id, checking, offset, len, checksum });
    }
    Ok((meta, sections))
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    Ok(u32::from_le_bytes(take(bytes, 4)?.try_into().expect("four bytes")))
}

pub fn take_u64(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    Ok(u64::from_le_bytes(take(bytes, 8)?.try_into().expect("eight bytes")))
}
