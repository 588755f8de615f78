//! Writes the series of a segment in order of their labels. Blocks stream out as they come; what is kept is the
//! index: about four bytes a label and a few dozen a block of the current chunk.

mod buckets;
mod ordered_index;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::io::{self, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

pub(super) use ordered_index::{OrderedIndex, OutOfOrder};

use super::SampleBuffer;
use super::segment_layout::{
    self as layout, BLOCK_EXEMPLARS_MAX, BLOCK_HISTOGRAMS_MAX, BLOCK_SAMPLES_MAX, BLOCKS, BlockRow, COLUMNS,
    Column, DATA, EXEMPLARS_CODEC, HISTOGRAMS_CODEC, METADATA, METRIC_TYPES, STARTS, SeriesRow,
};
use crate::codec::varint::write_u64;
use crate::codec::{Effort, compressed, floats, histograms, integers, put_text, timestamps};
use crate::model::rollup::BucketTimes;
use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, Timestamp};
use crate::storage::segment::{CHECK_LEN, CHUNK_ROWS, Checking, SegmentMeta, SegmentWriter, TableWriter};
use crate::storage::signal::Signal;

/// Columns remembered for sharing; at 32 bytes each that is 4 MiB. Then the writer forgets and begins again.
const SHARED_COLUMNS_MAX: usize = 128 << 10;

/// Blocks remembered for sharing, likewise less than 1 MiB. Series that are equal are mostly neighbours: all buckets of
/// a histogram above its largest value, and its count.
const SHARED_BLOCKS_MAX: usize = 16 << 10;

/// What is shorter is shared only with the block before it: to point elsewhere takes some bytes twice.
const SHARED_BLOCK_LEN_MIN: usize = 24;

/// What one series has. Times of a slice strictly increase, those of exemplars do not decrease.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesData<'a> {
    pub float_timestamps: &'a [Timestamp],
    pub floats: &'a [f64],
    pub histogram_timestamps: &'a [Timestamp],
    pub histograms: &'a [Arc<Histogram>],
    /// (from this time on, the series counts since that start)
    pub starts: &'a [(Timestamp, Timestamp)],
    pub exemplars: &'a [Exemplar],
}

impl<'a> From<&'a SampleBuffer> for SeriesData<'a> {
    fn from(samples: &'a SampleBuffer) -> SeriesData<'a> {
        SeriesData {
            float_timestamps: &samples.float_timestamps,
            floats: &samples.floats,
            histogram_timestamps: &samples.histogram_timestamps,
            histograms: &samples.histograms,
            ..SeriesData::default()
        }
    }
}

pub struct MetricsSegmentWriter<W> {
    to: SegmentWriter<W>,
    effort: Effort,
    meta: SegmentMeta,
    /// Of the series that come with their labels.
    index: OrderedIndex,
    columns: Columns,
    blocks: Blocks,
    starts: Vec<u8>,
    /// Offsets of the entries of STARTS, by their bytes.
    known_starts: HashMap<Vec<u8>, u64, foldhash::fast::RandomState>,
    metadata: BTreeMap<String, BTreeSet<(usize, String, String)>>,
    scratch: Vec<u8>,
}

/// The timestamp columns so far.
#[derive(Default)]
struct Columns {
    table: TableWriter,
    pending: Vec<Column>,
    count: u64,
    /// What was asked for last: series in order of their labels often share their times with the next ones.
    last: Vec<Timestamp>,
    /// The same of the times of buckets.
    last_buckets: BucketTimes,
    last_number: u64,
    /// Numbers of columns by a hash of their content.
    known: HashMap<u128, u64, foldhash::fast::RandomState>,
}

/// The blocks so far.
#[derive(Default)]
struct Blocks {
    table: TableWriter,
    series: Vec<SeriesRow>,
    pending: Vec<BlockRow>,
    /// Where the first block of the pending ones counts from, and where the last one ended.
    chunk_start: u64,
    end: u64,
    /// The bytes of the block before.
    last: Vec<u8>,
    /// Offsets of blocks by a hash of their bytes.
    known: HashMap<u128, u64, foldhash::fast::RandomState>,
}

