//! Facts and tools beside the repository, and how a test says that it was skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Says that the running test was skipped, and why; called once, before it returns. `.ci/run` counts these lines.
pub fn skipped(why: &str) {
    // Straight to the descriptor: the test harness captures what `println!` writes and shows it for failures only.
    let _ = std::io::stderr().lock().write_all(format!("skipped: {why}\n").as_bytes());
}

/// The folder beside the repository (`ICECORE_SHARED`, else `../shared`), whether it is there or not.
pub fn root() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("ICECORE_SHARED").map_or_else(beside, PathBuf::from)
}

/// A file or folder in it; where that is not there, the test is skipped.
pub fn shared(part: &str) -> Option<PathBuf> {
    let path = root().join(part);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}
