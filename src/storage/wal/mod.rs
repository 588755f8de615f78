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
    data_dir.join("wal").join(format!("{generation:0GENERATION_DIGITS$}"))
}

/// Of the name of its directory.
pub const GENERATION_DIGITS: usize = 12;

/// The generation that a directory of this name holds, if it is one of the log's.
pub fn generation_of(name: &str) -> Option<u64> {
    let is_number = name.len() == GENERATION_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { name.parse().ok() } else { None }
}

fn file_name(number: u32) -> String {
    format!("{number:06}.wal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_told_by_the_name_of_its_directory() {
        for number in [0, 7, 999_999_999_999] {
            let dir = generation_dir(Path::new("/d"), number);
            assert_eq!(generation_of(dir.file_name().unwrap().to_str().unwrap()), Some(number));
        }
        for name in ["7", "+00000000007", "0000000000070", "18446744073709551615", "lost+found", ""] {
            assert_eq!(generation_of(name), None, "{name}");
        }
    }
}