impl<W: Write> MetricsSegmentWriter<W> {
    /// `tier_resolution_ms`: 0 for samples as sent.
    pub fn new(to: W, tier_resolution_ms: u32, tenant: u64) -> io::Result<MetricsSegmentWriter<W>> {
        let mut to = SegmentWriter::new(to)?;
        to.begin(DATA, Checking::Blocks);
        let (min_time, max_time) = (Timestamp::MAX, Timestamp::MIN);
        let signal = Signal::Metrics.byte();
        Ok(MetricsSegmentWriter {
            to,
            effort: Effort::Fast,
            meta: SegmentMeta {
                signal,
                tier_resolution_ms,
                tenant,
                min_time,
                max_time,
                ..Default::default()
            },
            index: OrderedIndex::default(),
            columns: Columns::default(),
            blocks: Blocks::default(),
            starts: Vec::new(),
            known_starts: HashMap::default(),
            metadata: BTreeMap::new(),
            scratch: Vec::new(),
        })
    }

    /// How hard to look for small blocks; [`Effort::Fast`] unless told.
    pub fn with_effort(mut self, effort: Effort) -> MetricsSegmentWriter<W> {
        self.effort = effort;
        self
    }

    /// Adds a series; series come in strictly increasing order of labels. For tests, and the fixtures of formats: seals and merges know
    /// the index of most series beforehand.
    pub fn series(&mut self, labels: &Labels, data: &SeriesData<'_>) -> io::Result<()> {
        self.index.add(labels.clone()).expect("series come in order of their labels");
        self.data(data)
    }

    /// Adds a series whose labels stand in the index that [`MetricsSegmentWriter::finish_with_index`] will write.
    pub(super) fn unlabelled_series(&mut self, data: &SeriesData<'_>) -> io::Result<()> {
        self.data(data)
    }

    fn data(&mut self, data: &SeriesData<'_>) -> io::Result<()> {
        let ordinal = self.meta.series_count;
        assert_eq!(self.meta.tier_resolution_ms, 0, "samples in a segment of buckets");
        assert_eq!(data.float_timestamps.len(), data.floats.len(), "floats of series {ordinal}");
        assert_eq!(data.histogram_timestamps.len(), data.histograms.len(), "histograms of series {ordinal}");
        let exemplar_times = [data.exemplars.first(), data.exemplars.last()];
        for times in [data.float_timestamps, data.histogram_timestamps] {
            self.cover(times.first().copied().into_iter().chain(times.last().copied()));
            self.meta.row_count += times.len() as u64;
        }
        self.cover(exemplar_times.into_iter().flatten().map(|e| e.timestamp));

        let series = SeriesRow {
            float_blocks: data.floats.len().div_ceil(BLOCK_SAMPLES_MAX),
            histogram_blocks: data.histograms.len().div_ceil(BLOCK_HISTOGRAMS_MAX),
            exemplar_blocks: data.exemplars.len().div_ceil(BLOCK_EXEMPLARS_MAX),
            starts: self.put_starts(data.starts),
        };
        let effort = self.effort;
        let times = data.float_timestamps.chunks(BLOCK_SAMPLES_MAX);
        for (times, values) in times.zip(data.floats.chunks(BLOCK_SAMPLES_MAX)) {
            let column = self.put_column(times)?;
            self.put_block(column, |out| floats::encode_with(values, effort, out))?;
        }
        let times = data.histogram_timestamps.chunks(BLOCK_HISTOGRAMS_MAX);
        for (times, values) in times.zip(data.histograms.chunks(BLOCK_HISTOGRAMS_MAX)) {
            let column = self.put_column(times)?;
            self.put_block(column, |out| encode_histograms(values, effort, out))?;
        }
        for exemplars in data.exemplars.chunks(BLOCK_EXEMPLARS_MAX) {
            self.put_block(0, |out| encode_exemplars(exemplars, out))?;
        }
        self.end_series(series);
        Ok(())
    }

    fn end_series(&mut self, series: SeriesRow) {
        self.meta.series_count += 1;
        self.blocks.add_series(series);
    }

