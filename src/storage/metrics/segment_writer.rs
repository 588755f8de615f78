//! Writes the series of a segment in order of their labels. Blocks stream out as they come; what is kept is the
//! index: about four bytes a label and a few dozen a block of the current chunk.

mod buckets;
mod ordered_index;
mod shared;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::Arc;

use roaring::RoaringBitmap;

use ordered_index::OrderedIndex;
use shared::{Blocks, Columns};

use super::SampleBuffer;
use super::segment_layout::{
    ABSENT, BLOCK_EXEMPLARS_MAX, BLOCK_HISTOGRAMS_MAX, BLOCK_SAMPLES_MAX, Column, DATA, EXEMPLARS_CODEC,
    HISTOGRAMS_CODEC, METADATA, METRIC_TYPES, STARTS, SeriesRow, encode_absent,
};
use crate::codec::varint::write_u64;
use crate::codec::{Effort, compressed, floats, histograms, integers, put_text, timestamps};
use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, Timestamp};
use crate::storage::segment::{Checking, SegmentMeta, SegmentWriter};
use crate::storage::signal::Signal;

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
    /// Series that came with nothing.
    absent: RoaringBitmap,
    scratch: Vec<u8>,
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
            absent: RoaringBitmap::new(),
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
        self.index.add(labels.clone());
        self.data(data)
    }

    /// Adds a series whose labels stand in the index that [`MetricsSegmentWriter::finish_with_index`] will write. One that has
    /// nothing is in the index alone: readers are told that it is not here.
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
        let blocks = series.float_blocks + series.histogram_blocks + series.exemplar_blocks;
        if blocks == 0 && series.starts == 0 {
            self.absent.insert(self.meta.series_count as u32);
        }
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
        self.columns.finish(&mut self.to)?;
        self.blocks.finish(&mut self.to)?;
        write_index(&mut self.to)?;
        self.to.paged(STARTS, &self.starts)?;
        self.to.paged(METADATA, &encode_metadata(&self.metadata))?;
        if !self.absent.is_empty() {
            let mut absent = Vec::new();
            encode_absent(&self.absent, &mut absent);
            self.to.paged(ABSENT, &absent)?;
        }
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
        let new = match self.columns.find(times) {
            Ok(number) => return Ok(number),
            Err(new) => new,
        };
        assert!(times.windows(2).all(|w| w[0] < w[1]), "timestamps do not increase");
        let offset = self.to.section_len();
        self.scratch.clear();
        timestamps::encode_with(times, self.effort, &mut self.scratch);
        let len = self.to.write_block(&self.scratch)?;
        let (first, last) = (times[0], times[times.len() - 1]);
        Ok(self.columns.add(new, Column { offset, len, sample_count: times.len(), first, last }))
    }

    /// Writes a block unless one of the same bytes is there.
    fn put_block(&mut self, column: u64, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.scratch.clear();
        encode(&mut self.scratch);
        let hash = Blocks::hash_of(&self.scratch);
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
