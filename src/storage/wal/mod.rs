//! The write-ahead log: a batch is here before its sender hears "yes".
//!
//! Frames (`storage-format.md` §2) carry the bytes of a signal that the log itself does not understand. A
//! generation is a directory of files; it is written by one thread, never continued after a restart, and dropped
//! whole once everything in it is sealed.

mod frame;
mod replay;
mod writer;

use std::path::{Path, PathBuf};

pub use frame::{FrameBuffer, FrameHeader};
pub use replay::{Frame, GenerationReport, read_file, replay_generation};
pub use writer::{FileLog, GenerationWriter};

/// Where the files of a generation lie.
pub fn generation_dir(data_dir: &Path, generation: u64) -> PathBuf {
    data_dir.join("wal").join(format!("{generation:012}"))
}

/// The generations that directories of these names hold, in order. A number may be spelt in several ways, but names one directory.
pub fn generations_of(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn file_name(number: u32) -> String {
    format!("{number:06}.wal")
}
