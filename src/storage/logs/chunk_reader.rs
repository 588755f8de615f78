//! Reads a chunk of the head as a block of a segment is read.

use super::head::Chunk;
use super::names::{is_name_for, rank};
use super::rows::LogRowsBuffer;
use super::selection::StreamNumbers;
use super::snapshot::LogAsk;
use crate::model::{LineFilter, Lookout};

/// Appends those of the first `row_count` rows that belong to selected streams and that are asked for.
pub(super) fn read(
    chunk: &Chunk,
    row_count: usize,
    numbers: &StreamNumbers,
    ask: &LogAsk<'_>,
    lookout: &Lookout<'_>,
    out: &mut LogRowsBuffer,
) {
    let selected: Vec<Option<u32>> = chunk.shares.iter().map(|share| numbers.get(share.stream)).collect();
    let rows = &chunk.rows;
    let wanted = |row: usize| {
        ask.range.contains(rows.timestamps[row])
            && selected[rows.streams[row] as usize].is_some()
            && passes(ask.line_filters, rows.lines.get(row), lookout)
            && ask.metadata_equals.iter().all(|(name, value)| has_metadata(chunk, row, name, value))
    };
    let mut found: Vec<usize> = (0..row_count.min(rows.len())).filter(|&row| wanted(row)).collect();
    if !chunk.is_sorted {
        // Stable: entries of one instant stay in order of arrival.
        found.sort_by_key(|&row| rows.timestamps[row]);
    }
    for row in found {
        out.timestamps.push(rows.timestamps[row]);
        out.streams
            .push(selected[rows.streams[row] as usize].expect("only rows of selected streams are wanted"));
        if ask.wants_lines {
            out.lines.push(rows.lines.get(row));
        }
        if ask.wants_line_bytes {
            out.line_lens.push(rows.line_len(row) as u32);
        }
        if ask.wants_metadata {
            let is_wanted = |name: &str| {
                ask.metadata_names.is_none_or(|names| names.iter().any(|asked| is_name_for(name, asked)))
            };
            out.metadata.push(rows.metadata.of(row).filter(|(name, _)| is_wanted(name)));
        }
    }
}

fn passes(filters: &[LineFilter], line: &str, lookout: &Lookout<'_>) -> bool {
    filters.iter().all(|filter| !lookout.gives_up_before(line.len()) && filter.matches(line, lookout))
}

fn has_metadata(chunk: &Chunk, row: usize, name: &str, value: &str) -> bool {
    // Most rows are ruled out by their values, without a look at names.
    if !chunk.rows.metadata.of(row).any(|(own, held)| held == value && is_name_for(own, name)) {
        return false;
    }
    let named = chunk.rows.metadata.of(row).filter(|(own, _)| is_name_for(own, name));
    named.min_by_key(|(own, _)| rank(own, name)).is_some_and(|(_, held)| held == value)
}
