//! Opens a segment by its footer, and hands out sections whose bytes were checked.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::xxh3_64;

use super::SegmentError;
use super::layout::{
    self, Checking, HEADER_LEN, MAJOR, MINOR, PAGE_LEN, RawTail, SectionEntry, SectionId, SegmentMeta,
    TAIL_CHECKED_LEN, TAIL_LEN, VERSION_END,
};
use crate::codec::Malformed;
use crate::storage::fs::Mapped;

/// A sealed file. Invariant: the footer was checked, and all sections lie inside the file.
pub struct Segment {
    mapped: Arc<Mapped>,
    path: PathBuf,
    version: (u16, u16),
    meta: SegmentMeta,
    sections: Box<[SectionState]>,
}

struct SectionState {
    entry: SectionEntry,
    /// Of a paged section: the pages found right so far, a bit each; `None` if the page table is damaged.
    checked: OnceLock<Option<Box<[AtomicU8]>>>,
}

/// One section of a segment.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    segment: &'a Segment,
    state: &'a SectionState,
}

impl Segment {
    /// Reads only the last bytes of the file. `path` is for errors.
    pub fn open(mapped: Arc<Mapped>, path: impl Into<PathBuf>) -> Result<Segment, SegmentError> {
        let path = path.into();
        let (version, meta, sections) = match read_footer(&mapped) {
            Ok(read) => read,
            Err(FooterError::NotASegment) => return Err(SegmentError::NotASegment { path }),
            Err(FooterError::TooNew(found)) => {
                return Err(SegmentError::TooNew { path, found, newest: MAJOR });
            }
            Err(FooterError::Damaged(what)) => {
                let offset = mapped.len() as u64;
                return Err(SegmentError::Damaged { path, section: SectionId::FRAME, offset, what });
            }
        };
        let sections =
            sections.into_iter().map(|entry| SectionState { entry, checked: OnceLock::new() }).collect();
        Ok(Segment { mapped, path, version, meta, sections })
    }

    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Major and minor version of the file's format.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file_len(&self) -> u64 {
        self.mapped.len() as u64
    }

    pub fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        self.sections.iter().map(|state| Section { segment: self, state })
    }

    /// A section that must be there.
    pub fn section(&self, id: SectionId) -> Result<Section<'_>, SegmentError> {
        self.sections().find(|s| s.id() == id).ok_or_else(|| SegmentError::Damaged {
            path: self.path.clone(),
            section: id,
            offset: 0,
            what: "the section is missing",
        })
    }

    /// Compares header and all checksums of the container; blocks' own checksums are the signal's to compare.
    pub fn verify(&self) -> Result<(), SegmentError> {
        let header = layout::header(self.version.1);
        // What follows the version in a newer minor version's header is its own affair.
        let known = if self.version.1 <= MINOR { HEADER_LEN } else { VERSION_END };
        if self.mapped[..known] != header[..known] {
            let (path, section) = (self.path.clone(), SectionId::FRAME);
            let what = "the header is not what the footer says";
            return Err(SegmentError::Damaged { path, section, offset: 0, what });
        }
        for section in self.sections() {
            match section.checking() {
                Checking::Paged => drop(section.bytes(0..section.len())?),
                Checking::Blocks if xxh3_64(section.raw()) != section.state.entry.checksum => {
                    return Err(section.damaged(0, Malformed("the section's checksum is wrong")));
                }
                Checking::Blocks => {}
            }
        }
        Ok(())
    }
}

impl<'a> Section<'a> {
    pub fn id(&self) -> SectionId {
        self.state.entry.id
    }

    pub fn checking(&self) -> Checking {
        self.state.entry.checking
    }

