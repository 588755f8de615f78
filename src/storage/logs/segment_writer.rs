//! Writes a segment: first its streams are named, in order of their labels, then come the blocks, group by group. Blocks
//! stream out as they come; what is kept is the index, and of each block of the current chunk some dozen bytes and what
//! its lines are made of: that of a chunk lies together behind its blocks, since who looks at one looks at all.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use foldhash::fast::RandomState;

use super::block;
use super::head::{METADATA_NAMES_MAX, Share};
use super::rows::Rows;
use super::segment_layout::{
    self as layout, BLOCK_ROWS_MAX, BLOCK_TEXT_BYTES, BLOCKS, BlockHeader, BlockRow, DATA, GRAMS, GROUPS,
    SOFT_LABELS, STREAMS,
};
use crate::codec::text::Effort;
use crate::codec::varint::write_u64;
use crate::codec::{compressed, put_text};
use crate::model::nanos::to_millis;
use crate::model::{Labels, Nanos};
use crate::storage::index::IndexWriter;
use crate::storage::segment::{CHUNK_ROWS, Checking, SegmentMeta, SegmentWriter, TableWriter};
use crate::storage::signal::Signal;

pub(super) struct LogsSegmentWriter<W> {
    to: SegmentWriter<W>,
    meta: SegmentMeta,
    index: IndexWriter,
    last_labels: Option<Labels>,
    /// Of each stream.
    groups: Vec<u32>,
    group_count: u32,
    blocks: BlockTable,
    /// How many blocks each finished group has.
    block_counts: Vec<u64>,
    soft_labels: BTreeSet<String>,
    filling: FillingBlock,
    effort: Effort,
    min_time: Nanos,
    max_time: Nanos,
}

/// The blocks so far.
#[derive(Default)]
struct BlockTable {
    table: TableWriter,
    grams: TableWriter,
    pending: Vec<BlockRow>,
    /// The filter of each pending block, perhaps empty.
    pending_grams: Vec<Vec<u8>>,
    /// Where the first of the pending ones lies.
    chunk_start: u64,
    count: u64,
}

/// The block that rows are put into.
#[derive(Default)]
struct FillingBlock {
    rows: Rows,
    shares: Vec<Share>,
    /// Numbers of streams in the block.
    numbers: HashMap<u32, u32, RandomState>,
}

impl<W: Write> LogsSegmentWriter<W> {
    /// `soft_labels`: which labels do not part groups.
    pub fn new(to: W, soft_labels: BTreeSet<String>, effort: Effort) -> io::Result<LogsSegmentWriter<W>> {
        let mut to = SegmentWriter::new(to)?;
        to.begin(DATA, Checking::Blocks);
        Ok(LogsSegmentWriter {
            to,
            meta: SegmentMeta { signal: Signal::Logs.byte(), ..SegmentMeta::default() },
            index: IndexWriter::default(),
            last_labels: None,
            groups: Vec::new(),
            group_count: 0,
            blocks: BlockTable::default(),
            block_counts: Vec::new(),
            soft_labels,
            filling: FillingBlock::default(),
            effort,
            min_time: Nanos::MAX,
            max_time: Nanos::MIN,
        })
    }

    /// Names a stream, in strictly increasing order of labels; answers with its number. Groups are numbered in the order in
    /// which they first appear here.
    pub fn stream(&mut self, labels: Labels, group: u32) -> u32 {
        assert!(self.last_labels.as_ref().is_none_or(|last| *last < labels), "stream out of order: {labels}");
        assert!(group <= self.group_count, "groups are numbered as they appear");
        self.group_count = self.group_count.max(group + 1);
        self.index.add(&labels);
        self.groups.push(group);
        self.last_labels = Some(labels);
        self.groups.len() as u32 - 1
    }

    /// Adds a row of `from` to the group that is open. Rows come in order of time, but for those after [`Self::cut`].
    pub fn row(&mut self, from: &Rows, row: usize, stream: u32) -> io::Result<()> {
        self.filling.push(from, row, stream);
        if self.filling.is_full() { self.cut() } else { Ok(()) }
    }

    /// The time of the last row of the block that is being filled.
    pub fn last_time(&self) -> Option<Nanos> {
        self.filling.rows.timestamps.last().copied()
    }

    /// Ends the block that is being filled.
    pub fn cut(&mut self) -> io::Result<()> {
        if self.filling.rows.len() == 0 {
            return Ok(());
        }
        let offset = self.to.section_len();
        let FillingBlock { rows, shares, numbers } = &mut self.filling;
        let (header, grams) = block::write(rows, shares.len(), self.effort, &mut self.to)?;
        rows.clear();
        numbers.clear();
        let shares = std::mem::take(shares);
        self.note_block(offset, BlockRow { header, shares }, grams)
    }

