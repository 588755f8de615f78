//! Writes the spans of a segment in order of trace id, start and span id. Blocks stream out as they fill; what is kept is
//! the table of blocks, some two hundred bytes each, and a hash for each trace of the filter that is being filled.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use foldhash::fast::RandomState;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::block_writer::{encode_parts, encode_values, trace_runs};
use super::columns::{RowCursor, SpanColumns, status_code};
use super::columns_builder::{ColumnsBuilder, Translation};
use super::segment_layout::{
    AttributePart, BLOCK_BYTES, BLOCK_ROWS, BLOCK_ROWS_LIMIT, BLOCK_ROWS_MAX, BLOCKS, BlockChunk, BlockEntry,
    DATA, FILTER_IDS, FILTERS, FIRST_IDS, Part, Place, service_bit,
};
use super::span::{Origin, duration_ns, nanos};
use super::view::SpanView;
use crate::codec::text::Effort;
use crate::codec::{Malformed, fuse};
use crate::model::nanos::to_millis;
use crate::model::{Nanos, SpanId, TraceId};
use crate::storage::segment::{CHUNK_ROWS, Checking, SegmentMeta, SegmentWriter, TableWriter};
use crate::storage::signal::Signal;

/// What rows are sorted by.
pub(super) type RowKey = (TraceId, u64, SpanId);

pub struct TracesSegmentWriter<W> {
    to: SegmentWriter<W>,
    effort: Effort,
    builder: ColumnsBuilder,
    last_key: Option<RowKey>,
    /// Counts blocks, so that what was known of the one before is not taken for this one's.
    block: u64,
    table: Blocks,
    filters: Filters,
    /// The earliest start and the latest end.
    first_start: Nanos,
    last_end: Nanos,
    row_count: u64,
    trace_count: u64,
}

/// The blocks so far.
#[derive(Default)]
struct Blocks {
    table: TableWriter,
    pending: BlockChunk,
    /// Numbers of the pending keys.
    key_numbers: HashMap<Box<str>, u32, RandomState>,
    first_ids: Vec<u8>,
}

/// The filters so far, each of a run of trace ids.
#[derive(Default)]
struct Filters {
    bytes: Vec<u8>,
    /// The first id of each filter, and where it ends.
    directory: Vec<(TraceId, u64)>,
    first_pending: Option<TraceId>,
    pending: Vec<u64>,
}

/// What the rows of some columns are called in the block that is being filled.
#[derive(Default)]
pub(super) struct RowSource {
    translation: Translation,
    /// The block that the translation is to; 0 for none.
    block: u64,
}

impl<W: Write> TracesSegmentWriter<W> {
    pub fn new(to: W, effort: Effort) -> io::Result<TracesSegmentWriter<W>> {
        let mut to = SegmentWriter::new(to)?;
        to.begin(DATA, Checking::Blocks);
        Ok(TracesSegmentWriter {
            to,
            effort,
            builder: ColumnsBuilder::default(),
            last_key: None,
            block: 1,
            table: Blocks::default(),
            filters: Filters::default(),
            first_start: Nanos::MAX,
            last_end: Nanos::MIN,
            row_count: 0,
            trace_count: 0,
        })
    }

    /// Adds a span; spans come in order of trace id, start and id.
    pub(super) fn span(&mut self, span: &SpanView<'_>, origin: &Arc<[u8]>) -> io::Result<()> {
        self.begin_row((span.trace_id, span.start, span.span_id), span.end)?;
        self.builder.push_span(span, origin);
        Ok(())
    }

    /// Copies the row that the cursor is at, as [`TracesSegmentWriter::span`] adds one.
    pub(super) fn row(
        &mut self,
        from: &SpanColumns,
        at: &RowCursor,
        source: &mut RowSource,
    ) -> io::Result<Result<(), Malformed>> {
        self.begin_row(from.key(at.row), from.ends[at.row])?;
        if source.block != self.block {
            *source = RowSource { translation: Translation::new(from), block: self.block };
        }
        Ok(self.builder.copy_row(from, at, &mut source.translation))
    }

    pub(super) fn last_key(&self) -> Option<RowKey> {
        self.last_key
    }

