//! Blocks of a Prometheus TSDB, read where they lie: `meta.json`, `index`, `chunks/`, `tombstones`.
//!
//! A block is read day by day, so that a server meets the samples of one day together. Every checksum is verified, and
//! samples under a tombstone are left out. What is held is the block's symbols and one series.

mod block;
mod chunk_files;
mod directory;
mod file;
mod index;
#[cfg(test)]
mod tests;
mod tombstones;

use std::io;
use std::path::{Path, PathBuf};

pub use block::BlockReader;
pub use directory::{Block, find_blocks};

/// Why a block could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("{}: cannot read: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}, byte {offset}: {reason}", path.display())]
    Malformed { path: PathBuf, offset: u64, reason: String },
    #[error("{}: {reason}", path.display())]
    Meta { path: PathBuf, reason: String },
    #[error("{}: no block of a Prometheus TSDB is in it", path.display())]
    NoBlocks { path: PathBuf },
}

impl BlockError {
    fn io(path: &Path, source: io::Error) -> BlockError {
        BlockError::Io { path: path.to_owned(), source }
    }
}
