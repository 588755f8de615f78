//! A segment: what the footer says, then each series or stream, and the blocks.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::{InspectError, Instant, NanoInstant};
use crate::model::nanos::to_millis;
use crate::storage::fs::Mapped;
use crate::storage::logs::{self, LogsSegment};
use crate::storage::metrics::{self, MetricsSegment};
use crate::storage::segment::Segment;
use crate::storage::signal::Signal;
use crate::storage::traces::{self, TracesSegment};

/// A segment: footer, sections, each series or stream, and the blocks.
pub fn segment(bytes: Arc<Mapped>, path: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let segment = Segment::open(bytes, path)?;
    let meta = segment.meta().clone();
    let (major, minor) = segment.version();
    writeln!(out, "segment {} (format {major}.{minor}), {} bytes", path.display(), segment.file_len())?;
    let signal = Signal::from_byte(meta.signal);
    match signal {
        Some(signal) => writeln!(out, "  signal    {}", signal.name())?,
        None => writeln!(out, "  signal    {}, unknown to this build", meta.signal)?,
    }
    match meta.tier_resolution_ms {
        0 => writeln!(out, "  tier      as sent")?,
        resolution => writeln!(out, "  tier      {resolution} ms")?,
    }
    writeln!(out, "  tenant    {}", meta.tenant)?;
    writeln!(out, "  time      {} to {}", Instant(meta.min_time), Instant(meta.max_time))?;
    writeln!(out, "  sequence  {} to {}", meta.min_seq, meta.max_seq)?;
    let per_row = segment.file_len() as f64 / meta.row_count.max(1) as f64;
    writeln!(
        out,
        "  holds     {} series, {} rows, {per_row:.3} bytes a row",
        meta.series_count, meta.row_count
    )?;
    writeln!(out, "sections")?;
    for section in segment.sections() {
        let name = match signal {
            Some(Signal::Metrics) => metrics::section_name(section.id()),
            Some(Signal::Logs) => logs::section_name(section.id()),
            Some(Signal::Traces) => traces::section_name(section.id()),
            None => "",
        };
        writeln!(out, "  {:>2} {name:<10} {:>10} bytes", section.id().0, section.len())?;
    }
    match signal {
        Some(Signal::Metrics) => series(&MetricsSegment::open(segment), out),
        Some(Signal::Logs) => entries(&LogsSegment::open(segment), out),
        Some(Signal::Traces) => spans(&TracesSegment::open(segment), out),
        None => Ok(()),
    }
}

/// Each block with its columns.
fn spans(segment: &TracesSegment, out: &mut impl Write) -> Result<(), InspectError> {
    writeln!(out, "blocks")?;
    for block in segment.block_summaries()? {
        let [first, last] = [block.first_start, block.last_end].map(|time| Instant(to_millis(time)));
        let (spans, traces) = (block.row_count, block.trace_count);
        writeln!(out, "  from {}: {spans} spans of {traces} traces, {first} to {last}", block.first_id)?;
        for (name, len) in block.parts {
            writeln!(out, "    {len:>10} bytes {name}")?;
        }
    }
    Ok(())
}

/// Each stream, then each block.
fn entries(segment: &LogsSegment, out: &mut impl Write) -> Result<(), InspectError> {
    writeln!(out, "streams")?;
    for ordinal in 0..segment.stream_count() {
        writeln!(
            out,
            "  {ordinal} {} in group {}",
            segment.index().labels(ordinal)?,
            segment.group_of(ordinal)?
        )?;
    }
    writeln!(out, "blocks")?;
    for block in segment.block_summaries()? {
        let (first, last) = (NanoInstant(block.first), NanoInstant(block.last));
        let (group, streams, rows) = (block.group, block.stream_count, block.row_count);
        writeln!(out, "  group {group}: {rows} lines of {streams} streams, {first} to {last}")?;
        let (raw, lines, all) = (block.line_bytes, block.stored_line_bytes, block.stored_bytes);
        write!(out, "    {all} bytes, {lines} of them for {raw} bytes of lines")?;
        if block.stored_gram_bytes > 0 {
            write!(out, "; {} of grams", block.stored_gram_bytes)?;
        }
        match &block.metadata[..] {
            [] => writeln!(out)?,
            names => writeln!(out, "; metadata {}", names.join(", "))?,
        }
    }
    Ok(())
}

/// The blocks of a series of rollups, and what each column takes.
fn states(segment: &MetricsSegment, ordinal: u32, out: &mut impl Write) -> Result<(), InspectError> {
    for block in segment.states_summaries(ordinal)? {
        let (first, last) = (Instant(block.ends.0), Instant(block.ends.1));
        let (count, kind, len) = (block.bucket_count, block.kind, block.len);
        writeln!(out, "    {count} buckets of {kind}, {first} to {last}, {len} bytes")?;
        let columns: Vec<_> = block.columns.iter().map(|(name, len)| format!("{name} {len}")).collect();
        writeln!(out, "      {}", columns.join(", "))?;
    }
    Ok(())
}

fn series(segment: &MetricsSegment, out: &mut impl Write) -> Result<(), InspectError> {
    writeln!(out, "series")?;
    let (absent, mut cursor) = (segment.absent()?, segment.cursor()?);
    while let Some((ordinal, labels)) = cursor.current() {
        let remark = if absent.contains(ordinal) { ", absent" } else { "" };
        writeln!(out, "  {ordinal} {labels}{remark}")?;
        if segment.resolution_ms() > 0 {
            states(segment, ordinal, out)?;
            cursor.advance()?;
            continue;
        }
        for block in segment.block_summaries(ordinal)? {
            let (first, last) = (Instant(block.first), Instant(block.last));
            let (count, kind, codec, len) = (block.sample_count, block.kind, block.codec, block.len);
            writeln!(out, "    {count} {kind}, {first} to {last}, codec {codec}, {len} bytes")?;
        }
        for (time, start) in segment.starts(ordinal)? {
            writeln!(out, "    from {} on counting since {}", Instant(time), Instant(start))?;
        }
        for exemplar in segment.exemplars(ordinal, crate::model::TimeRange::ALL)? {
            writeln!(
                out,
                "    exemplar {} {} {}",
                Instant(exemplar.timestamp),
                exemplar.value,
                exemplar.labels
            )?;
        }
        cursor.advance()?;
    }
    writeln!(out, "metadata")?;
    for (family, metadata) in segment.metadata()? {
        let (metric_type, unit, help) = (metadata.metric_type.as_str(), metadata.unit, metadata.help);
        writeln!(out, "  {family} {metric_type}, unit {unit:?}, help {help:?}")?;
    }
    Ok(())
}
