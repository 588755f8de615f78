//! Reads the blocks of a segment in place, part by part. Every part is checked before it is decoded.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::block_reader::{BlockReading, Parts};
use super::head::Share;
use super::rows::LogRowsBuffer;
use super::segment_layout::{
    self as layout, BLOCKS, Block, BlockChunk, BlockHeader, DATA, GRAMS, GROUPS, PartLens, SOFT_LABELS,
    SOFT_LABELS_BYTES_MAX, STREAMS,
};
use super::selection::StreamNumbers;
use super::snapshot::LogAsk;
use crate::codec::{Malformed, compressed, take_count, take_text};
use crate::model::nanos::to_millis;
use crate::model::{Lookout, Matcher, NanoRange, Nanos, StopSign};
use crate::storage::index::Index;
use crate::storage::segment::{CHUNK_ROWS, ChunkCache, SectionId, Segment, SegmentError, SegmentMeta, Table};

/// A sealed segment of logs. Streams are ordinals, 0 and up in order of their labels; blocks are numbered group by group.
pub struct LogsSegment {
    segment: Arc<Segment>,
    index: Index,
    blocks: ChunkCache<BlockChunk>,
    groups: ChunkCache<Vec<Range<u64>>>,
    streams: ChunkCache<Vec<u32>>,
}

/// A block and the chunk of the table that it was found in.
pub(super) struct FoundBlock {
    chunk: Arc<BlockChunk>,
    at: usize,
}

impl FoundBlock {
    pub fn header(&self) -> &BlockHeader {
        &self.block().header
    }

    /// What its streams have in it; the order is that of the numbers in the block.
    pub fn shares(&self) -> &[Share] {
        self.chunk.shares(self.block())
    }

    fn block(&self) -> &Block {
        &self.chunk.blocks[self.at]
    }
}

/// What a person wants to know of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBlockSummary {
    pub group: u64,
    pub stream_count: usize,
    pub row_count: usize,
    /// Of lines.
    pub line_bytes: u64,
    pub first: Nanos,
    pub last: Nanos,
    /// Bytes on the disk, of its lines and of all of it.
    pub stored_line_bytes: u64,
    pub stored_bytes: u64,
    /// Of the filter of its grams, which lies elsewhere; 0 if it has none.
    pub stored_gram_bytes: u64,
    /// Names of metadata.
    pub metadata: Vec<String>,
}

