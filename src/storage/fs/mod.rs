//! The only door to files: a real implementation and one that injects faults.
//!
//! The door is narrow on purpose: what the store does not need (seeking, partial overwrites, reading while
//! writing) cannot go wrong, and the faulty implementation can model every call.

#[cfg(test)]
pub mod faulty;
mod mmap;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use mmap::{Mapped, Words};
pub use real::RealFs;

/// A file being written from its start to its end.
pub trait WriteFile: io::Write + Send {
    /// Reserves room for `len` bytes in all, so that a full disk shows here and not at a later write. The room
    /// reads as zeros and counts in the file's length until [`WriteFile::cut`].
    fn preallocate(&mut self, len: u64) -> io::Result<()>;

    /// Ends the file after `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;

    /// Returns when everything written, and the file's length, would survive a power cut. After an error the
    /// state of the file is unknown: it must be given up, never synced again.
    fn sync(&mut self) -> io::Result<()>;
}

/// Held as long as no other process may use the directory.
pub trait DirLock: Send + Sync {}

pub trait Fs: Send + Sync {
    /// Creates a file that must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file to write behind its first `len` bytes; what follows them is cut off.
    fn append(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>>;

    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The bytes of a sealed file.
    fn map(&self, path: &Path) -> io::Result<Arc<Mapped>>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and what is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, sorted; a directory that is not there is `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Bytes free for us on the disk that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Takes the lock of a data directory; `WouldBlock` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
}
