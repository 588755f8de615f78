//! Files of every version that was ever written open, and hold what they held. `UPDATE=1` writes the current
//! version's fixtures anew; the text beside a fixture is reviewed like code.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may, like the test")]

use std::path::{Path, PathBuf};

use icecore::storage::inspect;

mod entries;
mod manifests;
mod metrics;
mod rollups;
mod samples;
mod spans;
mod store;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|v| v == "1")
}

/// What a fixture says is what the text beside it says.
fn check_text(name: &str, text_name: &str) {
    let mut text = Vec::new();
    inspect::path(&fixture(name), &mut text).unwrap();
    let here = format!("{}/", fixture("").display());
    let text = String::from_utf8(text).unwrap().replace(&here, "").replace(&here.replace("//", "/"), "");
    if is_update() {
        std::fs::write(fixture(text_name), &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(fixture(text_name)).unwrap());
}
