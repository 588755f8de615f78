//! A data directory at a glance, and the files of a generation of its log.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::{InspectError, log, manifest};
use crate::storage::fs::Fs;
use crate::storage::manifest::read_edits;

/// What is live: the segments that the manifest lists, and the generations of the log that are not sealed.
pub(super) fn data_dir(fs: &dyn Fs, dir: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let path = dir.join("MANIFEST");
    let (edits, _) = read_edits(&fs.read(&path).map_err(io_error(&path))?, &path)?;
    let (mut live, mut sealed) = (BTreeMap::new(), 0);
    for edit in edits {
        live.retain(|id, _| !edit.remove.contains(id));
        live.extend(edit.add.into_iter().map(|entry| (entry.id, entry)));
        sealed = edit.wal_done.map_or(sealed, |done| done.max(sealed));
    }
    writeln!(out, "data directory {}", dir.display())?;
    writeln!(out, "segments: {}", live.len())?;
    for entry in live.values() {
        write!(out, "  ")?;
        manifest::entry(entry, out)?;
    }
    writeln!(out, "log: generations up to {sealed} are sealed")?;
    let wal = dir.join("wal");
    for name in fs.list(&wal).map_err(io_error(&wal))? {
        // The next start removes what is sealed; a running server may do so at any moment.
        let files = fs.list(&wal.join(&name)).unwrap_or_default();
        let state =
            if name.parse().is_ok_and(|number: u64| number <= sealed) { "sealed" } else { "to replay" };
        writeln!(out, "  wal/{name}: {state}, files: {}", files.len())?;
    }
    Ok(())
}

/// Each file of a generation in turn.
pub(super) fn generation(fs: &dyn Fs, dir: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let names = fs.list(dir).map_err(io_error(dir))?;
    for name in names.iter().filter(|name| name.ends_with(".wal")) {
        let path = dir.join(name);
        log::file(&fs.read(&path).map_err(io_error(&path))?, &path, out)?;
    }
    Ok(())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> InspectError + '_ {
    move |source| InspectError::Io { path: path.to_owned(), source }
}
