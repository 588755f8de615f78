//! Reads all of a data directory to find damage before a query meets it.
//!
//! Reads only and takes no lock, so that the server may be running. What that one removes meanwhile is no damage, and
//! what it adds is left to the next check.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fs::{Fs, RealFs};
use super::live::LiveSegment;
use super::manifest::{GENERATION_MAX, SEQ_MAX, SegmentEntry, read_edits};
use super::segment::{Segment, SegmentError};
use super::tier_dirs::{TierDirs, TierOptions, is_name_of_ours};
use super::wal::{FileLog, GenerationReport, generation_dir, generation_of, replay_generation};

/// Something that a person should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Bytes are not what was written; what they held is lost unless there is a backup.
    Damage(String),
    /// Also a sound directory may look so.
    Oddity(String),
}

/// How much was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CheckReport {
    pub segments: u64,
    pub segment_bytes: u64,
    pub rows: u64,
    /// Generations of the log that are not sealed.
    pub generations: u64,
    pub records: u64,
}

/// Why a directory cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{}: holds no data of Icecore (--data-dir)", path.display())]
    NoData { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Reads each segment and each record of the log, and tells what is wrong as it is met.
pub fn check(
    data_dir: &Path,
    tiers: &[TierOptions],
    found: &mut dyn FnMut(Finding),
) -> Result<CheckReport, CheckError> {
    check_on(Arc::new(RealFs), data_dir, tiers, found)
}

/// As [`check`], on files of any kind.
pub(super) fn check_on(
    fs: Arc<dyn Fs>,
    data_dir: &Path,
    tiers: &[TierOptions],
    found: &mut dyn FnMut(Finding),
) -> Result<CheckReport, CheckError> {
    let dirs = TierDirs::new(data_dir, tiers);
    let mut check = Check { fs, data_dir, dirs, found, report: CheckReport::default() };
    let Some(listed) = check.manifest()? else { return Ok(check.report) };
    if listed.lost_bytes > 0 {
        (check.found)(Finding::Oddity(format!(
            "{}: its last {} bytes are no whole edit: cut short by a crash, or damaged",
            check.data_dir.join("MANIFEST").display(),
            listed.lost_bytes
        )));
    }
    for entry in listed.segments.values() {
        check.segment(entry)?;
    }
    check.unlisted(&listed)?;
    check.log(listed.wal_done)?;
    Ok(check.report)
}

/// What the manifest says.
#[derive(Default)]
struct Listed {
    segments: BTreeMap<u64, SegmentEntry>,
    wal_done: u64,
    lost_bytes: usize,
}

struct Check<'a> {
    fs: Arc<dyn Fs>,
    data_dir: &'a Path,
    dirs: TierDirs,
    found: &'a mut dyn FnMut(Finding),
    report: CheckReport,
}

