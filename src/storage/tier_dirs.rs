//! Where the segments of each tier lie: below the data directory, or where the options say, perhaps on another disk.
//!
//! In a directory that the options name, only files with names of ours are touched, and a segment that the manifest does
//! not list is set aside, never removed: it may be another data directory's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fs::{DirLock, Fs};
use super::live::LiveSegment;
use super::manifest::{Manifest, SegmentEntry};
use super::open::{OpenError, io_error};
use super::signal::Signal;
use super::stats::StoreMetrics;

/// One age class of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierOptions {
    /// 0: as sent.
    pub resolution_ms: i64,
    /// Samples up to this age have this resolution.
    pub retention_ms: i64,
    /// Where its segments lie, if not below the data directory.
    pub dir: Option<PathBuf>,
}

/// A data directory has these from the beginning.
const ALWAYS: u8 = 3;
/// Ends the names of segments that the manifest may have listed before it lost its end, or that are not ours.
const UNLISTED: &str = "unlisted";

/// What the directory of a tier is called below the data directory.
pub(super) fn tier_name(tier: u8) -> String {
    match tier {
        0 => "hot".to_owned(),
        1 => "warm".to_owned(),
        2 => "cold".to_owned(),
        other => format!("tier{other}"),
    }
}

/// True for what [`tier_name`] makes.
pub(super) fn is_tier_name(name: &str) -> bool {
    (0..=u8::MAX).any(|tier| tier_name(tier) == name)
}

/// The file of a segment, in the directory of its tier.
pub(super) fn segment_name(entry: &SegmentEntry) -> String {
    let signal = match Signal::from_byte(entry.signal) {
        Some(signal) => signal.name(),
        None => "signal",
    };
    format!("{signal}-{:012}.seg", entry.id)
}

pub(super) fn temporary_name(id: u64) -> String {
    format!("{id:012}.tmp")
}

/// The directory of each tier.
#[derive(Clone)]
pub(super) struct TierDirs {
    data_dir: PathBuf,
    given: Vec<Option<PathBuf>>,
}

impl TierDirs {
    pub fn new(data_dir: &Path, tiers: &[TierOptions]) -> TierDirs {
        TierDirs { data_dir: data_dir.to_owned(), given: tiers.iter().map(|tier| tier.dir.clone()).collect() }
    }

    /// The tiers whose directories may hold segments, when `highest` is one of them.
    pub fn tiers(&self, highest: u8) -> impl Iterator<Item = u8> {
        let given = (self.given.len() as u8).saturating_sub(1);
        0..=highest.max(ALWAYS - 1).max(given)
    }

    pub fn dir(&self, tier: u8) -> PathBuf {
        self.given_dir(tier).map_or_else(|| self.data_dir.join(tier_name(tier)), Path::to_owned)
    }

    pub fn segment(&self, entry: &SegmentEntry) -> PathBuf {
        self.dir(entry.tier).join(segment_name(entry))
    }

    fn given_dir(&self, tier: u8) -> Option<&Path> {
        self.given.get(usize::from(tier))?.as_deref()
    }

    /// Those that the data directory always has.
    pub fn create(&self, fs: &dyn Fs) -> Result<(), OpenError> {
        let tiers = ALWAYS.max(self.given.len() as u8);
        for tier in (0..tiers).filter(|tier| *tier < ALWAYS || self.given_dir(*tier).is_none()) {
            let dir = self.data_dir.join(tier_name(tier));
            fs.create_dir(&dir).map_err(io_error(&dir))?;
        }
        Ok(())
    }