    /// Adds what is known of a metric family; the same again is no more.
    pub fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        let number = METRIC_TYPES.iter().position(|t| *t == metadata.metric_type);
        let number = number.expect("every type has a number");
        let known = self.metadata.entry(family.to_owned()).or_default();
        known.insert((number, metadata.help.clone(), metadata.unit.clone()));
    }

    pub fn series_count(&self) -> usize {
        self.meta.series_count as usize
    }

    /// Ends a file of series that came with their labels, which is then flushed but not synced. The sequence numbers are those of the
    /// log records that went in here.
    pub fn finish(mut self, min_seq: u64, max_seq: u64) -> io::Result<(W, SegmentMeta)> {
        let index = std::mem::take(&mut self.index);
        assert_eq!(index.series_count(), self.series_count(), "a series has no labels");
        self.finish_with_index(min_seq, max_seq, |to| index.finish(to))
    }

    /// The same of series that came without their labels, with an index that somebody else has of them.
    pub(super) fn finish_with_index(
        mut self,
        min_seq: u64,
        max_seq: u64,
        write_index: impl FnOnce(&mut SegmentWriter<W>) -> io::Result<()>,
    ) -> io::Result<(W, SegmentMeta)> {
        (self.meta.min_seq, self.meta.max_seq) = (min_seq, max_seq);
        if self.meta.min_time > self.meta.max_time {
            (self.meta.min_time, self.meta.max_time) = (0, 0);
        }
        self.to.end()?;
        self.columns.flush();
        self.columns.table.finish(COLUMNS, &mut self.to)?;
        self.blocks.flush();
        self.blocks.table.finish(BLOCKS, &mut self.to)?;
        write_index(&mut self.to)?;
        self.to.paged(STARTS, &self.starts)?;
        self.to.paged(METADATA, &encode_metadata(&self.metadata))?;
        let file = self.to.finish(&self.meta)?;
        Ok((file, self.meta))
    }

    fn cover(&mut self, times: impl Iterator<Item = Timestamp>) {
        for time in times {
            self.meta.min_time = self.meta.min_time.min(time);
            self.meta.max_time = self.meta.max_time.max(time);
        }
    }

    /// Writes a timestamp column unless an equal one is there; answers with its number.
    fn put_column(&mut self, times: &[Timestamp]) -> io::Result<u64> {
        let columns = &mut self.columns;
        if columns.last == times {
            return Ok(columns.last_number);
        }
        columns.last.clear();
        columns.last.extend_from_slice(times);
        let hash = content_hash(times);
        if let Some(&number) = columns.known.get(&hash) {
            columns.last_number = number;
            return Ok(number);
        }
        assert!(times.windows(2).all(|w| w[0] < w[1]), "timestamps do not increase");
        let offset = self.to.section_len();
        self.scratch.clear();
        timestamps::encode_with(times, self.effort, &mut self.scratch);
        let len = self.to.write_block(&self.scratch)?;
        let (first, last) = (times[0], times[times.len() - 1]);
        let number = self.columns.add(hash, Column { offset, len, sample_count: times.len(), first, last });
        self.columns.last_number = number;
        Ok(number)
    }

    /// Writes a block unless one of the same bytes is there.
    fn put_block(&mut self, column: u64, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.scratch.clear();
        encode(&mut self.scratch);
        let hash = (self.scratch.len() >= SHARED_BLOCK_LEN_MIN).then(|| xxh3_128(&self.scratch));
        let offset = match self.blocks.offset_of(&self.scratch, hash) {
            Some(offset) => offset,
            None => {
                let offset = self.to.section_len();
                self.to.write_block(&self.scratch)?;
                offset
            }
        };
        self.blocks.add(&self.scratch, hash, offset, column);
        Ok(())
    }

    /// 0, or 1 + the offset of an entry with these starts.
    fn put_starts(&mut self, starts: &[(Timestamp, Timestamp)]) -> u64 {
        if starts.is_empty() {
            return 0;
        }
        let mut entry = Vec::new();
        write_u64(&mut entry, starts.len() as u64);
        integers::encode(&starts.iter().map(|s| s.0).collect::<Vec<_>>(), &mut entry);
        integers::encode(&starts.iter().map(|s| s.1).collect::<Vec<_>>(), &mut entry);
        if let Some(&offset) = self.known_starts.get(&entry) {
            return 1 + offset;
        }
        let offset = self.starts.len() as u64;
        self.starts.extend_from_slice(&entry);
        self.known_starts.insert(entry, offset);
        1 + offset
    }
}

