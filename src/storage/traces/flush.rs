//! Heads and segments into one new segment: sealing sorts the rows of heads by trace, merging walks segments that are
//! sorted already.

use std::io::{self, Write};
use std::sync::Arc;

use super::columns::{RowCursor, SpanColumns};
use super::head::SpanHead;
use super::segment_reader::TracesSegment;
use super::segment_writer::{RowKey, RowSource, TracesSegmentWriter};
use super::view::SpanView;
use crate::codec::Malformed;
use crate::codec::rows::RowSet;
use crate::codec::text::Effort;
use crate::model::nanos::to_millis;
use crate::model::{Nanos, TimeRange, TraceId};
use crate::storage::errors::MergeError;
use crate::storage::segment::{SegmentError, SegmentMeta};

/// Writes the spans of all heads that start in `range`; gives nothing back where there are none.
pub fn write_generation<W: Write>(
    heads: &[Arc<SpanHead>],
    range: TimeRange,
    seqs: (u64, u64),
    to: W,
) -> io::Result<Option<(W, SegmentMeta)>> {
    let heads: Vec<_> = heads.iter().map(|head| head.all_rows()).collect();
    let row_count = heads.iter().flat_map(|head| &head.chunks).map(|chunk| chunk.row_count()).sum();
    let mut rows: Vec<HeadRow> = Vec::with_capacity(row_count);
    for (head, held) in heads.iter().enumerate() {
        for (chunk, rows_of) in held.chunks.iter().enumerate() {
            let inside =
                rows_of.rows().enumerate().filter(|(_, (row, _))| range.contains(to_millis(row.start)));
            rows.extend(inside.map(|(at, (row, _))| HeadRow {
                trace_id: row.trace_id,
                start: row.start,
                place: [head as u32, chunk as u32, at as u32],
            }));
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_unstable();
    let mut writer = TracesSegmentWriter::new(to, Effort::Fast)?;
    for same in rows.chunk_by(|a, b| (a.trace_id, a.start) == (b.trace_id, b.start)) {
        let mut spans: Vec<_> = same
            .iter()
            .map(|row| {
                let [head, chunk, at] = row.place.map(|number| number as usize);
                let (held, chunk) = (&heads[head], &heads[head].chunks[chunk]);
                let encoded = chunk.encoded(at);
                let span = SpanView::parse(encoded).expect("receivers and replay check what they hand over");
                (span, encoded, &held.origins[chunk.row(at).origin as usize].encoded)
            })
            .collect();
        if spans.len() > 1 {
            // What was sent twice is kept once.
            spans.sort_by(|a, b| (a.0.start, a.0.span_id, a.1, a.2).cmp(&(b.0.start, b.0.span_id, b.1, b.2)));
            spans.dedup_by(|a, b| (a.1, a.2) == (b.1, b.2));
        }
        for (span, _, origin) in &spans {
            writer.span(span, origin)?;
        }
    }
    writer.finish(seqs).map(Some)
}

/// A span in a head.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HeadRow {
    trace_id: TraceId,
    start: Nanos,
    /// Head, chunk, row.
    place: [u32; 3],
}

/// Writes what segments hold. `is_stopping` is asked before each block that is read; of each input one block is in memory.
pub fn merge_segments<W: Write>(
    inputs: &[Arc<TracesSegment>],
    seqs: (u64, u64),
    to: W,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<(W, SegmentMeta)>, MergeError> {
    let mut sources = Vec::new();
    for input in inputs {
        let mut source = Source { segment: input, next: 0, block: None };
        source.advance_block()?;
        sources.push(source);
    }
    let mut writer = TracesSegmentWriter::new(to, Effort::Best).map_err(MergeError::Write)?;
    sources.retain(|source| source.block.is_some());
    while let Some((first, limit)) = next_run(&sources) {
        let source = &mut sources[first];
        copy_run(source, limit, &mut writer)?;
        if source.is_used_up() {
            if is_stopping() {
                return Err(MergeError::Stopped);
            }
            source.advance_block()?;
            sources.retain(|source| source.block.is_some());
        }
    }
    if writer.row_count() == 0 {
        return Ok(None);
    }
    writer.finish(seqs).map(Some).map_err(MergeError::Write)
}

/// A segment that is walked from its first row to its last.
struct Source<'a> {
    segment: &'a TracesSegment,
    /// The block after the one at hand.
    next: u64,
    /// `None` behind the last.
    block: Option<SourceBlock>,
}

struct SourceBlock {
    columns: SpanColumns,
    at: RowCursor,
    source: RowSource,
}

impl Source<'_> {
    fn advance_block(&mut self) -> Result<(), SegmentError> {
        self.block = None;
        if self.next < self.segment.block_count()? {
            let (chunk, at) = self.segment.entry(self.next)?;
            let block = self.segment.block(&chunk, at)?;
            let columns = block.columns(&block.traces()?, &RowSet::all(block.entry.row_count))?;
            let at = RowCursor::first(&columns);
            self.block = Some(SourceBlock { columns, at, source: RowSource::default() });
            self.next += 1;
        }
        Ok(())
    }

    fn is_used_up(&self) -> bool {
        self.block.as_ref().is_none_or(|block| block.at.row == block.columns.len())
    }

    fn damaged(&self, what: Malformed) -> MergeError {
        match self.segment.segment().section(super::segment_layout::DATA) {
            Ok(data) => data.damaged(0, what).into(),
            Err(missing) => missing.into(),
        }
    }
}

/// The source with the first key, and the first key of the others, up to which its rows are next.
fn next_run(sources: &[Source<'_>]) -> Option<(usize, Option<RowKey>)> {
    let key = |source: &Source<'_>| source.block.as_ref().map(|block| block.columns.key(block.at.row));
    let first = (0..sources.len()).min_by_key(|&at| key(&sources[at]))?;
    let others = sources.iter().enumerate().filter(|(at, _)| *at != first);
    Some((first, others.filter_map(|(_, source)| key(source)).min()))
}

/// Copies the rows of the block at hand whose keys are not above `limit`, and not there yet.
fn copy_run<W: Write>(
    source: &mut Source<'_>,
    limit: Option<RowKey>,
    writer: &mut TracesSegmentWriter<W>,
) -> Result<(), MergeError> {
    let Some(mut block) = source.block.take() else { return Ok(()) };
    while block.at.row < block.columns.len() {
        let key = block.columns.key(block.at.row);
        if limit.is_some_and(|limit| key > limit) {
            break;
        }
        let columns = &block.columns;
        if writer.last_key() > Some(key) {
            return Err(source.damaged(Malformed("spans are not in order")));
        }
        let is_there = writer.last_key() == Some(key)
            && writer.has_last(columns, &block.at).map_err(|what| source.damaged(what))?;
        if !is_there {
            let copied = writer.row(columns, &block.at, &mut block.source).map_err(MergeError::Write)?;
            copied.map_err(|what| source.damaged(what))?;
        }
        block.at.next(columns);
    }
    source.block = Some(block);
    Ok(())
}