    /// Whether a row with the key of the last one is there already, the same in everything.
    pub(super) fn has_last(&self, from: &SpanColumns, at: &RowCursor) -> Result<bool, Malformed> {
        let columns = self.builder.columns();
        let (span, origin) = (from.span(at)?.encode_to_vec(), from.origin(at.row));
        let mut mine = RowCursor::end(columns);
        while mine.row > 0 && columns.key(mine.row - 1) == from.key(at.row) {
            mine.back(columns);
            if columns.origin(mine.row) == origin && columns.span(&mine)?.encode_to_vec() == span {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin_row(&mut self, key: RowKey, end: u64) -> io::Result<()> {
        assert!(self.last_key <= Some(key), "span out of order at trace {}", key.0);
        let is_new_trace = self.last_key.is_none_or(|last| last.0 != key.0);
        let is_new_key = self.last_key != Some(key);
        let (rows, bytes) = (self.builder.columns().len(), self.builder.content_bytes());
        let is_full = rows >= BLOCK_ROWS || bytes >= BLOCK_BYTES;
        // Rows of one key stay together as long as that is possible at all: so repeated ones meet.
        let is_overfull = rows >= BLOCK_ROWS_MAX || bytes >= 2 * BLOCK_BYTES;
        let is_impossible = rows >= BLOCK_ROWS_LIMIT || bytes >= 16 * BLOCK_BYTES;
        if is_full && is_new_trace || is_overfull && is_new_key || is_impossible {
            self.flush_block()?;
        }
        if is_new_trace {
            self.trace_count += 1;
            self.filters.add(key.0);
        }
        self.first_start = self.first_start.min(nanos(key.1));
        self.last_end = self.last_end.max(nanos(end)).max(nanos(key.1));
        self.row_count += 1;
        self.last_key = Some(key);
        Ok(())
    }

    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    fn flush_block(&mut self) -> io::Result<()> {
        let builder = std::mem::take(&mut self.builder);
        let columns = builder.columns();
        if columns.len() == 0 {
            return Ok(());
        }
        self.block += 1;
        let mut entry = summary(columns);
        let mut offset = self.to.section_len();
        let mut put = |block: &[u8]| {
            let place = Place { offset, len: self.to.write_block(block)? };
            offset += place.len;
            io::Result::Ok(place)
        };
        encode_parts(columns, self.effort, |part: Part, bytes| {
            entry.parts[part as usize] = Some(put(bytes)?);
            io::Result::Ok(())
        })?;
        let mut out = Vec::new();
        for column in &columns.attributes {
            out.clear();
            encode_values(&column.values, self.effort, &mut out);
            let (key, place) = (self.table.key_number(&column.key), put(&out)?);
            entry.attributes.push(AttributePart { key, value_type: column.values.value_type(), place });
        }
        self.table.add(columns.trace_ids[0], entry);
        Ok(())
    }

    /// Ends the file, which is then flushed but not synced. The sequence numbers are those of the log records
    /// that went in here.
    pub fn finish(mut self, (min_seq, max_seq): (u64, u64)) -> io::Result<(W, SegmentMeta)> {
        self.flush_block()?;
        self.to.end()?;
        self.table.flush();
        self.table.table.finish(BLOCKS, &mut self.to)?;
        self.to.paged(FIRST_IDS, &self.table.first_ids)?;
        self.to.paged(FILTERS, &self.filters.finish())?;
        let is_empty = self.row_count == 0;
        let meta = SegmentMeta {
            signal: Signal::Traces.byte(),
            tier_resolution_ms: 0,
            tenant: 0,
            min_time: if is_empty { 0 } else { to_millis(self.first_start) },
            max_time: if is_empty { 0 } else { to_millis(self.last_end) },
            min_seq,
            max_seq,
            series_count: self.trace_count,
            row_count: self.row_count,
        };
        Ok((self.to.finish(&meta)?, meta))
    }
}

/// What the table says of these rows; where their parts lie comes later.
fn summary(columns: &SpanColumns) -> BlockEntry {
    let times = || columns.starts.iter().zip(&columns.ends);
    let names = columns.origins.list.iter().filter_map(|origin| {
        let origin = Origin::decode(origin).expect("receivers and replay check what they hand over");
        Some(service_bit(origin.service_name()?))
    });
    BlockEntry {
        row_count: columns.len(),
        trace_count: trace_runs(columns).count(),
        first_start: times().map(|(&start, _)| nanos(start)).min().unwrap_or(0),
        last_end: times().map(|(&start, &end)| nanos(end.max(start))).max().unwrap_or(0),
        duration_max_ns: times().map(|(&start, &end)| duration_ns(start, end)).max().unwrap_or(0),
        has_error: columns.statuses.iter().any(|&number| status_code(number) == Some(2)),
        services: names.fold(0, |bits, bit| bits | bit),
        ..BlockEntry::default()
    }
}

impl Blocks {
    fn key_number(&mut self, key: &str) -> u32 {
        if let Some(&number) = self.key_numbers.get(key) {
            return number;
        }
        let number = self.pending.keys.len() as u32;
        self.pending.keys.push(key.into());
        self.key_numbers.insert(key.into(), number);
        number
    }

    fn add(&mut self, first_id: TraceId, entry: BlockEntry) {
        self.first_ids.extend_from_slice(&first_id.0);
        self.pending.blocks.push(entry);
        if self.pending.blocks.len() == CHUNK_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let chunk = std::mem::take(&mut self.pending);
        self.key_numbers.clear();
        if !chunk.blocks.is_empty() {
            self.table.chunk(chunk.blocks.len(), |out| chunk.encode(out));
        }
    }
}

/// What stands for a trace id in filters.
pub(super) fn trace_hash(id: TraceId) -> u64 {
    xxh3_64(&id.0)
}

impl Filters {
    fn add(&mut self, id: TraceId) {
        self.first_pending.get_or_insert(id);
        self.pending.push(trace_hash(id));
        if self.pending.len() == FILTER_IDS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(first) = self.first_pending.take() {
            fuse::encode(&mut self.pending, &mut self.bytes);
            self.directory.push((first, self.bytes.len() as u64));
            self.pending.clear();
        }
    }

    /// The filters, then for each its first id and where it ends, then their count.
    fn finish(mut self) -> Vec<u8> {
        self.flush();
        for (first, end) in &self.directory {
            self.bytes.extend_from_slice(&first.0);
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        self.bytes.extend_from_slice(&(self.directory.len() as u64).to_le_bytes());
        self.bytes
    }
}
