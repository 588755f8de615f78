//! What can go wrong with stored bytes, whatever the signal.

use std::io;
use std::path::PathBuf;

use super::segment::SegmentError;

/// Stored bytes that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("{}: {message}", path.display())]
    Io { path: PathBuf, message: String },
}

/// Why a merge failed.
#[derive(Debug)]
pub enum MergeError {
    Read(ReadError),
    Write(io::Error),
    /// Asked for by the caller.
    Stopped,
}

impl From<SegmentError> for MergeError {
    fn from(error: SegmentError) -> MergeError {
        MergeError::Read(error.into())
    }
}