impl Check<'_> {
    /// `None` if it is damaged, and nothing can be said of the rest.
    fn manifest(&mut self) -> Result<Option<Listed>, CheckError> {
        let path = self.data_dir.join("MANIFEST");
        let bytes = self.fs.read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CheckError::NoData { path: self.data_dir.to_owned() },
            _ => CheckError::Io { path: path.clone(), source },
        })?;
        let (edits, end) = match read_edits(&bytes, &path) {
            Ok(read) => read,
            Err(error) => {
                self.damage(error);
                return Ok(None);
            }
        };
        let mut listed = Listed { lost_bytes: bytes.len() - end, ..Listed::default() };
        for edit in edits {
            listed.segments.retain(|id, _| !edit.remove.contains(id));
            listed.segments.extend(edit.add.into_iter().map(|entry| (entry.id, entry)));
            listed.wal_done = listed.wal_done.max(edit.wal_done.unwrap_or(0));
        }
        Ok(Some(listed))
    }

    fn damage(&mut self, what: impl ToString) {
        (self.found)(Finding::Damage(what.to_string()));
    }

    fn segment(&mut self, entry: &SegmentEntry) -> Result<(), CheckError> {
        let path = self.dirs.segment(entry);
        let mapped = match self.fs.map(&path) {
            Ok(mapped) => mapped,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A running server may have merged it, or let it go.
                if self.manifest()?.is_some_and(|now| now.segments.contains_key(&entry.id)) {
                    self.damage(format!("{}: listed in the manifest, but not there", path.display()));
                }
                return Ok(());
            }
            Err(source) => return Err(CheckError::Io { path, source }),
        };
        self.report.segments += 1;
        self.report.segment_bytes += mapped.len() as u64;
        self.report.rows += entry.rows;
        let segment = LiveSegment::new(entry.clone(), path.clone(), self.fs.clone());
        let verified = segment.verify().map_err(|error| error.to_string());
        let verified = verified.and_then(|()| agrees(entry, &Segment::open(mapped, &path)));
        match verified {
            Err(what) => self.damage(what),
            Ok(()) if segment.signal().is_none() => (self.found)(Finding::Oddity(format!(
                "{}: of a signal that this version does not know; not checked",
                path.display()
            ))),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Segments that lie beside those that are listed: nobody reads them.
    fn unlisted(&mut self, listed: &Listed) -> Result<(), CheckError> {
        let known: BTreeSet<PathBuf> =
            listed.segments.values().map(|entry| self.dirs.segment(entry)).collect();
        let highest = listed.segments.values().map(|entry| entry.tier).max().unwrap_or(0);
        for dir in self.dirs.tiers(highest).map(|tier| self.dirs.dir(tier)) {
            let names = match self.fs.list(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                names => names.map_err(|source| CheckError::Io { path: dir.clone(), source })?,
            };
            for path in names.iter().filter(|name| is_name_of_ours(name)).map(|name| dir.join(name)) {
                if !known.contains(&path) {
                    let text = "the manifest did not list it when the check began; a crash may have left it";
                    (self.found)(Finding::Oddity(format!("{}: {text}", path.display())));
                }
            }
        }
        Ok(())
    }

    /// Each generation that the next start would replay.
    fn log(&mut self, wal_done: u64) -> Result<(), CheckError> {
        let wal = self.data_dir.join("wal");
        let names = self.fs.list(&wal).map_err(|source| CheckError::Io { path: wal.clone(), source })?;
        for name in names {
            let Some(generation) = generation_of(&name) else {
                let path = wal.join(name);
                (self.found)(Finding::Oddity(format!(
                    "{}: no generation of the log has this name; nobody reads it",
                    path.display()
                )));
                continue;
            };
            if generation > GENERATION_MAX {
                let path = generation_dir(self.data_dir, generation);
                self.damage(format!("{}: no data directory gets to such a number", path.display()));
            }
            if generation <= wal_done {
                continue;
            }
            let log = FileLog {
                fs: self.fs.clone(),
                data_dir: self.data_dir.to_owned(),
                file_bytes: 0,
                reserve_bytes: 0,
            };
            let mut max_seq = 0;
            match replay_generation(&log, generation, &mut |frame| max_seq = max_seq.max(frame.header.seq)) {
                Ok(report) => self.generation(generation, max_seq, report),
                // A running server removes what it has sealed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(CheckError::Io { path: generation_dir(self.data_dir, generation), source });
                }
            }
        }
        Ok(())
    }

    fn generation(&mut self, generation: u64, max_seq: u64, report: GenerationReport) {
        if max_seq > SEQ_MAX {
            let path = generation_dir(self.data_dir, generation);
            self.damage(format!("{}: no record gets to the sequence number {max_seq}", path.display()));
        }
        self.report.generations += 1;
        self.report.records += report.frames;
        for damage in report.damage {
            let (path, len, offset) = (damage.path.display(), damage.len, damage.offset);
            self.damage(format!("{path}: {len} bytes from {offset} on are no record"));
        }
        if report.torn_bytes > 0 {
            (self.found)(Finding::Oddity(format!(
                "{}: the last {} bytes are no whole record: cut short by a crash, being written, or damaged",
                generation_dir(self.data_dir, generation).display(),
                report.torn_bytes
            )));
        }
    }
}

