//! Which blocks a directory has.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::BlockError;
use crate::model::Timestamp;

/// A block, by its `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub path: PathBuf,
    pub name: String,
    pub min_time: Timestamp,
    /// Of its index and chunks.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Meta {
    ulid: String,
    version: u32,
    #[serde(rename = "minTime")]
    min_time: Timestamp,
}

const META: &str = "meta.json";
const VERSION: u32 = 1;
/// Of a ULID; other names are those of blocks being written or deleted.
const NAME_LEN: usize = 26;

/// The directory itself, if it is a block, or else those in it, the oldest first.
pub fn find_blocks(path: &Path) -> Result<Vec<Block>, BlockError> {
    if path.join(META).is_file() {
        return Ok(vec![open(path)?]);
    }
    let mut blocks = Vec::new();
    for entry in path.read_dir().map_err(|error| BlockError::io(path, error))? {
        let entry = entry.map_err(|error| BlockError::io(path, error))?;
        let is_block = entry.file_name().len() == NAME_LEN && entry.path().join(META).is_file();
        if is_block {
            blocks.push(open(&entry.path())?);
        }
    }
    if blocks.is_empty() {
        return Err(BlockError::NoBlocks { path: path.to_owned() });
    }
    blocks.sort_by(|a, b| (a.min_time, &a.name).cmp(&(b.min_time, &b.name)));
    Ok(blocks)
}

fn open(path: &Path) -> Result<Block, BlockError> {
    let meta_path = path.join(META);
    let failed = |reason: String| BlockError::Meta { path: meta_path.clone(), reason };
    let text = std::fs::read(&meta_path).map_err(|error| BlockError::io(&meta_path, error))?;
    let meta: Meta = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    if meta.version != VERSION {
        return Err(failed(format!(
            "block of version {}; version {VERSION} is what can be read",
            meta.version
        )));
    }
    Ok(Block { path: path.to_owned(), name: meta.ulid, min_time: meta.min_time, bytes: bytes_in(path) })
}

/// As good as it is known: it only tells how far a reader is.
fn bytes_in(path: &Path) -> u64 {
    let entries = |path: PathBuf| path.read_dir().into_iter().flatten().flatten();
    let files = entries(path.join("chunks")).chain(entries(path.to_owned()));
    files.filter_map(|file| file.metadata().ok()).filter(|file| file.is_file()).map(|file| file.len()).sum()
}
