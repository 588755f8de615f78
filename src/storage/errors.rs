//! What can go wrong with stored bytes, whatever the signal.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::segment::SegmentError;

/// Stored bytes that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("{}: {message}", path.display())]
    Io { path: PathBuf, message: String },
    /// The system has nothing left to open it with: files, mappings, memory. It is intact, and may be opened later.
    #[error("{}: cannot be opened now: {message}", path.display())]
    NotNow { path: PathBuf, message: String },
}

impl ReadError {
    pub(super) fn opening(path: &Path, error: &io::Error) -> ReadError {
        let (path, message) = (path.to_owned(), error.to_string());
        let limit = match Errno::from_io_error(error) {
            Some(Errno::MFILE) => "ulimit -n",
            Some(Errno::NFILE) => "sysctl fs.file-max",
            Some(Errno::NOMEM) => "sysctl vm.max_map_count, ulimit -v",
            _ => return ReadError::Io { path, message },
        };
        ReadError::NotNow {
            path,
            message: format!("{message}; the server may need a higher limit ({limit})"),
        }
    }
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