/// Whether a segment is the one that the manifest means.
fn agrees(entry: &SegmentEntry, segment: &Result<Segment, SegmentError>) -> Result<(), String> {
    let segment = segment.as_ref().map_err(SegmentError::to_string)?;
    let meta = segment.meta();
    let agreements = [
        ("its signal", entry.signal == meta.signal),
        ("its resolution", entry.resolution_ms == meta.tier_resolution_ms),
        ("its length", entry.bytes == segment.file_len()),
        ("its span of time", (entry.min_time, entry.max_time) == (meta.min_time, meta.max_time)),
        ("its sequence numbers", (entry.min_seq, entry.max_seq) == (meta.min_seq, meta.max_seq)),
        ("its number of rows", entry.rows == meta.row_count),
        ("its number of series", entry.series == meta.series_count),
    ];
    match agreements.iter().find(|(_, agrees)| !agrees) {
        Some((what, _)) => Err(format!("{}: {what} is not what the manifest says", segment.path().display())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::damage_tests::{data_directory, frame_of};
    use super::super::fs::faulty::FaultyFs;
    use super::*;

    type Files = BTreeMap<PathBuf, Vec<u8>>;

    fn findings(files: Files) -> (Vec<Finding>, CheckReport) {
        let mut found = Vec::new();
        let fs = Arc::new(FaultyFs::with_files(files, []));
        let report = check_on(fs, Path::new("/d"), &[], &mut |finding| found.push(finding)).unwrap();
        (found, report)
    }

    #[test]
    fn a_sound_directory_has_no_damage() {
        let (found, report) = findings(data_directory());
        assert_eq!(found, []);
        assert!(report.segments >= 3 && report.generations >= 2 && report.records > 0, "{report:?}");
        assert!(report.rows > 0 && report.segment_bytes > report.rows, "{report:?}");
    }

    /// Behind the last record of a log file are zeros, which say nothing.
    fn used(path: &Path, bytes: &[u8]) -> usize {
        let is_log = path.extension().is_some_and(|extension| extension == "wal");
        if is_log { bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1) } else { bytes.len() }
    }

    #[test]
    fn every_flipped_bit_of_every_file_is_found_and_named() {
        let files = data_directory();
        let (_, sound) = findings(files.clone());
        let mut tried = 0;
        for (path, bytes) in &files {
            let used = used(path, bytes);
            // About 15 places in each file, and more of the ends, where frames and tails are.
            let step = (used / 15).max(1);
            for at in (0..used).filter(|at| at % step == 0 || *at < 12 || at + 12 >= used) {
                let mut damaged = files.clone();
                damaged.get_mut(path).expect("one of them")[at] ^= 1 << (at % 8);
                let (found, report) = findings(damaged);
                // Between two records of the log are some bytes that say nothing.
                let is_padding = path.starts_with("/d/wal") && report == sound;
                let generation = path.parent().expect("all lie somewhere").display().to_string();
                let named = [path.display().to_string(), generation];
                let is_named = found.iter().any(|finding| {
                    let (Finding::Damage(text) | Finding::Oddity(text)) = finding;
                    named.iter().any(|name| text.starts_with(name.as_str()))
                });
                assert!(is_named || is_padding, "{} flipped at {at}: {found:?}", path.display());
                tried += 1;
            }
        }
        assert!(tried > 150, "{tried}");
    }

    #[test]
    fn what_is_missing_or_exchanged_is_damage_and_what_is_over_an_oddity() {
        let files = data_directory();
        let segments: Vec<_> = files.keys().filter(|path| path.starts_with("/d/hot")).cloned().collect();
        let [first, second] = [&segments[0], &segments[1]];

        let mut missing = files.clone();
        missing.remove(first);
        let text = format!("{}: listed in the manifest, but not there", first.display());
        assert_eq!(findings(missing).0, [Finding::Damage(text)]);

        let mut exchanged = files.clone();
        exchanged.insert(first.clone(), files[second].clone());
        let (found, _) = findings(exchanged);
        assert!(matches!(&found[..], [Finding::Damage(text)] if text.contains("manifest says")), "{found:?}");

        let mut over = files.clone();
        over.insert("/d/hot/metrics-000000009999.seg".into(), files[first].clone());
        let (found, _) = findings(over);
        assert!(matches!(&found[..], [Finding::Oddity(text)] if text.contains("000000009999")), "{found:?}");
    }

    #[test]
    fn a_record_of_a_number_that_nothing_can_come_after_is_damage() {
        let of = |seq: u64| {
            let mut files = data_directory();
            let log = files.iter().find(|(path, _)| path.starts_with("/d/wal")).expect("there is a log");
            let bytes = [&log.1[..32], &frame_of(seq, 400_000_000_000)].concat();
            files.insert("/d/wal/400000000000/000000.wal".into(), bytes);
            findings(files).0
        };
        let is_told = |found: &[Finding]| {
            let text = "/d/wal/400000000000: no record gets to the sequence number 9223372036854775808";
            found.contains(&Finding::Damage(text.to_owned()))
        };
        assert!(is_told(&of(SEQ_MAX + 1)) && !is_told(&of(SEQ_MAX)));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let files = BTreeMap::from([(PathBuf::from("/d/notes"), vec![1])]);
        let fs = Arc::new(FaultyFs::with_files(files, []));
        let refused = check_on(fs, Path::new("/d"), &[], &mut |_| {}).unwrap_err();
        assert_eq!(refused.to_string(), "/d: holds no data of Icecore (--data-dir)");
    }
}
