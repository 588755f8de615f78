//! A file that somebody else wrote, read piece by piece.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::BlockError;
use crate::codec::crc32c::crc32c;

/// What is read at least: neighbours are asked for next.
const WINDOW_BYTES: usize = 64 << 10;

pub struct ForeignFile {
    path: PathBuf,
    file: File,
    pub len: u64,
    window: Vec<u8>,
    /// Where in the file the window begins.
    window_at: u64,
}

impl ForeignFile {
    pub fn open(path: &Path) -> Result<ForeignFile, BlockError> {
        let file = File::open(path).map_err(|error| BlockError::io(path, error))?;
        let len = file.metadata().map_err(|error| BlockError::io(path, error))?.len();
        Ok(ForeignFile { path: path.to_owned(), file, len, window: Vec::new(), window_at: 0 })
    }

    /// These bytes; an error where the file has no such.
    pub fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], BlockError> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len);
        let end = end.ok_or_else(|| self.malformed(offset, "the file ends too early"))?;
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || end > window_end {
            // No more than the file has, whatever its bytes claim.
            let wanted = (len.max(WINDOW_BYTES) as u64).min(self.len - offset) as usize;
            self.window.resize(wanted, 0);
            self.window_at = offset;
            let read = self.file.read_exact_at(&mut self.window, offset);
            if let Err(error) = read {
                self.window.clear();
                return Err(BlockError::io(&self.path, error));
            }
        }
        let at = (offset - self.window_at) as usize;
        Ok(&self.window[at..at + len])
    }

    /// As many bytes from here on as the file has, `most` at most.
    pub fn up_to(&mut self, offset: u64, most: usize) -> Result<&[u8], BlockError> {
        let len = self.len.saturating_sub(offset).min(most as u64) as usize;
        self.bytes(offset, len)
    }

    /// The bytes from `offset` on, which the four behind them are the checksum of.
    pub fn checked(&mut self, offset: u64, len: usize) -> Result<&[u8], BlockError> {
        let whole = len.checked_add(4).ok_or_else(|| self.malformed(offset, "the file ends too early"))?;
        let (bytes, checksum) = self.bytes(offset, whole)?.split_at(len);
        let is_good = crc32c(bytes).to_be_bytes() == checksum;
        if is_good {
            self.bytes(offset, len)
        } else {
            Err(self.malformed(offset, "a checksum does not match"))
        }
    }

    pub fn u32(&mut self, offset: u64) -> Result<u32, BlockError> {
        let bytes = self.bytes(offset, 4)?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    pub fn malformed(&self, offset: u64, reason: impl Into<String>) -> BlockError {
        BlockError::Malformed { path: self.path.clone(), offset, reason: reason.into() }
    }
}
