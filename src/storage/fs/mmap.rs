//! Sealed files as memory: the only `unsafe` of the project.

#![allow(
    unsafe_code,
    reason = "mapping a file is unsafe by nature; the promise is kept by the writer of segments"
)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// The bytes of a sealed file.
pub enum Mapped {
    Map(Mmap),
    /// For file systems that cannot map (tests with injected faults) and for segments under construction.
    Heap(Vec<u8>),
}

impl Mapped {
    /// Maps a whole file read-only. Only for files that were synced and renamed into place.
    pub fn map(file: &File) -> io::Result<Mapped> {
        // SAFETY: the store syncs a segment, renames it into place and never writes it again, and the lock on
        // the data directory keeps our other processes out. Foreign truncation would still be SIGBUS.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapped::Map(map))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Mapped::Map(map) => map,
            Mapped::Heap(bytes) => bytes,
        }
    }
}
