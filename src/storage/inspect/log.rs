//! A file of the log: its header, then each frame with its rows.

use std::io::{self, Write};
use std::path::Path;

use super::{InspectError, Instant, NanoInstant};
use crate::model::Labels;
use crate::storage::logs::{self, log::LoggedEntries};
use crate::storage::metrics::LoggedRows;
use crate::storage::metrics::log::read_payload;
use crate::storage::signal::Signal;
use crate::storage::wal::{Frame, read_file};

pub(super) fn file(bytes: &[u8], path: &Path, out: &mut impl Write) -> Result<(), InspectError> {
    let mut written = Ok(());
    let mut text = Vec::new();
    let summary = read_file(bytes, path.to_owned(), &mut |found| {
        if written.is_ok() {
            written = frame(&found, &mut text);
        }
    });
    let Some(summary) = summary else { return Err(InspectError::Unknown { path: path.to_owned() }) };
    written?;
    writeln!(
        out,
        "log {}: file {} of generation {} (format 1), {} bytes",
        path.display(),
        summary.number,
        summary.generation,
        bytes.len()
    )?;
    if summary.follows_failure {
        writeln!(out, "  the file before it was given up after a failed write")?;
    }
    out.write_all(&text)?;
    for damage in &summary.report.damage {
        writeln!(out, "  damaged: {} bytes at {}", damage.len, damage.offset)?;
    }
    if let Some(tail) = &summary.bad_tail {
        writeln!(out, "  no frame: the last {} bytes, at {}", tail.len, tail.offset)?;
    }
    writeln!(out, "  {} frames, {} bytes", summary.report.frames, summary.report.bytes)?;
    Ok(())
}

fn frame(frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
    let (header, len) = (frame.header, frame.payload.len());
    let signal = Signal::from_byte(header.signal);
    let name = signal.map_or(format!("signal {}", header.signal), |signal| signal.name().to_owned());
    writeln!(out, "  frame {}: {name}, shard {}, {len} bytes", header.seq, header.shard)?;
    match signal {
        Some(Signal::Metrics) => match read_payload(frame.payload) {
            Ok(found) => rows(&found, out),
            Err(error) => writeln!(out, "    {error}"),
        },
        Some(Signal::Logs) => match logs::log::read_payload(frame.payload) {
            Ok(found) => entries(&found, out),
            Err(error) => writeln!(out, "    {error}"),
        },
        _ => Ok(()),
    }
}

fn entries(found: &LoggedEntries, out: &mut impl Write) -> io::Result<()> {
    if !found.soft_labels.is_empty() {
        writeln!(out, "    soft labels {}", found.soft_labels.join(", "))?;
    }
    for (id, labels) in &found.streams {
        writeln!(out, "    stream {id} is {labels}")?;
    }
    for (id, rows) in &found.rows {
        for entry in rows.entries() {
            write!(out, "    {id} at {} {:?}", NanoInstant(entry.timestamp), entry.line)?;
            for (name, value) in entry.metadata() {
                write!(out, " {name}={value:?}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn rows(rows: &LoggedRows<'_>, out: &mut impl Write) -> io::Result<()> {
    for series in rows.series.iter() {
        writeln!(out, "    series {} is {}", series.id, Labels::from_sorted(series.labels()))?;
    }
    for row in &rows.starts {
        writeln!(
            out,
            "    {} from {} on counting since {}",
            row.id,
            Instant(row.timestamp),
            Instant(row.start)
        )?;
    }
    for row in &rows.samples {
        writeln!(out, "    {} at {} {}", row.id, Instant(row.timestamp), row.value)?;
    }
    for row in &rows.histograms {
        let (count, sum) = (row.histogram.count, row.histogram.sum);
        writeln!(out, "    {} at {} histogram, count {count}, sum {sum}", row.id, Instant(row.timestamp))?;
    }
    for row in &rows.exemplars {
        let (time, exemplar) = (Instant(row.exemplar.timestamp), &row.exemplar);
        writeln!(out, "    {} at {time} exemplar {} {}", row.id, exemplar.value, exemplar.labels)?;
    }
    for (family, metadata) in &rows.metadata {
        let (metric_type, unit, help) = (metadata.metric_type.as_str(), &metadata.unit, &metadata.help);
        writeln!(out, "    metadata {family} {metric_type}, unit {unit:?}, help {help:?}")?;
    }
    for (id, total) in &rows.delta_totals {
        writeln!(out, "    {id} running total {total:?}")?;
    }
    Ok(())
}
