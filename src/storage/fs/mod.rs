//! The only door to files.

mod mmap;

pub use mmap::Mapped;