impl Columns {
    fn add(&mut self, hash: u128, column: Column) -> u64 {
        if self.known.len() >= SHARED_COLUMNS_MAX {
            self.known.clear();
        }
        let number = self.count;
        self.known.insert(hash, number);
        self.count += 1;
        self.pending.push(column);
        if self.pending.len() == CHUNK_ROWS {
            self.flush();
        }
        number
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.table.chunk(self.pending.len(), |out| layout::encode_columns(&self.pending, out));
            self.pending.clear();
        }
    }
}

impl Blocks {
    /// Where a block of these bytes lies.
    fn offset_of(&self, bytes: &[u8], hash: Option<u128>) -> Option<u64> {
        if bytes == self.last {
            return Some(self.end - block_len(bytes));
        }
        self.known.get(&hash?).copied()
    }

    /// Adds a block that lies at `offset`; without a hash it is shared with the next one only.
    fn add(&mut self, bytes: &[u8], hash: Option<u128>, offset: u64, column: u64) {
        let len = block_len(bytes);
        self.pending.push(BlockRow { skip: offset.wrapping_sub(self.end), len, column });
        self.end = offset + len;
        self.last.clear();
        self.last.extend_from_slice(bytes);
        if let Some(hash) = hash {
            if self.known.len() >= SHARED_BLOCKS_MAX {
                self.known.clear();
            }
            self.known.insert(hash, offset);
        }
    }

    fn add_series(&mut self, series: SeriesRow) {
        self.series.push(series);
        if self.series.len() == CHUNK_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.series.is_empty() {
            let encode =
                |out: &mut Vec<u8>| layout::encode_blocks(self.chunk_start, &self.series, &self.pending, out);
            self.table.chunk(self.series.len(), encode);
            self.series.clear();
            self.pending.clear();
        }
        self.chunk_start = self.end;
    }
}

fn block_len(bytes: &[u8]) -> u64 {
    (bytes.len() + CHECK_LEN) as u64
}

/// For what is compared within one run alone.
fn content_hash(content: impl Hash) -> u128 {
    let mut hasher = Xxh3Default::new();
    content.hash(&mut hasher);
    hasher.digest128()
}

fn encode_histograms(values: &[Arc<Histogram>], effort: Effort, out: &mut Vec<u8>) {
    out.push(HISTOGRAMS_CODEC);
    histograms::encode_block_with(values, effort, out);
}

fn encode_exemplars(exemplars: &[Exemplar], out: &mut Vec<u8>) {
    let mut content = Vec::new();
    write_u64(&mut content, exemplars.len() as u64);
    integers::encode(&exemplars.iter().map(|e| e.timestamp).collect::<Vec<_>>(), &mut content);
    for exemplar in exemplars {
        content.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    }
    for exemplar in exemplars {
        write_u64(&mut content, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            put_text(&mut content, name);
            put_text(&mut content, value);
        }
    }
    out.push(EXEMPLARS_CODEC);
    compressed::encode(&content, out);
}

fn encode_metadata(families: &BTreeMap<String, BTreeSet<(usize, String, String)>>) -> Vec<u8> {
    let mut content = Vec::new();
    write_u64(&mut content, families.values().map(BTreeSet::len).sum::<usize>() as u64);
    for (family, known) in families {
        for (number, help, unit) in known {
            put_text(&mut content, family);
            content.push(*number as u8);
            put_text(&mut content, help);
            put_text(&mut content, unit);
        }
    }
    let mut out = Vec::new();
    compressed::encode(&content, &mut out);
    out
}
