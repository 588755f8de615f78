//! Writes a segment front to back, holding no more than one page and the page tables.

use std::io::{self, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::layout::{self, Checking, PAGE_LEN, SectionEntry, SectionId, SegmentMeta};

pub struct SegmentWriter<W> {
    to: W,
    offset: u64,
    sections: Vec<SectionEntry>,
    open: Option<OpenSection>,
}

/// The section being written.
struct OpenSection {
    id: SectionId,
    offset: u64,
    sum: Sum,
}

enum Sum {
    Paged { page: Vec<u8>, table: Vec<u8> },
    Blocks(Box<Xxh3>),
}

impl<W: Write> SegmentWriter<W> {
    pub fn new(mut to: W) -> io::Result<SegmentWriter<W>> {
        let header = layout::header(layout::MINOR);
        to.write_all(&header)?;
        Ok(SegmentWriter { to, offset: header.len() as u64, sections: Vec::new(), open: None })
    }

    /// Begins a section; the one before must have ended, and no id comes twice.
    pub fn begin(&mut self, id: SectionId, checking: Checking) {
        assert!(self.open.is_none(), "{id} begins inside another section");
        assert!(id != SectionId::FRAME && self.sections.iter().all(|s| s.id != id), "{id} comes twice");
        let sum = match checking {
            Checking::Paged => Sum::Paged { page: Vec::with_capacity(PAGE_LEN), table: Vec::new() },
            Checking::Blocks => Sum::Blocks(Box::new(Xxh3::new())),
        };
        self.open = Some(OpenSection { id, offset: self.offset, sum });
    }

    /// Appends to the section that is open.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.open.as_mut().expect("bytes belong to a section");
        match &mut open.sum {
            Sum::Blocks(sum) => sum.update(bytes),
            Sum::Paged { page, table } => add_to_pages(page, table, bytes),
        }
        self.to.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written to the section that is open.
    pub fn section_len(&self) -> u64 {
        self.offset - self.open.as_ref().map_or(self.offset, |open| open.offset)
    }

    pub fn end(&mut self) -> io::Result<()> {
        let len = self.section_len();
        let OpenSection { id, offset, sum } = self.open.take().expect("a section is open");
        let (checking, checksum) = match sum {
            Sum::Blocks(sum) => (Checking::Blocks, sum.digest()),
            Sum::Paged { page, mut table } => {
                if !page.is_empty() {
                    table.extend_from_slice(&xxh3_64(&page).to_le_bytes());
                }
                self.to.write_all(&table)?;
                self.offset += table.len() as u64;
                (Checking::Paged, xxh3_64(&table))
            }
        };
        self.sections.push(SectionEntry { id, checking, offset, len, checksum });
        Ok(())
    }

    /// A paged section whose bytes are at hand.
    pub fn paged(&mut self, id: SectionId, bytes: &[u8]) -> io::Result<()> {
        self.begin(id, Checking::Paged);
        self.write(bytes)?;
        self.end()
    }

    /// Writes the footer and gives the file back, flushed but not synced.
    pub fn finish(mut self, meta: &SegmentMeta) -> io::Result<W> {
        assert!(self.open.is_none(), "a section was not ended");
        self.to.write_all(&layout::footer(meta, &self.sections, self.offset))?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn add_to_pages(page: &mut Vec<u8>, table: &mut Vec<u8>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(bytes.len().min(PAGE_LEN - page.len()));
        page.extend_from_slice(head);
        bytes = rest;
        if page.len() == PAGE_LEN {
            table.extend_from_slice(&xxh3_64(page).to_le_bytes());
            page.clear();
        }
    }
}
