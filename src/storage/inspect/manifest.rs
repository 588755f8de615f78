//! A manifest: its edits, one after the other.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use super::{InspectError, Instant};
use crate::model::TimeRange;
use crate::storage::manifest::{SegmentEntry, read_edits, version};
use crate::storage::tier_dirs::{segment_name, tier_name};

pub(super) fn edits(bytes: &[u8], path: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let (edits, end) = read_edits(bytes, path)?;
    writeln!(out, "manifest {} (format {}), {} bytes", path.display(), version(bytes), bytes.len())?;
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
        for (resolution_ms, partition) in &edit.floors {
            let resolution = Resolution(*resolution_ms);
            writeln!(out, "  let go: {resolution} up to {}", Instant(*partition))?;
        }
        for tombstone in &edit.tombstones {
            let TimeRange { after, until } = tombstone.range;
            let (first, last) = (Instant(after.saturating_add(1)), Instant(until));
            writeln!(out, "  tombstone {}: {tombstone}, {first} to {last}", tombstone.seq)?;
        }
        for seq in &edit.forgotten {
            writeln!(out, "  forget tombstone {seq}")?;
        }
    }
    if end < bytes.len() {
        writeln!(out, "torn: the last {} bytes are no whole edit", bytes.len() - end)?;
    }
    Ok(())
}

pub(super) fn entry(entry: &SegmentEntry, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "{}: level {}, {} to {}, sequence {} to {}, {} series, {} rows, {} bytes",
        Path::new(&tier_name(entry.tier)).join(segment_name(entry)).display(),
        entry.level,
        Instant(entry.min_time),
        Instant(entry.max_time),
        entry.min_seq,
        entry.max_seq,
        entry.series,
        entry.rows,
        entry.bytes
    )?;
    match (entry.resolution_ms, entry.rolled) {
        (0, 0) => writeln!(out),
        (0, _) => writeln!(out, ", rolled up"),
        (resolution_ms, _) => writeln!(out, ", {}", Resolution(resolution_ms)),
    }
}

/// What a row stands for.
struct Resolution(u32);

impl fmt::Display for Resolution {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(to, "rows as sent"),
            ms if ms % 1000 == 0 => write!(to, "states of {} s", ms / 1000),
            ms => write!(to, "states of {ms} ms"),
        }
    }
}