impl LogsSegment {
    /// Reads nothing yet.
    pub fn open(segment: Segment) -> LogsSegment {
        let segment = Arc::new(segment);
        let index = Index::new(segment.clone());
        let (blocks, groups, streams) = Default::default();
        LogsSegment { segment, index, blocks, groups, streams }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn meta(&self) -> &SegmentMeta {
        self.segment.meta()
    }

    /// Names and values of labels.
    pub fn index(&self) -> &Index {
        &self.index
    }

    pub fn stream_count(&self) -> u32 {
        self.index.series_count()
    }

    pub fn block_count(&self) -> Result<u64, SegmentError> {
        Ok(Table::open(self.segment.section(BLOCKS)?)?.row_count())
    }

    pub fn group_count(&self) -> Result<u64, SegmentError> {
        Ok(Table::open(self.segment.section(GROUPS)?)?.row_count())
    }

    /// Whether any block with entries in `range` may hold a trace id among its metadata.
    pub fn may_hold_trace_id(&self, id: &str, range: NanoRange) -> Result<bool, SegmentError> {
        for number in 0..self.block_count()? {
            let block = self.block(number)?;
            if block.header().overlaps(range)
                && block.header().lens.directory > 0
                && self.parts(&block)?.may_hold_trace_id(id)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the table tells of each block, for people.
    pub fn block_summaries(&self) -> Result<Vec<LogBlockSummary>, SegmentError> {
        let mut summaries = Vec::new();
        for group in 0..self.group_count()? {
            for number in self.group_blocks(group)? {
                let block = self.block(number)?;
                let header = block.header();
                summaries.push(LogBlockSummary {
                    group,
                    stream_count: block.shares().len(),
                    row_count: header.row_count,
                    line_bytes: header.line_bytes,
                    first: header.min_time,
                    last: header.max_time,
                    stored_line_bytes: header.lens.lines,
                    stored_bytes: header.lens.total(),
                    stored_gram_bytes: block.block().grams.map_or(0, |place| place.len),
                    metadata: self
                        .parts(&block)?
                        .directory()?
                        .into_iter()
                        .map(|column| column.name)
                        .collect(),
                });
            }
        }
        Ok(summaries)
    }

    /// Decodes everything once and compares every checksum; the first damage is the answer.
    pub fn verify(&self) -> Result<(), SegmentError> {
        self.segment.verify()?;
        self.index.verify()?;
        self.soft_labels()?;
        self.verify_streams()?;
        let (mut row_count, mut next_block) = (0, 0);
        let (mut min_time, mut max_time) = (Nanos::MAX, Nanos::MIN);
        for group in 0..self.group_count()? {
            let blocks = self.group_blocks(group)?;
            if blocks.start != next_block {
                return Err(self.damaged(GROUPS, Malformed("the groups do not share out the blocks")));
            }
            next_block = blocks.end;
            for number in blocks {
                let header = self.verify_block(number, group)?;
                row_count += header.row_count as u64;
                (min_time, max_time) = (min_time.min(header.min_time), max_time.max(header.max_time));
            }
        }
        let times = if row_count == 0 { (0, 0) } else { (to_millis(min_time), to_millis(max_time)) };
        let meta = self.meta();
        if next_block != self.block_count()?
            || row_count != meta.row_count
            || times != (meta.min_time, meta.max_time)
        {
            return Err(self.damaged(BLOCKS, Malformed("the blocks are not what the footer says")));
        }
        Ok(())
    }

    fn verify_streams(&self) -> Result<(), SegmentError> {
        let mut group_count = 0;
        for stream in 0..self.stream_count() {
            let group = self.group_of(stream)?;
            if group > group_count {
                return Err(self.out_of_order());
            }
            group_count = group_count.max(group + 1);
        }
        if u64::from(group_count) == self.group_count()? {
            Ok(())
        } else {
            Err(self.damaged(GROUPS, Malformed("the count of groups is not that of the streams")))
        }
    }

    fn verify_block(&self, number: u64, group: u64) -> Result<BlockHeader, SegmentError> {
        let block = self.block(number)?;
        let mut out = LogRowsBuffer::default();
        let numbers = StreamNumbers::all(block.shares());
        let never = StopSign::never();
        let lookout = Lookout::new(&never);
        self.read_block(&block, &numbers, &LogAsk::all(NanoRange::ALL), &lookout, &mut out)?;
        let mut told = vec![(0, 0); block.shares().len()];
        for (stream, len) in out.streams.iter().zip(&out.line_lens) {
            told[*stream as usize].0 += 1;
            told[*stream as usize].1 += u64::from(*len);
        }
        let is_right = block.shares().iter().zip(told).all(|(share, told)| (share.rows, share.bytes) == told);
        let mut groups = BTreeSet::new();
        for share in block.shares() {
            groups.insert(u64::from(self.group_of(share.stream)?));
        }
        if !is_right || groups != BTreeSet::from([group]) {
            return Err(self.damaged(BLOCKS, Malformed("a block's streams are not what the table says")));
        }
        let header = block.header();
        let parts = self.parts(&block)?;
        if header.lens.trace_ids > 0 {
            parts.may_hold_trace_id("")?;
        }
        if !parts.may_hold_all(out.lines.iter())? {
            return Err(self.damaged(GRAMS, Malformed("a line has a gram that its block has not")));
        }
        Ok(*header)
    }

    /// The streams that all matchers let through.
    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
    ) -> Result<RoaringBitmap, SegmentError> {
        self.index.select(matchers, lookout)
    }

    /// Calls `each` with the number of each block that overlaps `range` and has entries of any of these streams.
    pub(super) fn for_each_block(
        &self,
        streams: &RoaringBitmap,
        range: NanoRange,
        lookout: &Lookout<'_>,
        mut each: impl FnMut(u64, &FoundBlock),
    ) -> Result<(), SegmentError> {
        let mut groups = RoaringBitmap::new();
        for stream in streams {
            if lookout.gives_up_before(0) {
                break;
            }
            groups.insert(self.group_of(stream)?);
        }
        for group in groups {
            for number in self.group_blocks(group.into())? {
                let block = self.block(number)?;
                if lookout.gives_up_before(block.shares().len()) {
                    return Ok(());
                }
                if block.header().overlaps(range)
                    && block.shares().iter().any(|share| streams.contains(share.stream))
                {
                    each(number, &block);
                }
            }
        }
        Ok(())
    }

    /// The group of a stream.
    pub fn group_of(&self, stream: u32) -> Result<u32, SegmentError> {
        let chunk = u64::from(stream) / CHUNK_ROWS as u64;
        let groups = self.streams.get(chunk, || {
            let table = Table::open(self.segment.section(STREAMS)?)?;
            table.chunk(chunk, layout::decode_streams)
        })?;
        let group = groups.get(stream as usize % CHUNK_ROWS).copied();
        group.ok_or_else(|| self.damaged(STREAMS, Malformed("a stream without a group")))
    }

    /// The numbers of a group's blocks.
    pub(super) fn group_blocks(&self, group: u64) -> Result<Range<u64>, SegmentError> {
        let chunk = group / CHUNK_ROWS as u64;
        let groups = self.groups.get(chunk, || {
            let block_count = self.block_count()?;
            let table = Table::open(self.segment.section(GROUPS)?)?;
            table.chunk(chunk, |bytes, rows| layout::decode_groups(bytes, rows, block_count))
        })?;
        let blocks = groups.get((group % CHUNK_ROWS as u64) as usize).cloned();
        blocks.ok_or_else(|| self.damaged(GROUPS, Malformed("there is no such group")))
    }

    pub(super) fn block(&self, number: u64) -> Result<FoundBlock, SegmentError> {
        let number_of_chunk = number / CHUNK_ROWS as u64;
        let chunk = self.blocks.get(number_of_chunk, || {
            let table = Table::open(self.segment.section(BLOCKS)?)?;
            let mut chunk = table.chunk(number_of_chunk, |bytes, rows| {
                BlockChunk::decode(bytes, rows, self.meta().series_count)
            })?;
            // Segments before version 1.2 have none.
            if let Some(grams) = self.segment.sections().find(|section| section.id() == GRAMS) {
                Table::open(grams)?.chunk(number_of_chunk, |bytes, rows| chunk.add_grams(bytes, rows))?;
            }
            Ok(chunk)
        })?;
        let at = (number % CHUNK_ROWS as u64) as usize;
        if at >= chunk.blocks.len() {
            return Err(self.damaged(BLOCKS, Malformed("there is no such block")));
        }
        Ok(FoundBlock { chunk, at })
    }

    /// Names of the labels that do not part groups.
    pub(super) fn soft_labels(&self) -> Result<BTreeSet<String>, SegmentError> {
        let section = self.segment.section(SOFT_LABELS)?;
        decode_soft_labels(section.all()?).map_err(|what| section.damaged(0, what))
    }

    /// All parts of a block, each with its right checksum, to be copied.
    pub(super) fn raw_block(&self, block: &FoundBlock) -> Result<&[u8], SegmentError> {
        let parts = self.parts(block)?;
        let mut offset = parts.offset;
        for (at, len) in block.header().lens.all().into_iter().enumerate().filter(|(_, len)| *len > 0) {
            if at != PartLens::COLUMNS {
                parts.section.block(offset, len)?;
            }
            offset += len;
        }
        for column in parts.directory()? {
            parts.column(&column)?;
        }
        Ok(&self.segment.section(DATA)?.raw()[parts.offset as usize..offset as usize])
    }

    /// The filter of a block's grams, with its right checksum, to be copied; empty if it has none.
    pub(super) fn raw_grams<'a>(&'a self, block: &'a FoundBlock) -> Result<&'a [u8], SegmentError> {
        Ok(self.parts(block)?.grams()?.unwrap_or_default())
    }

    /// Appends the entries of a block that belong to the streams in `numbers` and that `ask` wants. On damage nothing is
    /// there.
    pub(super) fn read_block(
        &self,
        block: &FoundBlock,
        numbers: &StreamNumbers,
        ask: &LogAsk<'_>,
        lookout: &Lookout<'_>,
        out: &mut LogRowsBuffer,
    ) -> Result<(), SegmentError> {
        let numbers = block.shares().iter().map(|share| numbers.get(share.stream)).collect();
        let read = BlockReading { header: block.header(), numbers, parts: self.parts(block)?, ask, lookout }
            .read(out);
        if read.is_err() {
            out.clear();
        }
        read
    }

    fn parts<'a>(&'a self, block: &'a FoundBlock) -> Result<Parts<'a>, SegmentError> {
        let section = self.segment.section(DATA)?;
        let &Block { offset, header, grams, .. } = block.block();
        let end = offset.checked_add(header.lens.total());
        if end.is_none_or(|end| end > section.len()) {
            return Err(section.damaged(offset, Malformed("a block lies behind the end")));
        }
        let are_lines_checked = &block.block().are_lines_checked;
        Ok(Parts { section, offset, lens: header.lens, grams, are_lines_checked })
    }

    /// The error of a stream whose labels do not come behind those of the one before.
    pub(super) fn out_of_order(&self) -> SegmentError {
        self.damaged(STREAMS, Malformed("streams are not in order"))
    }

    /// The error of a block that names a stream which the segment has not.
    pub(super) fn no_such_stream(&self) -> SegmentError {
        self.damaged(BLOCKS, Malformed("a block of a stream that there is not"))
    }

    fn damaged(&self, id: SectionId, what: Malformed) -> SegmentError {
        match self.segment.section(id) {
            Ok(section) => section.damaged(0, what),
            Err(missing) => missing,
        }
    }
}

fn decode_soft_labels(bytes: &[u8]) -> Result<BTreeSet<String>, Malformed> {
    let content = compressed::decode(bytes, SOFT_LABELS_BYTES_MAX)?;
    let bytes = &mut &content[..];
    let mut names = BTreeSet::new();
    for _ in 0..take_count(bytes, bytes.len())? {
        names.insert(take_text(bytes)?.to_owned());
    }
    Ok(names)
}