    /// Locks those that the options name. They must be there: what is created in place of a disk that is not mounted
    /// would fill the wrong one.
    pub fn lock(&self, fs: &dyn Fs) -> Result<Vec<Box<dyn DirLock>>, OpenError> {
        let mut dirs: Vec<&PathBuf> = self.given.iter().flatten().collect();
        dirs.sort();
        dirs.dedup();
        let mut locks = Vec::new();
        for dir in dirs {
            match fs.list(dir) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(OpenError::NoTierDirectory { path: dir.clone() });
                }
                Err(source) => return Err(OpenError::Io { path: dir.clone(), source }),
            }
            let lock = fs.lock(&dir.join("LOCK")).map_err(|source| match source.kind() {
                io::ErrorKind::WouldBlock => OpenError::TierLocked { path: dir.clone() },
                _ => OpenError::Io { path: dir.join("LOCK"), source },
            })?;
            locks.push(lock);
        }
        Ok(locks)
    }

    /// The segments that the manifest lists and that are there. Others are told about; files that it does not list are
    /// left-overs of a crash and removed.
    pub fn find_segments(
        &self,
        fs: &Arc<dyn Fs>,
        manifest: &Manifest,
        metrics: &StoreMetrics,
    ) -> Result<Vec<Arc<LiveSegment>>, OpenError> {
        let highest = manifest.segments().map(|entry| entry.tier).max().unwrap_or(0);
        // Whether a file was listed, and whether it lies where only we write.
        let mut files = BTreeMap::<PathBuf, (bool, bool)>::new();
        for tier in self.tiers(highest) {
            let dir = self.dir(tier);
            let names = match fs.list(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
                names => names.map_err(io_error(&dir))?,
            };
            let is_given = self.given_dir(tier).is_some();
            let names = names.into_iter().filter(|name| is_name_of_ours(name));
            files.extend(names.map(|name| (dir.join(name), (false, !is_given))));
        }
        let mut segments = Vec::new();
        let (mut found, mut missing) = (BTreeMap::<u8, usize>::new(), BTreeMap::<u8, usize>::new());
        for entry in manifest.segments() {
            let path = self.segment(entry);
            match files.get_mut(&path) {
                Some((is_listed, _)) => {
                    *is_listed = true;
                    *found.entry(entry.tier).or_default() += 1;
                    segments.push(Arc::new(LiveSegment::new(entry.clone(), path, fs.clone())));
                }
                None => {
                    *missing.entry(entry.tier).or_default() += 1;
                    metrics.missing_segments.inc();
                    tracing::error!(path = %path.display(), "a segment is missing; answers lack what it held");
                }
            }
        }
        for (tier, count) in missing {
            let may_be_elsewhere = tier > 0 || self.given_dir(tier).is_some();
            if may_be_elsewhere && !found.contains_key(&tier) {
                return Err(OpenError::TierMissing { path: self.dir(tier), count });
            }
        }
        for (path, (_, is_only_ours)) in files.into_iter().filter(|(_, (is_listed, _))| !is_listed) {
            let keep = manifest.lost_its_end() || !is_only_ours;
            clear_away(&**fs, &path, keep).map_err(io_error(&path))?;
        }
        Ok(segments)
    }
}

/// True for names of segments, finished or not.
pub(super) fn is_name_of_ours(name: &str) -> bool {
    let is_id = |text: &str| text.len() >= 12 && text.bytes().all(|b| b.is_ascii_digit());
    match name.split_once('.') {
        Some((id, "tmp")) => is_id(id),
        Some((name, "seg")) => name.split_once('-').is_some_and(|(_, id)| is_id(id)),
        _ => false,
    }
}

/// Removes a file that is not listed, or keeps a segment for a person to look at: its samples are also in the log if a
/// crash tore the edit that listed it; if the edit was damaged later, they are nowhere else.
fn clear_away(fs: &dyn Fs, path: &Path, keep: bool) -> io::Result<()> {
    if keep && path.extension().is_some_and(|extension| extension == "seg") {
        let aside = path.with_extension(UNLISTED);
        tracing::warn!(path = %aside.display(), "the manifest does not list this segment, but may have: set aside");
        return fs.rename(path, &aside);
    }
    tracing::info!(path = %path.display(), "removing a file that a crash left behind");
    fs.remove(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_touched() {
        for name in ["000000000012.tmp", "metrics-000000000012.seg", "signal-1234567890123.seg"] {
            assert!(is_name_of_ours(name), "{name}");
        }
        for name in ["LOCK", "lost+found", "notes.tmp", "a.seg", "metrics-000000000012.unlisted", "12.tmp"] {
            assert!(!is_name_of_ours(name), "{name}");
        }
        assert!(
            is_tier_name("cold") && is_tier_name("tier3") && !is_tier_name("tier") && !is_tier_name("wal")
        );
    }
}
