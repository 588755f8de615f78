//! Any of our files as text: the operator's tool, and the eyes of tests. Reads only, takes no lock, and may look at
//! the files of a running server: what it writes meanwhile may or may not be seen.

mod directory;
mod log;
mod manifest;
mod segment;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fs::{Fs, RealFs};
use super::manifest::ManifestError;
use super::segment::SegmentError;
use crate::model::{Nanos, Timestamp};

pub use segment::segment;

/// Why a file could not be shown to its end. What was shown before is right.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{}: neither a segment, nor a log file, nor a manifest, nor a directory of them", path.display())]
    Unknown { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot write the text: {0}")]
    Output(#[from] io::Error),
}

/// Whatever is at `path`: a segment, a file or a generation of the log, a manifest, or a whole data directory.
pub fn path(path: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let fs = RealFs;
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    if path.is_dir() {
        let names = fs.list(path).map_err(io)?;
        return match () {
            () if names.iter().any(|name| name == "MANIFEST") => directory::data_dir(&fs, path, out),
            () if names.iter().any(|name| name.ends_with(".wal")) => directory::generation(&fs, path, out),
            () => Err(InspectError::Unknown { path: path.to_owned() }),
        };
    }
    let mut magic = [0; 6];
    let file = std::fs::File::open(path).map_err(io)?;
    io::Read::read(&mut io::Read::take(file, 6), &mut magic).map_err(io)?;
    match &magic {
        b"ICESEG" => segment(fs.map(path).map_err(io)?, path, out),
        b"ICEWAL" => log::file(&fs.read(path).map_err(io)?, path, out),
        b"ICEMAN" => manifest::edits(&fs.read(path).map_err(io)?, path, out),
        _ => Err(InspectError::Unknown { path: path.to_owned() }),
    }
}

/// RFC 3339 where the calendar reaches, milliseconds elsewhere.
struct Instant(Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// As [`Instant`], of nanoseconds.
struct NanoInstant(Nanos);

impl fmt::Display for NanoInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(self.0.into()) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}