    /// Adds a block as it is, with its grams; its streams have their numbers here, and stay in the order of their numbers
    /// in the block.
    pub fn copy(
        &mut self,
        header: BlockHeader,
        shares: Vec<Share>,
        parts: &[u8],
        grams: &[u8],
    ) -> io::Result<()> {
        assert_eq!(header.lens.total(), parts.len() as u64, "a block is as long as its parts");
        let offset = self.to.section_len();
        self.to.write(parts)?;
        self.note_block(offset, BlockRow { header, shares }, grams.to_vec())
    }

    /// Ends the group that is open; groups come in order of their numbers.
    pub fn end_group(&mut self) -> io::Result<()> {
        self.cut()?;
        let before: u64 = self.block_counts.iter().sum();
        self.block_counts.push(self.blocks.count - before);
        Ok(())
    }

    /// Ends the file, which is then flushed but not synced. The sequence numbers are those of the log records that
    /// went in here.
    pub fn finish(mut self, (min_seq, max_seq): (u64, u64)) -> io::Result<(W, SegmentMeta)> {
        assert_eq!(self.block_counts.len(), self.group_count as usize, "every group was written");
        (self.meta.min_seq, self.meta.max_seq) = (min_seq, max_seq);
        self.meta.series_count = self.groups.len() as u64;
        if self.meta.row_count > 0 {
            (self.meta.min_time, self.meta.max_time) = (to_millis(self.min_time), to_millis(self.max_time));
        }
        self.blocks.flush(&mut self.to)?;
        self.to.end()?;
        self.blocks.table.finish(BLOCKS, &mut self.to)?;
        self.blocks.grams.finish(GRAMS, &mut self.to)?;
        let (mut groups, mut first_block) = (TableWriter::default(), 0);
        for counts in self.block_counts.chunks(CHUNK_ROWS) {
            groups.chunk(counts.len(), |out| layout::encode_groups(first_block, counts, out));
            first_block += counts.iter().sum::<u64>();
        }
        groups.finish(GROUPS, &mut self.to)?;
        self.index.finish(&mut self.to)?;
        let mut streams = TableWriter::default();
        for groups in self.groups.chunks(CHUNK_ROWS) {
            streams.chunk(groups.len(), |out| layout::encode_streams(groups, out));
        }
        streams.finish(STREAMS, &mut self.to)?;
        self.to.paged(SOFT_LABELS, &encode_soft_labels(&self.soft_labels))?;
        let file = self.to.finish(&self.meta)?;
        Ok((file, self.meta))
    }

    fn note_block(&mut self, offset: u64, block: BlockRow, grams: Vec<u8>) -> io::Result<()> {
        self.meta.row_count += block.header.row_count as u64;
        self.min_time = self.min_time.min(block.header.min_time);
        self.max_time = self.max_time.max(block.header.max_time);
        self.blocks.add(offset, block, grams, &mut self.to)
    }
}

impl BlockTable {
    fn add<W: Write>(
        &mut self,
        offset: u64,
        block: BlockRow,
        grams: Vec<u8>,
        to: &mut SegmentWriter<W>,
    ) -> io::Result<()> {
        if self.pending.is_empty() {
            self.chunk_start = offset;
        }
        self.pending.push(block);
        self.pending_grams.push(grams);
        self.count += 1;
        if self.pending.len() == CHUNK_ROWS { self.flush(to) } else { Ok(()) }
    }

    /// Ends the chunk, and writes the grams of its blocks behind the last of them.
    fn flush<W: Write>(&mut self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let encode = |out: &mut Vec<u8>| layout::encode_blocks(self.chunk_start, &self.pending, out);
        self.table.chunk(self.pending.len(), encode);
        let (offset, mut lens) = (to.section_len(), Vec::with_capacity(self.pending.len()));
        for grams in self.pending_grams.drain(..) {
            lens.push(if grams.is_empty() { 0 } else { to.write_block(&grams)? });
        }
        self.grams.chunk(self.pending.len(), |out| layout::encode_grams(offset, &lens, out));
        self.pending.clear();
        Ok(())
    }
}

impl FillingBlock {
    fn push(&mut self, from: &Rows, row: usize, stream: u32) {
        let shares = &mut self.shares;
        let number = *self.numbers.entry(stream).or_insert_with(|| {
            shares.push(Share { stream, rows: 0, bytes: 0 });
            shares.len() as u32 - 1
        });
        self.rows.push_from(from, row, number);
        let share = &mut self.shares[number as usize];
        share.rows += 1;
        share.bytes += from.line_len(row) as u64;
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK_ROWS_MAX
            || self.rows.text_bytes() >= BLOCK_TEXT_BYTES
            || self.rows.metadata.name_count() >= METADATA_NAMES_MAX
    }
}

fn encode_soft_labels(names: &BTreeSet<String>) -> Vec<u8> {
    let (mut content, mut out) = (Vec::new(), Vec::new());
    write_u64(&mut content, names.len() as u64);
    names.iter().for_each(|name| put_text(&mut content, name));
    compressed::encode(&content, &mut out);
    out
}
