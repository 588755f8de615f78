//! Sealed files: sections of bytes between a header and a checksummed footer (`storage-format.md` §4).
//!
//! The container knows no signal: a signal is a byte, and a section is an id. Nothing is handed out before its
//! checksum was compared, so damage is an error that costs what it hit, never a wrong answer.

mod block;
mod kept;
mod layout;
mod reader;
mod table;
mod writer;

use std::path::PathBuf;

pub use block::CHECK_LEN;
pub use kept::KeptChunks;
pub use layout::{Checking, SectionId, SegmentMeta};
pub use reader::{Section, Segment};
pub use table::{CHUNK_ROWS, ChunkCache, LastChunk, Table, TableWriter};
pub use writer::SegmentWriter;

/// Why a segment, or a part of it, cannot be read. Each variant names the file: that is what the operator needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("{}: not a segment, or cut short", path.display())]
    NotASegment { path: PathBuf },
    #[error("{}: segment format {found}, but this build reads up to {newest}", path.display())]
    TooNew { path: PathBuf, found: u16, newest: u16 },
    #[error("{}: {section} damaged at byte {offset}: {what}", path.display())]
    Damaged { path: PathBuf, section: SectionId, offset: u64, what: &'static str },
}
