//! Segments into one: large blocks are copied as they are; the others of a group are put together and encoded anew, and
//! what is there twice among them is then there once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::head::{Share, group_fingerprint};
use super::rows::{LogRowsBuffer, Rows, identity};
use super::segment_layout::{BLOCK_ROWS_MAX, BLOCK_TEXT_BYTES};
use super::segment_reader::{FoundBlock, LogsSegment};
use super::segment_writer::LogsSegmentWriter;
use super::selection::StreamNumbers;
use super::snapshot::LogAsk;
use crate::codec::text::Effort;
use crate::model::{Labels, Lookout, NanoRange, Nanos, StopSign};
use crate::storage::errors::MergeError;
use crate::storage::index::LabelsReader;
use crate::storage::segment::{SegmentError, SegmentMeta};

/// Lines that are in memory to be put in order of time. Blocks that overlap more than that stay overlapping.
const SORTED_BYTES: usize = 4 * BLOCK_TEXT_BYTES;

/// Writes a segment of what segments hold, given in order of sequence; none if that is nothing. `is_stopping` is asked
/// before each block.
pub(in crate::storage) fn merge_segments<W: Write>(
    inputs: &[Arc<LogsSegment>],
    seqs: (u64, u64),
    to: W,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<(W, SegmentMeta)>, MergeError> {
    let mut soft_labels = BTreeSet::new();
    for input in inputs {
        soft_labels.extend(input.soft_labels()?);
    }
    let mut to = LogsSegmentWriter::new(to, soft_labels.clone(), Effort::Best).map_err(MergeError::Write)?;
    let plan = name_streams(inputs, &soft_labels, &mut to)?;
    if plan.groups.is_empty() {
        return Ok(None);
    }
    for group in &plan.groups {
        GroupMerge { inputs, numbers: &plan.numbers, sorting: Vec::new(), sorting_bytes: 0 }.run(
            group,
            &mut to,
            &is_stopping,
        )?;
        to.end_group().map_err(MergeError::Write)?;
    }
    to.finish(seqs).map(Some).map_err(MergeError::Write)
}

struct Plan {
    /// Of each input: the new numbers of its streams.
    numbers: Vec<Vec<u32>>,
    /// Of each new group: the groups it comes from, as inputs and numbers there.
    groups: Vec<BTreeSet<(usize, u32)>>,
}

/// Names the streams of all inputs in order of their labels, each once.
fn name_streams<W: Write>(
    inputs: &[Arc<LogsSegment>],
    soft_labels: &BTreeSet<String>,
    to: &mut LogsSegmentWriter<W>,
) -> Result<Plan, MergeError> {
    let soft: Vec<String> = soft_labels.iter().cloned().collect();
    let mut plan = Plan { numbers: vec![Vec::new(); inputs.len()], groups: Vec::new() };
    let mut known: HashMap<u128, u32, RandomState> = HashMap::default();
    let mut readers: Vec<LabelsReader> = inputs.iter().map(|input| input.index().labels_reader()).collect();
    let mut next: Vec<Option<Labels>> = Vec::new();
    for (input, reader) in inputs.iter().zip(&mut readers) {
        next.push(labels_at(input, reader, 0)?);
    }
    while let Some(labels) = next.iter().flatten().min().cloned() {
        let new_group = known.len() as u32;
        let group = *known.entry(group_fingerprint(&labels, &soft)).or_insert(new_group);
        if group == new_group {
            plan.groups.push(BTreeSet::new());
        }
        let number = to.stream(labels.clone(), group);
        for (at, input) in inputs
            .iter()
            .enumerate()
            .filter(|(at, _)| next[*at].as_ref() == Some(&labels))
            .collect::<Vec<_>>()
        {
            let stream = plan.numbers[at].len() as u32;
            plan.groups[group as usize].insert((at, input.group_of(stream)?));
            plan.numbers[at].push(number);
            next[at] = labels_at(input, &mut readers[at], stream + 1)?;
            if next[at].as_ref().is_some_and(|next| *next <= labels) {
                return Err(input.out_of_order().into());
            }
        }
    }
    Ok(plan)
}

fn labels_at(
    segment: &LogsSegment,
    reader: &mut LabelsReader<'_>,
    stream: u32,
) -> Result<Option<Labels>, SegmentError> {
    if stream < segment.stream_count() { reader.labels(stream).map(Some) } else { Ok(None) }
}

/// The blocks of one new group on their way into the segment.
struct GroupMerge<'a> {
    inputs: &'a [Arc<LogsSegment>],
    numbers: &'a [Vec<u32>],
    /// Rows of small blocks that are not yet written.
    sorting: Vec<DecodedBlock>,
    sorting_bytes: usize,
}

/// The rows of a block, their stream numbers those of the new segment.
struct DecodedBlock {
    rows: Rows,
    /// Blocks of one input, and rows of one block, in order of arrival.
    arrival: (usize, u64),
}

