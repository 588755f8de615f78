//! A manifest: its edits, one after the other.

use std::io::{self, Write};
use std::path::Path;

use super::{InspectError, Instant};
use crate::storage::live::segment_path;
use crate::storage::manifest::{FORMAT_VERSION, SegmentEntry, read_edits};

pub(super) fn edits(bytes: &[u8], path: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let (edits, end) = read_edits(bytes, path)?;
    writeln!(out, "manifest {} (format {FORMAT_VERSION}), {} bytes", path.display(), bytes.len())?;
    for edit in &edits {
        write!(out, "edit: highest sequence number {}", edit.max_seq)?;
        match edit.wal_done {
            Some(generation) => writeln!(out, ", log sealed up to generation {generation}")?,
            None => writeln!(out)?,
        }
        for id in &edit.remove {
            writeln!(out, "  remove {id}")?;
        }
        for added in &edit.add {
            write!(out, "  add ")?;
            entry(added, out)?;
        }
    }
    if end < bytes.len() {
        writeln!(out, "torn: the last {} bytes are no whole edit", bytes.len() - end)?;
    }
    Ok(())
}

pub(super) fn entry(entry: &SegmentEntry, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{}: level {}, {} to {}, sequence {} to {}, {} series, {} rows, {} bytes",
        segment_path(entry).display(),
        entry.level,
        Instant(entry.min_time),
        Instant(entry.max_time),
        entry.min_seq,
        entry.max_seq,
        entry.series,
        entry.rows,
        entry.bytes
    )
}
