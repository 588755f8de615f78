//! A disk in memory that records what was written, synced and renamed, so that a test can ask: what may be on
//! the platter if the power goes here?
//!
//! The model is that of a POSIX file system with ordered metadata missing: bytes written since the last sync of
//! their file may be there, be gone, or be torn at any 512-byte boundary; a creation, rename or removal since the
//! last sync of its directory may have happened or not, each for itself.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirLock, Fs, Mapped, WriteFile};

/// One thing that happened to the disk, in the order it happened.
#[derive(Clone, Debug)]
pub enum Op {
    Create {
        inode: usize,
        path: PathBuf,
    },
    Write {
        inode: usize,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        inode: usize,
        len: u64,
    },
    Sync {
        inode: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    CreateDir {
        path: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    /// A note of the test's own, to know what had been promised by then.
    Mark(u64),
}

/// What the next calls shall do instead of succeeding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every write and preallocation fails with `ENOSPC`.
    pub disk_full: bool,
    /// This many syncs fail with `EIO`, after the bytes may or may not have reached the disk.
    pub failing_syncs: usize,
    pub free_bytes: Option<u64>,
    /// Creating, writing and syncing fail with `EIO` where the path contains this.
    pub failing_path: Option<&'static str>,
    /// Nothing can be mapped: `EMFILE`.
    pub too_many_open: bool,
}

impl Faults {
    fn check(&self, path: &Path) -> io::Result<()> {
        match self.failing_path {
            Some(part) if path.to_string_lossy().contains(part) => {
                Err(io::Error::other("injected: input/output error"))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Disk {
    /// What a running process sees: names to inodes.
    names: BTreeMap<PathBuf, usize>,
    dirs: std::collections::BTreeSet<PathBuf>,
    inodes: Vec<Vec<u8>>,
    log: Vec<Op>,
    faults: Faults,
}

#[derive(Clone, Default)]
pub struct FaultyFs(Arc<Mutex<Disk>>);

impl FaultyFs {
    /// A disk that holds these files, all of them synced.
    pub fn with_files(
        files: BTreeMap<PathBuf, Vec<u8>>,
        dirs: impl IntoIterator<Item = PathBuf>,
    ) -> FaultyFs {
        let mut disk = Disk::default();
        disk.dirs.extend(dirs);
        for (path, bytes) in files {
            for dir in path.ancestors().skip(1) {
                disk.dirs.insert(dir.to_owned());
            }
            disk.names.insert(path, disk.inodes.len());
            disk.inodes.push(bytes);
        }
        FaultyFs(Arc::new(Mutex::new(disk)))
    }

    pub fn mark(&self, note: u64) {
        self.0.lock().log.push(Op::Mark(note));
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub fn log(&self) -> Vec<Op> {
        self.0.lock().log.clone()
    }

    pub fn sync_count(&self) -> usize {
        self.0.lock().log.iter().filter(|op| matches!(op, Op::Sync { .. })).count()
    }

    /// What the running process sees, as files; for tests that damage bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.0.lock();
        disk.names.iter().map(|(path, &inode)| (path.clone(), disk.inodes[inode].clone())).collect()
    }
}

/// How many operations came before this mark.
pub fn place_of_mark(ops: &[Op], note: u64) -> usize {
    ops.iter().position(|op| matches!(op, Op::Mark(n) if *n == note)).expect("the test set it")
}

/// Shows disks as power cuts may leave them after `first` operations and after each that follows, `variants` of each: one
/// has lost all that was not synced, with three or more another has kept all, and of the others chance decides. `look` is
/// told the number of operations and what to call the state.
pub fn for_each_power_cut(
    ops: &[Op],
    first: usize,
    variants: usize,
    mut look: impl FnMut(usize, &str, FaultyFs),
) {
    let (mut random, mut states) = (0x1CE_C0DEu64, 0);
    for cut in first..=ops.len() {
        for variant in 0..variants {
            let mut choose = |n: usize| match variant {
                0 => 0,
                2 => n - 1,
                _ => {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 33) as usize % n
                }
            };
            let what = format!("cut {cut} of {}, variant {variant}", ops.len());
            look(cut, &what, after_power_cut(&ops[..cut], &mut choose));
            states += 1;
        }
    }
    println!("{states} crash states of {} operations", ops.len() - first);
}

/// The disk after a power cut that follows `ops`. `choose(n)` decides each uncertainty with a number below `n`;
/// always 0 loses all that was not synced, always `n - 1` keeps all.
pub fn after_power_cut(ops: &[Op], choose: &mut dyn FnMut(usize) -> usize) -> FaultyFs {
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut dirs: Vec<PathBuf> = Vec::new();
    let mut contents: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (i, op) in ops.iter().enumerate() {
        let rest = &ops[i + 1..];
        match op {
            Op::Create { inode, path } => {
                contents.insert(*inode, Vec::new());
                if dir_synced(path, rest) || choose(2) == 1 {
                    names.insert(path.clone(), *inode);
                }
            }
            Op::Write { inode, at, bytes } => {
                let kept = if file_synced(*inode, rest) { bytes.len() } else { torn(bytes.len(), choose) };
                write_at(contents.entry(*inode).or_default(), *at, &bytes[..kept]);
            }
            Op::SetLen { inode, len } => {
                if file_synced(*inode, rest) || choose(2) == 1 {
                    contents.entry(*inode).or_default().resize(*len as usize, 0);
                }
            }
            Op::Rename { from, to } => {
                if (dir_synced(to, rest) || choose(2) == 1)
                    && let Some(inode) = names.remove(from)
                {
                    names.insert(to.clone(), inode);
                }
            }
            Op::Remove { path } => {
                if dir_synced(path, rest) || choose(2) == 1 {
                    names.remove(path);
                }
            }
            Op::CreateDir { path } => dirs.push(path.clone()),
            Op::RemoveDir { path } => {
                let keep = !dir_synced(path, rest) && choose(2) == 0;
                names.retain(|name, _| keep || !name.starts_with(path));
            }
            Op::Sync { .. } | Op::SyncDir { .. } | Op::Mark(_) => {}
        }
    }
    let files = names.into_iter().map(|(path, inode)| (path, contents[&inode].clone())).collect();
    FaultyFs::with_files(files, dirs)
}

fn file_synced(inode: usize, rest: &[Op]) -> bool {
    rest.iter().any(|op| matches!(op, Op::Sync { inode: i } if *i == inode))
}

fn dir_synced(path: &Path, rest: &[Op]) -> bool {
    rest.iter().any(|op| matches!(op, Op::SyncDir { path: dir } if Some(dir.as_path()) == path.parent()))
}

/// How much of a write arrives: nothing, all, or up to some sector.
fn torn(len: usize, choose: &mut dyn FnMut(usize) -> usize) -> usize {
    let sectors = len.div_ceil(512);
    (choose(sectors + 1) * 512).min(len)
}

fn write_at(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (from, to) = (at as usize, at as usize + bytes.len());
    if file.len() < to {
        file.resize(to, 0);
    }
    file[from..to].copy_from_slice(bytes);
}

struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    inode: usize,
    at: u64,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        if disk.faults.disk_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.faults.check(&self.path)?;
        write_at(&mut disk.inodes[self.inode], self.at, bytes);
        disk.log.push(Op::Write { inode: self.inode, at: self.at, bytes: bytes.to_vec() });
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FaultyFile {
    fn set_len(&mut self, len: u64) {
        let mut disk = self.disk.lock();
        disk.inodes[self.inode].resize(len as usize, 0);
        disk.log.push(Op::SetLen { inode: self.inode, len });
    }
}

impl WriteFile for FaultyFile {
    fn preallocate(&mut self, len: u64) -> io::Result<()> {
        if self.disk.lock().faults.disk_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let longer = self.disk.lock().inodes[self.inode].len() < len as usize;
        if longer {
            self.set_len(len);
        }
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.faults.failing_syncs > 0 {
            disk.faults.failing_syncs -= 1;
            return Err(io::Error::other("injected: input/output error"));
        }
        disk.faults.check(&self.path)?;
        disk.log.push(Op::Sync { inode: self.inode });
        Ok(())
    }
}

struct NoLock;

impl DirLock for NoLock {}

impl Fs for FaultyFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut disk = self.0.lock();
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| disk.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.faults.check(path)?;
        let inode = disk.inodes.len();
        disk.inodes.push(Vec::new());
        disk.names.insert(path.to_owned(), inode);
        disk.log.push(Op::Create { inode, path: path.to_owned() });
        Ok(Box::new(FaultyFile { disk: self.0.clone(), path: path.to_owned(), inode, at: 0 }))
    }

    fn append(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        let inode = *self.0.lock().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut file = FaultyFile { disk: self.0.clone(), path: path.to_owned(), inode, at: len };
        file.set_len(len);
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.0.lock();
        let inode = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(disk.inodes[inode].clone())
    }

    fn map(&self, path: &Path) -> io::Result<Arc<Mapped>> {
        if self.0.lock().faults.too_many_open {
            return Err(rustix::io::Errno::MFILE.into());
        }
        Ok(Arc::new(Mapped::Heap(self.read(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), inode);
        disk.log.push(Op::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        disk.log.push(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.names.retain(|name, _| !name.starts_with(path));
        disk.dirs.retain(|dir| !dir.starts_with(path));
        disk.log.push(Op::RemoveDir { path: path.to_owned() });
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        for dir in path.ancestors() {
            if disk.dirs.insert(dir.to_owned()) {
                disk.log.push(Op::CreateDir { path: dir.to_owned() });
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().log.push(Op::SyncDir { path: path.to_owned() });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.lock();
        if !disk.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |p: &PathBuf| {
            (p.parent() == Some(path))
                .then(|| p.file_name())
                .flatten()
                .map(|n| n.to_string_lossy().into_owned())
        };
        let mut names: Vec<String> =
            disk.names.keys().filter_map(inside).chain(disk.dirs.iter().filter_map(inside)).collect();
        names.sort();
        Ok(names)
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.0.lock().faults.free_bytes.unwrap_or(1 << 40))
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn DirLock>> {
        Ok(Box::new(NoLock))
    }
}