impl GroupMerge<'_> {
    fn run<W: Write>(
        mut self,
        sources: &BTreeSet<(usize, u32)>,
        to: &mut LogsSegmentWriter<W>,
        is_stopping: &impl Fn() -> bool,
    ) -> Result<(), MergeError> {
        for (input, number) in self.blocks_by_time(sources)? {
            if is_stopping() {
                return Err(MergeError::Stopped);
            }
            let block = self.inputs[input].block(number)?;
            if is_to_stay(&block) {
                self.copy(input, &block, to)?;
            } else {
                self.decode(input, number, &block)?;
                if self.sorting_bytes >= SORTED_BYTES {
                    self.write_sorted(to)?;
                }
            }
        }
        self.write_sorted(to)
    }

    /// All blocks of the sources, as input and number there.
    fn blocks_by_time(&self, sources: &BTreeSet<(usize, u32)>) -> Result<Vec<(usize, u64)>, MergeError> {
        let mut blocks: Vec<(Nanos, usize, u64)> = Vec::new();
        for &(input, group) in sources {
            for number in self.inputs[input].group_blocks(group.into())? {
                blocks.push((self.inputs[input].block(number)?.header().min_time, input, number));
            }
        }
        blocks.sort_unstable();
        Ok(blocks.into_iter().map(|(_, input, number)| (input, number)).collect())
    }

    fn copy<W: Write>(
        &self,
        input: usize,
        block: &FoundBlock,
        to: &mut LogsSegmentWriter<W>,
    ) -> Result<(), MergeError> {
        // What is being filled stays so: blocks of a group may come in any order.
        let renumbered = |share: &Share| Ok(Share { stream: self.number(input, share.stream)?, ..*share });
        let shares = block.shares().iter().map(renumbered).collect::<Result<Vec<_>, SegmentError>>()?;
        let (parts, grams) = (self.inputs[input].raw_block(block)?, self.inputs[input].raw_grams(block)?);
        to.copy(*block.header(), shares, parts, grams).map_err(MergeError::Write)
    }

    fn decode(&mut self, input: usize, number: u64, block: &FoundBlock) -> Result<(), MergeError> {
        let mut read = LogRowsBuffer::default();
        let numbers = StreamNumbers::all(block.shares());
        let never = StopSign::never();
        let lookout = Lookout::new(&never);
        self.inputs[input].read_block(block, &numbers, &LogAsk::all(NanoRange::ALL), &lookout, &mut read)?;
        let mut streams = Vec::new();
        for share in block.shares() {
            streams.push(self.number(input, share.stream)?);
        }
        let rows = Rows {
            timestamps: read.timestamps,
            streams: read.streams.iter().map(|&stream| streams[stream as usize]).collect(),
            lines: read.lines,
            metadata: read.metadata,
        };
        self.sorting_bytes += rows.text_bytes();
        self.sorting.push(DecodedBlock { rows, arrival: (input, number) });
        Ok(())
    }

    fn number(&self, input: usize, stream: u32) -> Result<u32, SegmentError> {
        let number = self.numbers[input].get(stream as usize).copied();
        number.ok_or_else(|| self.inputs[input].no_such_stream())
    }

    /// Writes the rows of the decoded blocks in order of time, those of one instant in order of arrival; what was sent again
    /// and sealed twice, once.
    fn write_sorted<W: Write>(&mut self, to: &mut LogsSegmentWriter<W>) -> Result<(), MergeError> {
        let mut blocks = std::mem::take(&mut self.sorting);
        self.sorting_bytes = 0;
        blocks.sort_unstable_by_key(|block| block.arrival);
        let mut places: Vec<(Nanos, u32, u32)> = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            let times = block.rows.timestamps.iter().enumerate();
            places.extend(times.map(|(row, &time)| (time, number as u32, row as u32)));
        }
        places.sort_unstable();
        // What was written before may be younger.
        if places.first().is_some_and(|first| to.last_time().is_some_and(|last| first.0 < last)) {
            to.cut().map_err(MergeError::Write)?;
        }
        let mut known: HashSet<(u32, u128), RandomState> = HashSet::default();
        for instant in places.chunk_by(|a, b| a.0 == b.0) {
            // A head keeps what is the same once, so that it can only be in several blocks.
            let may_repeat = instant.iter().any(|(_, block, _)| *block != instant[0].1);
            known.clear();
            for &(_, block, row) in instant {
                let (rows, row) = (&blocks[block as usize].rows, row as usize);
                let stream = rows.streams[row];
                let entry = || (stream, identity(rows.lines.get(row), rows.metadata.of(row)));
                if !may_repeat || known.insert(entry()) {
                    to.row(rows, row, stream).map_err(MergeError::Write)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a block is copied: another merge would hardly make it larger. What was sealed large stays too: encoding two
/// million lines anew took a third of all their CPU time and saved half a per cent of the bytes.
fn is_to_stay(block: &FoundBlock) -> bool {
    let header = block.header();
    let share = if header.is_final { 4 } else { 2 };
    header.line_bytes >= BLOCK_TEXT_BYTES as u64 / share
        || header.row_count >= BLOCK_ROWS_MAX / share as usize
}
