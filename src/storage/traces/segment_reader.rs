//! Reads the spans of a segment in place: a trace by its id, or what a search asks of all.

use std::sync::Arc;

use super::block_reader::BlockReader;
use super::columns::RowCursor;
use super::segment_layout::{BLOCKS, BlockChunk, DATA, FILTERS, FIRST_IDS};
use super::segment_writer::trace_hash;
use super::span::{Origin, StoredSpan};
use crate::codec::Malformed;
use crate::codec::fuse::FuseFilter;
use crate::codec::rows::RowSet;
use crate::model::{Lookout, TraceId};
use crate::storage::segment::{CHUNK_ROWS, ChunkCache, Section, Segment, SegmentError, SegmentMeta, Table};

/// A sealed segment of spans. Blocks are numbered from 0, in order of their first trace ids.
pub struct TracesSegment {
    segment: Arc<Segment>,
    blocks: ChunkCache<BlockChunk>,
}

/// One block, as far as the table tells; for people.
#[derive(Clone, Debug)]
pub struct BlockSummary {
    pub first_id: TraceId,
    pub row_count: usize,
    pub trace_count: usize,
    pub first_start: i64,
    pub last_end: i64,
    /// The parts by name, with their bytes.
    pub parts: Vec<(String, u64)>,
}

/// To put the spans of a block together takes as long as to look at so many bytes at least.
const BLOCK_BYTES: usize = 1 << 12;

impl TracesSegment {
    /// Reads nothing yet.
    pub fn open(segment: Segment) -> TracesSegment {
        TracesSegment { segment: Arc::new(segment), blocks: ChunkCache::default() }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn meta(&self) -> &SegmentMeta {
        self.segment.meta()
    }

    pub fn block_count(&self) -> Result<u64, SegmentError> {
        Ok(Table::open(self.segment.section(BLOCKS)?)?.row_count())
    }

    /// The chunk of the table that tells of a block, and the block's place there.
    pub(super) fn entry(&self, block: u64) -> Result<(Arc<BlockChunk>, usize), SegmentError> {
        let chunk = block / CHUNK_ROWS as u64;
        let decoded = self.blocks.get(chunk, || {
            let data_len = self.segment.section(DATA)?.len();
            let table = Table::open(self.segment.section(BLOCKS)?)?;
            table.chunk(chunk, |bytes, rows| BlockChunk::decode(bytes, rows, data_len))
        })?;
        let at = (block % CHUNK_ROWS as u64) as usize;
        if at >= decoded.blocks.len() {
            return Err(self.segment.section(BLOCKS)?.damaged(0, Malformed("there is no such block")));
        }
        Ok((decoded, at))
    }

    /// The block that an entry of the table tells of.
    pub(super) fn block<'a>(
        &'a self,
        chunk: &'a BlockChunk,
        at: usize,
    ) -> Result<BlockReader<'a>, SegmentError> {
        Ok(BlockReader { data: self.segment.section(DATA)?, entry: &chunk.blocks[at], keys: &chunk.keys })
    }

    /// Whether the trace may be here; false only if it is not.
    fn may_hold(&self, id: TraceId) -> Result<bool, SegmentError> {
        let section = self.segment.section(FILTERS)?;
        let Some((start, end)) = self.filter_of(&section, id)? else { return Ok(false) };
        let mut bytes = section.bytes(start..end)?;
        let filter = FuseFilter::take(&mut bytes).map_err(|what| section.damaged(start, what))?;
        Ok(filter.contains(trace_hash(id)))
    }

    /// Where the filter lies that the id would be in.
    fn filter_of(&self, section: &Section<'_>, id: TraceId) -> Result<Option<(u64, u64)>, SegmentError> {
        const ROW_LEN: u64 = 16 + 8;
        let damaged = || section.damaged(section.len(), Malformed("the count of filters is impossible"));
        let count_at = section.len().checked_sub(8).ok_or_else(damaged)?;
        let count = read_u64(section, count_at)?;
        let directory = count.checked_mul(ROW_LEN).and_then(|len| count_at.checked_sub(len));
        let directory = directory.ok_or_else(damaged)?;
        let first_id =
            |row: u64| -> Result<TraceId, SegmentError> { read_id(section, directory + row * ROW_LEN) };
        let end = |row: u64| read_u64(section, directory + row * ROW_LEN + 16);
        let Some(row) = partition_point(count, |row| Ok(first_id(row)? <= id))?.checked_sub(1) else {
            return Ok(None);
        };
        Ok(Some((if row == 0 { 0 } else { end(row - 1)? }, end(row)?)))
    }

    /// The blocks that may hold a trace: more than one only if it did not fit.
    fn blocks_of(&self, id: TraceId) -> Result<std::ops::Range<u64>, SegmentError> {
        let section = self.segment.section(FIRST_IDS)?;
        let count = section.len() / 16;
        let first_id = |block: u64| read_id(&section, block * 16);
        let until = partition_point(count, |block| Ok(first_id(block)? <= id))?;
        // The one before the first that begins with the id may end with it.
        let from = partition_point(count, |block| Ok(first_id(block)? < id))?;
        Ok(from.saturating_sub(1)..until)
    }

    /// Appends the spans of a trace. Where a block is damaged, those of others are still appended, and the first damage
    /// is the answer.
    pub fn trace(
        &self,
        id: TraceId,
        lookout: &Lookout<'_>,
        spans: &mut Vec<StoredSpan>,
    ) -> Result<(), SegmentError> {
        if !self.may_hold(id)? {
            return Ok(());
        }
        let mut result = Ok(());
        for block in self.blocks_of(id)? {
            if lookout.gives_up_before(BLOCK_BYTES) {
                break;
            }
            let (chunk, at) = self.entry(block)?;
            result = result.and(trace_in_block(&self.block(&chunk, at)?, id, spans));
        }
        result
    }

    /// All blocks as the table tells of them.
    pub fn block_summaries(&self) -> Result<Vec<BlockSummary>, SegmentError> {
        let first_ids = self.segment.section(FIRST_IDS)?;
        let mut summaries = Vec::new();
        for number in 0..self.block_count()? {
            let (chunk, at) = self.entry(number)?;
            let block = self.block(&chunk, at)?;
            summaries.push(BlockSummary {
                first_id: read_id(&first_ids, number * 16)?,
                row_count: block.entry.row_count,
                trace_count: block.entry.trace_count,
                first_start: block.entry.first_start,
                last_end: block.entry.last_end,
                parts: block.part_sizes(),
            });
        }
        Ok(summaries)
    }

    /// Decodes everything once and compares every checksum; the first damage is the answer.
    pub fn verify(&self) -> Result<(), SegmentError> {
        self.segment.verify()?;
        let data = self.segment.section(DATA)?;
        let mut row_count = 0;
        let mut last = None;
        for number in 0..self.block_count()? {
            let (chunk, at) = self.entry(number)?;
            let block = self.block(&chunk, at)?;
            let columns = block.columns(&block.traces()?, &RowSet::all(block.entry.row_count))?;
            let mut cursor = RowCursor::first(&columns);
            while cursor.row < columns.len() {
                let key = columns.key(cursor.row);
                if last.is_some_and(|last| last > key) {
                    return Err(data.damaged(0, Malformed("spans are not in order")));
                }
                last = Some(key);
                columns.span(&cursor).map_err(|what| data.damaged(0, what))?;
                Origin::decode(columns.origin(cursor.row)).map_err(|what| data.damaged(0, what))?;
                cursor.next(&columns);
            }
            if !self.blocks_of(columns.trace_ids[0])?.contains(&number) {
                return Err(data.damaged(0, Malformed("a block does not begin with its first id")));
            }
            for &id in &columns.trace_ids {
                if !self.may_hold(id)? {
                    return Err(data.damaged(0, Malformed("a trace is not in the filter")));
                }
            }
            row_count += columns.len() as u64;
        }
        if row_count != self.meta().row_count {
            return Err(data.damaged(0, Malformed("the count of spans is not the footer's")));
        }
        Ok(())
    }
}

