//! The manifest: which segments are live and which generations of the log are done. The truth about the data
//! directory.
//!
//! An append-only log of edits (`storage-format.md` §3), each of them atomic: a reader sees all of an edit or
//! nothing of it. It is rewritten when dead edits outweigh live ones.

mod edit;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::fs::{Fs, WriteFile};
use super::tombstone::Tombstone;
pub use edit::{Edit, GENERATION_MAX, SEQ_MAX, SegmentEntry};
use edit::{edit_at, encode_record};

const MAGIC: [u8; 8] = *b"ICEMAN\x00\x00";
/// Raised when an older build could misread what this one writes.
pub const FORMAT_VERSION: u32 = 3;
const HEADER_BYTES: usize = 16;
const FILE: &str = "MANIFEST";
const TEMPORARY: &str = "MANIFEST.tmp";
/// Rewriting below this size would cost more than it saves.
const REWRITE_BYTES_MIN: u64 = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{}: written by a newer version (format {found}, this build reads up to {FORMAT_VERSION}); use that version", path.display())]
    TooNew { path: PathBuf, found: u32 },
    #[error("{}: not a manifest of Icecore; is this another program's directory?", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: damaged at byte {offset}; restore it from a backup", path.display())]
    Damaged { path: PathBuf, offset: u64 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The live state and the file that holds it.
pub struct Manifest {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    file: Option<Box<dyn WriteFile>>,
    len: u64,
    segments: BTreeMap<u64, SegmentEntry>,
    /// By resolution; they never fall.
    floors: BTreeMap<u32, i64>,
    tombstones: Tombstones,
    wal_done: u64,
    max_seq: u64,
    lost_its_end: bool,
}

/// By sequence number.
pub type Tombstones = BTreeMap<u64, Arc<Tombstone>>;

impl Manifest {
    /// True where a directory holds a manifest.
    pub fn exists(fs: &dyn Fs, dir: &Path) -> io::Result<bool> {
        match fs.list(dir) {
            Ok(names) => Ok(names.iter().any(|name| name == FILE)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Starts the manifest of a new data directory.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest {
            fs,
            dir: dir.to_owned(),
            file: None,
            len: 0,
            segments: BTreeMap::new(),
            floors: BTreeMap::new(),
            tombstones: Tombstones::new(),
            wal_done: 0,
            max_seq: 0,
            lost_its_end: false,
        };
        manifest.rewrite()?;
        Ok(manifest)
    }

    /// Reads the manifest. An incomplete edit at the very end is the mark of a crash and is cut off.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Manifest, ManifestError> {
        let path = dir.join(FILE);
        let bytes = fs.read(&path).map_err(|source| ManifestError::Io { path: path.clone(), source })?;
        let (edits, at) = read_edits(&bytes, &path)?;
        let mut manifest = Manifest {
            fs,
            dir: dir.to_owned(),
            file: None,
            len: at as u64,
            segments: BTreeMap::new(),
            floors: BTreeMap::new(),
            tombstones: Tombstones::new(),
            wal_done: 0,
            max_seq: 0,
            lost_its_end: bytes[at..].iter().any(|&b| b != 0),
        };
        edits.iter().for_each(|edit| manifest.apply(edit));
        // To a file of an older format nothing is added: the next edit writes it anew.
        if version(&bytes) == FORMAT_VERSION {
            let file = manifest.fs.append(&path, at as u64);
            manifest.file = Some(file.map_err(|source| ManifestError::Io { path, source })?);
        }
        Ok(manifest)
    }

    pub fn segments(&self) -> impl Iterator<Item = &SegmentEntry> {
        self.segments.values()
    }

    /// Up to which partition samples of each resolution were let go.
    pub fn floors(&self) -> &BTreeMap<u32, i64> {
        &self.floors
    }

    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// True if bytes at its end were no edit: cut short by a crash before anybody relied on it, or damaged later.
    /// Which of the two cannot be told.
    pub fn lost_its_end(&self) -> bool {
        self.lost_its_end
    }

    pub fn wal_done(&self) -> u64 {
        self.wal_done
    }

    pub fn max_seq(&self) -> u64 {
        self.max_seq
    }

    pub fn next_segment_id(&self) -> u64 {
        self.segments.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Makes an edit durable, then true. After an error the edit may or may not be found at the next start, but
    /// the live state is unchanged and the file is rewritten with the next edit.
    pub fn commit(&mut self, edit: Edit) -> Result<(), ManifestError> {
        let before = (self.segments.clone(), self.floors.clone(), self.tombstones.clone());
        let numbers_before = (self.wal_done, self.max_seq);
        self.apply(&edit);
        let written = if self.file.is_some() && self.len < self.rewrite_above() {
            self.append(&encode_record(&edit))
        } else {
            self.rewrite()
        };
        if written.is_err() {
            self.file = None;
            (self.segments, self.floors, self.tombstones) = before;
            (self.wal_done, self.max_seq) = numbers_before;
        }
        written
    }

    fn append(&mut self, record: &[u8]) -> Result<(), ManifestError> {
        let file = self.file.as_mut().expect("asked by the caller");
        let written = file.write_all(record).and_then(|()| file.sync());
        self.len += record.len() as u64;
        written.map_err(|source| self.io_error(source))
    }

    fn rewrite_above(&self) -> u64 {
        let mut tombstones = Vec::new();
        self.tombstones.values().for_each(|tombstone| tombstone.encode(&mut tombstones));
        let live = self.segments.len() * 128 + tombstones.len();
        REWRITE_BYTES_MIN.max(live as u64 * 4)
    }

    fn apply(&mut self, edit: &Edit) {
        for id in &edit.remove {
            self.segments.remove(id);
        }
        for entry in &edit.add {
            self.segments.insert(entry.id, entry.clone());
        }
        for &(resolution_ms, partition) in &edit.floors {
            let floor = self.floors.entry(resolution_ms).or_insert(partition);
            *floor = partition.max(*floor);
        }
        for seq in &edit.forgotten {
            self.tombstones.remove(seq);
        }
        self.tombstones.extend(edit.tombstones.iter().map(|tombstone| (tombstone.seq, tombstone.clone())));
        self.wal_done = self.wal_done.max(edit.wal_done.unwrap_or(0));
        self.max_seq = self.max_seq.max(edit.max_seq);
    }

    /// Writes the live state as one edit to a new file and puts that in place.
    fn rewrite(&mut self) -> Result<(), ManifestError> {
        self.file = None;
        let edit = Edit {
            add: self.segments.values().cloned().collect(),
            remove: Vec::new(),
            wal_done: Some(self.wal_done),
            max_seq: self.max_seq,
            floors: self
                .floors
                .iter()
                .map(|(&resolution_ms, &partition)| (resolution_ms, partition))
                .collect(),
            tombstones: self.tombstones.values().cloned().collect(),
            forgotten: Vec::new(),
        };
        let mut bytes = Vec::from(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(xxh3_64(&bytes) as u32).to_le_bytes());
        bytes.extend_from_slice(&encode_record(&edit));
        let file = self.replace_file(&bytes).map_err(|source| self.io_error(source))?;
        self.len = bytes.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn replace_file(&self, bytes: &[u8]) -> io::Result<Box<dyn WriteFile>> {
        let temporary = self.dir.join(TEMPORARY);
        match self.fs.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = self.fs.create(&temporary)?;
        file.write_all(bytes)?;
        file.sync()?;
        self.fs.rename(&temporary, &self.dir.join(FILE))?;
        self.fs.sync_dir(&self.dir)?;
        Ok(file)
    }

    fn io_error(&self, source: io::Error) -> ManifestError {
        ManifestError::Io { path: self.dir.join(FILE), source }
    }
}

/// The edits of a manifest, and where the last whole one ends: what follows it is the mark of a crash.
pub(super) fn read_edits(bytes: &[u8], path: &Path) -> Result<(Vec<Edit>, usize), ManifestError> {
    check_header(bytes, path)?;
    let version = version(bytes);
    let (mut edits, mut at) = (Vec::new(), HEADER_BYTES);
    while let Some((edit, end)) = edit_at(bytes, at, version) {
        if !edit.has_numbers_left() {
            return Err(ManifestError::Damaged { path: path.to_owned(), offset: at as u64 });
        }
        edits.push(edit);
        at = end;
    }
    if (at + 1..bytes.len()).any(|later| edit_at(bytes, later, version).is_some()) {
        return Err(ManifestError::Damaged { path: path.to_owned(), offset: at as u64 });
    }
    Ok((edits, at))
}

fn check_header(bytes: &[u8], path: &Path) -> Result<(), ManifestError> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
        return Err(ManifestError::Foreign { path: path.to_owned() });
    }
    let found = version(bytes);
    if found > FORMAT_VERSION {
        return Err(ManifestError::TooNew { path: path.to_owned(), found });
    }
    if bytes[12..16] != (xxh3_64(&bytes[..12]) as u32).to_le_bytes() {
        return Err(ManifestError::Damaged { path: path.to_owned(), offset: 0 });
    }
    Ok(())
}

/// The format of a file that is long enough for a header.
pub(super) fn version(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::faulty::{Faults, FaultyFs, after_power_cut};

    fn entry(id: u64) -> SegmentEntry {
        SegmentEntry {
            id,
            signal: 1,
            tier: 0,
            level: 2,
            tenant: 0,
            partition: 86_400_000,
            min_time: -5,
            max_time: i64::MAX,
            min_seq: id,
            max_seq: id + 1,
            bytes: 10,
            rows: 11,
            series: 12,
            resolution_ms: 60_000,
            rolled: 0xFEED,
        }
    }

    fn adding(id: u64) -> Edit {
        Edit { add: vec![entry(id)], max_seq: id, ..Edit::default() }
    }

    fn disk() -> (FaultyFs, Arc<dyn Fs>) {
        let fs = FaultyFs::with_files(BTreeMap::new(), ["/".into(), "/d".into()]);
        (fs.clone(), Arc::new(fs))
    }

    fn ids(manifest: &Manifest) -> Vec<u64> {
        manifest.segments().map(|s| s.id).collect()
    }

    #[test]
    fn edits_survive_reopening() {
        let (_, fs) = disk();
        let mut manifest = Manifest::create(fs.clone(), Path::new("/d")).unwrap();
        manifest.commit(adding(1)).unwrap();
        manifest
            .commit(Edit {
                add: vec![entry(2)],
                remove: vec![1],
                wal_done: Some(9),
                max_seq: 77,
                floors: vec![(0, 5), (60_000, -7)],
                ..Edit::default()
            })
            .unwrap();
        let again = Manifest::open(fs, Path::new("/d")).unwrap();
        assert_eq!(again.segments().cloned().collect::<Vec<_>>(), [entry(2)]);
        assert_eq!((again.wal_done(), again.max_seq()), (9, 77));
        assert_eq!(again.floors(), &BTreeMap::from([(0, 5), (60_000, -7)]));
    }

    #[test]
    fn an_edit_that_removes_and_adds_a_segment_replaces_its_entry() {
        let (_, fs) = disk();
        let mut manifest = Manifest::create(fs.clone(), Path::new("/d")).unwrap();
        manifest.commit(adding(1)).unwrap();
        let rolled = SegmentEntry { rolled: 7, ..entry(1) };
        manifest.commit(Edit { add: vec![rolled.clone()], remove: vec![1], ..Edit::default() }).unwrap();
        let again = Manifest::open(fs, Path::new("/d")).unwrap();
        assert_eq!(again.segments().collect::<Vec<_>>(), [&rolled]);
    }

    #[test]
    fn a_floor_never_falls_and_survives_a_rewrite() {
        let (_, fs) = disk();
        let mut manifest = Manifest::create(fs.clone(), Path::new("/d")).unwrap();
        for partition in [3, 9, 5] {
            manifest.commit(Edit { floors: vec![(0, partition)], ..Edit::default() }).unwrap();
        }
        manifest.rewrite().unwrap();
        let again = Manifest::open(fs, Path::new("/d")).unwrap();
        assert_eq!(again.floors(), &BTreeMap::from([(0, 9)]));
    }

    #[test]
    fn a_tombstone_stays_until_it_is_forgotten() {
        let (_, fs) = disk();
        let mut manifest = Manifest::create(fs.clone(), Path::new("/d")).unwrap();
        let tombstone = |seq| {
            let selectors = vec![vec![crate::model::Matcher::equal("job", "a")]];
            Arc::new(Tombstone { seq, range: crate::model::TimeRange::ALL, raw_floor: 3, selectors })
        };
        let tombstones: Vec<_> = [5, 6, 7].map(tombstone).into();
        manifest.commit(Edit { tombstones: tombstones.clone(), ..Edit::default() }).unwrap();
        manifest.commit(Edit { forgotten: vec![6, 9], ..adding(1) }).unwrap();
        for _ in 0..2 {
            let again = Manifest::open(fs.clone(), Path::new("/d")).unwrap();
            assert_eq!(again.tombstones().values().collect::<Vec<_>>(), [&tombstones[0], &tombstones[2]]);
            assert_eq!(ids(&again), [1]);
            manifest.rewrite().unwrap();
        }
    }

    #[test]
    fn a_manifest_of_an_older_version_is_read_and_written_anew_with_its_next_edit() {
        let olds: [(&[u8], &[u64]); 2] = [
            (include_bytes!("../../tests/fixtures/v1_manifest"), &[3]),
            (include_bytes!("../../tests/fixtures/v2_manifest"), &[5, 6]),
        ];
        for (old, listed) in olds {
            let fs = FaultyFs::with_files(BTreeMap::from([("/d/MANIFEST".into(), old.to_vec())]), []);
            let mut manifest = Manifest::open(Arc::new(fs.clone()), Path::new("/d")).unwrap();
            assert_eq!(ids(&manifest), listed);
            manifest.commit(adding(99)).unwrap();
            assert_eq!(version(&fs.files()[Path::new("/d/MANIFEST")]), FORMAT_VERSION);
            assert_eq!(
                ids(&Manifest::open(Arc::new(fs), Path::new("/d")).unwrap()),
                [listed, &[99]].concat()
            );
        }
    }

    #[test]
    fn a_power_cut_at_any_moment_leaves_a_prefix_of_the_edits() {
        let (disk, fs) = disk();
        let mut manifest = Manifest::create(fs, Path::new("/d")).unwrap();
        disk.mark(0);
        for id in 1..=4 {
            manifest.commit(adding(id)).unwrap();
            disk.mark(id);
        }
        let log = disk.log();
        let created =
            log.iter().position(|op| matches!(op, crate::storage::fs::faulty::Op::Mark(0))).unwrap();
        for cut in created..=log.len() {
            let promised = log[..cut]
                .iter()
                .filter(|op| matches!(op, crate::storage::fs::faulty::Op::Mark(n) if *n > 0))
                .count() as u64;
            for pick in 0..4usize {
                let after = after_power_cut(&log[..cut], &mut |n| pick.min(n - 1));
                let found = ids(&Manifest::open(Arc::new(after), Path::new("/d")).unwrap());
                assert!(found.len() as u64 >= promised && found.len() as u64 <= promised + 1, "{found:?}");
                assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_costs_the_last_edit_never_more() {
        let (disk, fs) = disk();
        let mut manifest = Manifest::create(fs, Path::new("/d")).unwrap();
        (1..=3).for_each(|id| manifest.commit(adding(id)).unwrap());
        let bytes = disk.files()[Path::new("/d/MANIFEST")].clone();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let fs = FaultyFs::with_files(BTreeMap::from([("/d/MANIFEST".into(), bad)]), []);
            if let Ok(manifest) = Manifest::open(Arc::new(fs), Path::new("/d")) {
                assert_eq!(ids(&manifest), [1, 2], "bit {bit}");
            }
        }
    }

    #[test]
    fn a_failed_commit_changes_nothing_and_the_next_one_holds() {
        let (disk, fs) = disk();
        let mut manifest = Manifest::create(fs.clone(), Path::new("/d")).unwrap();
        manifest.commit(adding(1)).unwrap();
        disk.set_faults(Faults { disk_full: true, ..Faults::default() });
        assert!(manifest.commit(adding(2)).is_err());
        assert_eq!(ids(&manifest), [1]);
        disk.set_faults(Faults::default());
        manifest.commit(adding(3)).unwrap();
        assert_eq!(ids(&Manifest::open(fs, Path::new("/d")).unwrap()), [1, 3]);
    }

    #[test]
    fn a_newer_format_and_a_foreign_file_are_told_apart() {
        let open = |bytes: &[u8]| {
            let fs = FaultyFs::with_files(BTreeMap::from([("/d/MANIFEST".into(), bytes.to_vec())]), []);
            Manifest::open(Arc::new(fs), Path::new("/d")).err().expect("refused")
        };
        let mut newer = Vec::from(MAGIC);
        newer.extend_from_slice(&9u32.to_le_bytes());
        newer.extend_from_slice(&[0; 4]);
        assert!(matches!(open(&newer), ManifestError::TooNew { found: 9, .. }));
        assert!(matches!(open(b"hello, I am something else"), ManifestError::Foreign { .. }));
    }
}
