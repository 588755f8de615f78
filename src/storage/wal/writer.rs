//! Writing a generation: files of up to 64 MiB, one after the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::FileHeader;
use super::{file_name, generation_dir};
use crate::storage::fs::{Fs, WriteFile};

/// The directories and files of the log, created on demand.
#[derive(Clone)]
pub struct FileLog {
    pub fs: Arc<dyn Fs>,
    pub data_dir: PathBuf,
    /// The size at which the next file starts.
    pub file_bytes: u64,
    /// Room is reserved this much at a time: a full disk shows before a frame is half written, most syncs need not
    /// record a new length, and a store at rest does not hold 64 MiB for nothing.
    pub reserve_bytes: u64,
}

/// Appends frames to one generation. The first file is created with the first frame, so a store at rest holds no
/// log at all.
pub struct GenerationWriter {
    log: FileLog,
    generation: u64,
    next_number: u32,
    current: Option<OpenFile>,
    follows_failure: bool,
}

struct OpenFile {
    file: Box<dyn WriteFile>,
    path: PathBuf,
    len: u64,
    reserved: u64,
    dirty: bool,
}

impl GenerationWriter {
    pub fn new(log: FileLog, generation: u64) -> GenerationWriter {
        GenerationWriter { log, generation, next_number: 0, current: None, follows_failure: false }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the last frames went, for messages.
    pub fn path(&self) -> PathBuf {
        match &self.current {
            Some(open) => open.path.clone(),
            None => generation_dir(&self.log.data_dir, self.generation),
        }
    }

    /// Writes whole frames. After an error nothing of `frames` may be assumed written: [`GenerationWriter::give_up`]
    /// and write them again.
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|open| open.len + frames.len() as u64 > self.log.file_bytes) {
            self.finish_file()?;
        }
        if self.current.is_none() {
            self.current = Some(self.start_file()?);
        }
        let open = self.current.as_mut().expect("opened above");
        open.reserve(open.len + frames.len() as u64, self.log.reserve_bytes)?;
        open.file.write_all(frames)?;
        open.len += frames.len() as u64;
        open.dirty = true;
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        match &mut self.current {
            Some(open) if open.dirty => {
                open.file.sync()?;
                open.dirty = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Abandons the current file after a failed write or sync; the next frames start another one. The kernel may
    /// have dropped what a failed sync covered and report success the next time, so the file is never touched again.
    pub fn give_up(&mut self) {
        self.current = None;
        self.follows_failure = true;
    }

    /// Ends the last file: it is cut to its content and synced.
    pub fn finish_file(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.current {
            open.file.cut(open.len)?;
            open.file.sync()?;
            self.current = None;
        }
        Ok(())
    }

    fn start_file(&mut self) -> io::Result<OpenFile> {
        let dir = generation_dir(&self.log.data_dir, self.generation);
        // Also where there are files already: a generation may be sealed, and its log removed, while frames that
        // could not be written wait for the disk. The next start removes what they make then.
        self.log.fs.create_dir(&dir)?;
        if self.next_number == 0 {
            self.log.fs.sync_dir(dir.parent().expect("the log has a directory of its own"))?;
        }
        let number = self.next_number;
        // The number is used up even if the rest fails: a file that may hold anything is never written again.
        self.next_number += 1;
        let path = dir.join(file_name(number));
        let open = self.create_file(&dir, &path, number);
        if open.is_err() {
            let _ = self.log.fs.remove(&path);
        }
        let open = open?;
        self.follows_failure = false;
        Ok(open)
    }

    fn create_file(&self, dir: &Path, path: &Path, number: u32) -> io::Result<OpenFile> {
        let header =
            FileHeader { generation: self.generation, number, follows_failure: self.follows_failure };
        let header = header.encode();
        let file = self.log.fs.create(path)?;
        let mut open =
            OpenFile { file, path: path.to_owned(), len: header.len() as u64, reserved: 0, dirty: true };
        open.reserve(open.len, self.log.reserve_bytes)?;
        open.file.write_all(&header)?;
        self.log.fs.sync_dir(dir)?;
        Ok(open)
    }
}

impl OpenFile {
    fn reserve(&mut self, len: u64, step: u64) -> io::Result<()> {
        if len > self.reserved {
            let reserved = len.next_multiple_of(step);
            self.file.preallocate(reserved)?;
            self.reserved = reserved;
        }
        Ok(())
    }
}
