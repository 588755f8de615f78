//! Blocks of a section that nobody else checks: bytes, then their checksum.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::{Section, SegmentError, SegmentWriter};
use crate::codec::Malformed;

/// Behind each block.
pub const CHECK_LEN: usize = 4;

fn check32(bytes: &[u8]) -> [u8; CHECK_LEN] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

impl<W: Write> SegmentWriter<W> {
    /// Appends a block with its checksum to the section that is open; answers with the length of both.
    pub fn write_block(&mut self, block: &[u8]) -> io::Result<u64> {
        self.write(block)?;
        self.write(&check32(block))?;
        Ok((block.len() + CHECK_LEN) as u64)
    }
}

impl<'a> Section<'a> {
    /// A block without its checksum, which was right; `len` counts both.
    pub fn block(&self, offset: u64, len: u64) -> Result<&'a [u8], SegmentError> {
        self.block_checked_once(offset, len, &AtomicBool::new(false))
    }

    /// As [`Section::block`], but the checksum is not compared again where `is_checked` tells that it was right.
    pub fn block_checked_once(
        &self,
        offset: u64,
        len: u64,
        is_checked: &AtomicBool,
    ) -> Result<&'a [u8], SegmentError> {
        let end = offset.checked_add(len).filter(|&end| end <= self.len());
        let end = end.ok_or_else(|| self.damaged(offset, Malformed("a block lies behind the end")))?;
        let block = &self.raw()[offset as usize..end as usize];
        match block.split_last_chunk::<CHECK_LEN>() {
            Some((block, _)) if is_checked.load(Ordering::Relaxed) => Ok(block),
            Some((block, check)) if check32(block) == *check => {
                is_checked.store(true, Ordering::Relaxed);
                Ok(block)
            }
            _ => Err(self.damaged(offset, Malformed("the block's checksum is wrong"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::fs::Mapped;
    use crate::storage::segment::{Checking, SectionId, Segment, SegmentMeta};

    #[test]
    fn damage_costs_the_block_it_hit() {
        let mut writer = SegmentWriter::new(Vec::new()).unwrap();
        writer.begin(SectionId(1), Checking::Blocks);
        let first = writer.write_block(b"first").unwrap();
        let second = writer.write_block(b"second").unwrap();
        writer.end().unwrap();
        let mut file = writer.finish(&SegmentMeta::default()).unwrap();
        file[17] ^= 1;
        let segment = Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap();
        let section = segment.section(SectionId(1)).unwrap();
        assert!(section.block(0, first).is_err());
        let is_checked = AtomicBool::new(false);
        assert!(section.block_checked_once(0, first, &is_checked).is_err());
        assert!(!is_checked.load(Ordering::Relaxed), "what is wrong stays wrong");
        section.block_checked_once(first, second, &is_checked).unwrap();
        assert!(is_checked.load(Ordering::Relaxed));
        assert_eq!(section.block(first, second).unwrap(), b"second");
        assert!(section.block(first, second + 1).is_err() && section.block(first, 3).is_err());
        assert!(section.block(u64::MAX, 2).is_err());
    }
}