    pub fn len(&self) -> u64 {
        self.state.entry.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checked bytes of a paged section.
    pub fn bytes(&self, range: Range<u64>) -> Result<&'a [u8], SegmentError> {
        if range.start > range.end || range.end > self.len() {
            return Err(self.damaged(range.start, Malformed("something points behind the section's end")));
        }
        if self.checking() != Checking::Paged {
            return Err(self.damaged(0, Malformed("the section should be paged")));
        }
        self.check_pages(&range)?;
        Ok(&self.raw()[range.start as usize..range.end as usize])
    }

    /// All checked bytes of a paged section.
    pub fn all(&self) -> Result<&'a [u8], SegmentError> {
        self.bytes(0..self.len())
    }

    /// As [`Section::all`], but what was checked before is checked again: for who will vouch for the bytes.
    pub fn all_checked_anew(&self) -> Result<&'a [u8], SegmentError> {
        if let Some(Some(checked)) = self.state.checked.get() {
            if xxh3_64(self.page_table()) != self.state.entry.checksum {
                return Err(self.damaged(self.len(), Malformed("the page table's checksum is wrong")));
            }
            checked.iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
        }
        self.all()
    }

    /// Unchecked bytes: for blocks that carry checksums of their own.
    pub fn raw(&self) -> &'a [u8] {
        let entry = &self.state.entry;
        &self.segment.mapped[entry.offset as usize..(entry.offset + entry.len) as usize]
    }

    /// The error of something wrong at `offset` in this section.
    pub fn damaged(&self, offset: u64, what: Malformed) -> SegmentError {
        SegmentError::Damaged {
            path: self.segment.path.clone(),
            section: self.id(),
            offset: self.state.entry.offset.saturating_add(offset),
            what: what.0,
        }
    }

    fn check_pages(&self, range: &Range<u64>) -> Result<(), SegmentError> {
        let table = self.page_table();
        let checked = self.state.checked.get_or_init(|| {
            let is_right = xxh3_64(table) == self.state.entry.checksum;
            is_right.then(|| (0..(table.len() / 8).div_ceil(8)).map(|_| AtomicU8::new(0)).collect())
        });
        let Some(checked) = checked else {
            return Err(self.damaged(self.len(), Malformed("the page table's checksum is wrong")));
        };
        let pages = range.start as usize / PAGE_LEN..(range.end as usize).div_ceil(PAGE_LEN);
        for page in pages {
            let (byte, bit) = (&checked[page / 8], 1 << (page % 8));
            if byte.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let bytes = &self.raw()[page * PAGE_LEN..];
            let sum = xxh3_64(&bytes[..bytes.len().min(PAGE_LEN)]);
            if table[page * 8..page * 8 + 8] != sum.to_le_bytes() {
                return Err(self.damaged((page * PAGE_LEN) as u64, Malformed("the page's checksum is wrong")));
            }
            byte.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    fn page_table(&self) -> &'a [u8] {
        let entry = &self.state.entry;
        let start = (entry.offset + entry.len) as usize;
        &self.segment.mapped[start..start + entry.page_count() as usize * 8]
    }
}