fn trace_in_block(
    block: &BlockReader<'_>,
    id: TraceId,
    spans: &mut Vec<StoredSpan>,
) -> Result<(), SegmentError> {
    let traces = block.traces()?;
    let Ok(trace) = traces.ids.binary_search(&id) else { return Ok(()) };
    let rows = traces.rows(trace);
    let mut wanted = RowSet::none(block.entry.row_count);
    rows.clone().for_each(|row| wanted.insert(row));
    let columns = block.columns(&traces, &wanted)?;
    let damaged = |what| block.data.damaged(0, what);
    let mut origins = vec![None; columns.origins.list.len()];
    let mut found = Vec::with_capacity(rows.len());
    let mut cursor = RowCursor::first(&columns);
    while cursor.row < rows.end {
        if cursor.row >= rows.start {
            let number = columns.origins.of_row[cursor.row] as usize;
            let origin: &mut Option<Arc<Origin>> = &mut origins[number];
            if origin.is_none() {
                let decoded = Origin::decode(&columns.origins.list[number]).map_err(damaged)?;
                *origin = Some(Arc::new(decoded));
            }
            let origin = origin.clone().expect("decoded above");
            found.push(StoredSpan { origin, span: columns.span(&cursor).map_err(damaged)? });
        }
        cursor.next(&columns);
    }
    spans.append(&mut found);
    Ok(())
}

/// The first of `count` rows for which `holds` does not, where it holds for none behind that.
fn partition_point(
    count: u64,
    holds: impl Fn(u64) -> Result<bool, SegmentError>,
) -> Result<u64, SegmentError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn read_id(section: &Section<'_>, at: u64) -> Result<TraceId, SegmentError> {
    let bytes = section.bytes(at..at.saturating_add(16))?;
    Ok(TraceId(bytes.try_into().expect("sixteen bytes")))
}

fn read_u64(section: &Section<'_>, at: u64) -> Result<u64, SegmentError> {
    let bytes = section.bytes(at..at.saturating_add(8))?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}