enum FooterError {
    NotASegment,
    TooNew(u16),
    Damaged(&'static str),
}

type Footer = ((u16, u16), SegmentMeta, Vec<SectionEntry>);

fn read_footer(file: &[u8]) -> Result<Footer, FooterError> {
    let tail = file.last_chunk::<TAIL_LEN>().ok_or(FooterError::NotASegment)?;
    let raw = RawTail::parse(tail).ok_or(FooterError::NotASegment)?;
    let sections_end = (file.len() - TAIL_LEN).checked_sub(raw.footer_len as usize);
    let sections_end = sections_end
        .filter(|&end| end >= HEADER_LEN)
        .ok_or(FooterError::Damaged("the footer is too long"))?;
    if xxh3_64(&file[sections_end..file.len() - TAIL_LEN + TAIL_CHECKED_LEN]) != raw.checksum {
        return Err(FooterError::Damaged("the footer's checksum is wrong"));
    }
    if raw.major > MAJOR {
        return Err(FooterError::TooNew(raw.major));
    }
    if raw.file_len != file.len() as u64 {
        return Err(FooterError::Damaged("the file has another length than when it was sealed"));
    }
    let footer = &file[sections_end..file.len() - TAIL_LEN];
    let (meta, sections) = layout::parse_footer(footer).map_err(|m| FooterError::Damaged(m.0))?;
    for (i, section) in sections.iter().enumerate() {
        let end = section.offset.checked_add(section.len);
        let end = end.and_then(|end| end.checked_add(section.page_count().checked_mul(8)?));
        if section.offset < HEADER_LEN as u64 || end.is_none_or(|end| end > sections_end as u64) {
            return Err(FooterError::Damaged("a section lies outside the file"));
        }
        if sections[..i].iter().any(|s| s.id == section.id) {
            return Err(FooterError::Damaged("a section comes twice"));
        }
    }
    Ok(((raw.major, raw.minor), meta, sections))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::segment::SegmentWriter;

    fn sample() -> Vec<u8> {
        let mut writer = SegmentWriter::new(Vec::new()).unwrap();
        writer.paged(SectionId(1), &[7; 3 * PAGE_LEN + 5]).unwrap();
        writer.begin(SectionId(2), Checking::Blocks);
        writer.write(b"blocks").unwrap();
        writer.write(b" with checksums").unwrap();
        writer.end().unwrap();
        writer.paged(SectionId(9), &[]).unwrap();
        writer.finish(&SegmentMeta { series_count: 3, min_time: -5, ..SegmentMeta::default() }).unwrap()
    }

    fn open(bytes: Vec<u8>) -> Result<Segment, SegmentError> {
        Segment::open(Arc::new(Mapped::Heap(bytes)), "a.seg")
    }

    #[test]
    fn what_was_written_is_read() {
        let segment = open(sample()).unwrap();
        assert_eq!((segment.meta().series_count, segment.meta().min_time), (3, -5));
        assert_eq!(segment.section(SectionId(1)).unwrap().bytes(4000..9000).unwrap(), [7; 5000]);
        assert_eq!(segment.section(SectionId(2)).unwrap().raw(), b"blocks with checksums");
        assert!(segment.section(SectionId(9)).unwrap().all().unwrap().is_empty());
        assert!(segment.section(SectionId(3)).is_err());
        segment.verify().unwrap();
    }

    #[test]
    fn damage_costs_the_page_it_hit() {
        let mut bytes = sample();
        bytes[HEADER_LEN + PAGE_LEN + 1] ^= 1;
        let segment = open(bytes).unwrap();
        let section = segment.section(SectionId(1)).unwrap();
        assert!(section.bytes(0..PAGE_LEN as u64).is_ok());
        assert!(section.bytes(2 * PAGE_LEN as u64..section.len()).is_ok());
        let error = section.bytes(0..PAGE_LEN as u64 + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "a.seg: section 1 damaged at byte {}: the page's checksum is wrong",
                HEADER_LEN + PAGE_LEN
            )
        );
    }

    #[test]
    fn a_cut_file_does_not_open() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(open(bytes[..len].to_vec()).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = sample();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(open(damaged).and_then(|s| s.verify()).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_named_and_a_newer_minor_one_is_read() {
        let retold = |major: u16, minor: u16| {
            let mut bytes = sample();
            let tail = bytes.len() - TAIL_LEN;
            let footer_len = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
            bytes[tail + 4..tail + 6].copy_from_slice(&major.to_le_bytes());
            bytes[tail + 6..tail + 8].copy_from_slice(&minor.to_le_bytes());
            let sum = xxh3_64(&bytes[tail - footer_len..tail + TAIL_CHECKED_LEN]);
            bytes[tail + 16..tail + 24].copy_from_slice(&sum.to_le_bytes());
            open(bytes)
        };
        assert!(matches!(retold(2, 0), Err(SegmentError::TooNew { found: 2, newest: 1, .. })));
        assert!(retold(1, 7).is_ok());
    }
}
