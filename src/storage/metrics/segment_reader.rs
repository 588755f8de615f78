//! Reads the series of a segment in place, block by block. Every block is checked when it is decoded.

mod buckets;
mod cursor;
mod look_up;
mod marks;
mod newest;
mod samples;

use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

pub use buckets::StatesSummary;
pub use cursor::SeriesCursor;
pub use look_up::LookUp;
use marks::Marks;

use super::SampleBuffer;
use super::segment_layout::{
    self as layout, ABSENT, BLOCKS, BlockChunk, COLUMNS, Column, DATA, EXEMPLAR_BYTES_MAX, EXEMPLARS_CODEC,
    METADATA, METADATA_BYTES_MAX, METRIC_TYPES, STARTS, SeriesBlocks,
};
use crate::codec::states::BucketTimes;
use crate::codec::varint::read_u64;
use crate::codec::{Malformed, compressed, integers, take, take_count, take_text, take_u8};
use crate::model::{Exemplar, Labels, Lookout, Matcher, MetricMetadata, TimeRange, Timestamp};
use crate::storage::index::Index;
use crate::storage::segment::{
    CHUNK_ROWS, ChunkCache, KeptChunks, LastChunk, Segment, SegmentError, SegmentMeta, Table,
};

/// A sealed segment of metrics. Series are ordinals, 0 and up in order of their labels.
pub struct MetricsSegment {
    segment: Arc<Segment>,
    index: Index,
    blocks: KeptChunks<BlockChunk>,
    columns: ChunkCache<Vec<Column>>,
    /// Of rollups: columns of times, by their numbers. A series has some five blocks in a segment, and the next series has
    /// the same times.
    bucket_times: ChunkCache<BucketTimes, 8>,
    marks: Marks,
    absent: OnceLock<RoaringBitmap>,
}

impl MetricsSegment {
    /// Reads nothing yet.
    pub fn open(segment: Segment) -> MetricsSegment {
        let segment = Arc::new(segment);
        let index = Index::new(segment.clone());
        let (blocks, columns) = (KeptChunks::default(), ChunkCache::default());
        let (bucket_times, marks, absent) = Default::default();
        MetricsSegment { segment, index, blocks, columns, bucket_times, marks, absent }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn meta(&self) -> &SegmentMeta {
        self.segment.meta()
    }

    pub fn series_count(&self) -> u32 {
        self.index.series_count()
    }

    /// Names and values of labels.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The series that all matchers let through.
    pub fn select(&self, matchers: &[Matcher], lookout: &Lookout<'_>) -> Result<RoaringBitmap, SegmentError> {
        self.index.select(matchers, lookout)
    }

    /// Series that the index names, since it is one of other segments, too, and of which nothing is here.
    pub fn absent(&self) -> Result<&RoaringBitmap, SegmentError> {
        if let Some(absent) = self.absent.get() {
            return Ok(absent);
        }
        let absent = match self.segment.sections().find(|section| section.id() == ABSENT) {
            Some(section) => layout::decode_absent(section.all()?, self.series_count())
                .map_err(|what| section.damaged(0, what))?,
            None => RoaringBitmap::new(),
        };
        Ok(self.absent.get_or_init(|| absent))
    }

    /// For looking at series one after the other.
    pub fn look_up(&self) -> LookUp<'_> {
        LookUp::new(self)
    }

    pub fn labels(&self, ordinal: u32) -> Result<Labels, SegmentError> {
        self.index.labels(ordinal)
    }

    /// Appends the series' samples in `range`. Where a block is damaged, the others are still appended, and the
    /// first damage is the answer.
    pub fn read(
        &self,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        self.read_blocks(chunk.of(row), &mut LastChunk::default(), range, samples)
    }

    fn read_blocks(
        &self,
        blocks: SeriesBlocks<'_>,
        columns: &mut LastChunk<Vec<Column>>,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        let (mut result, mut ended) = (Ok(()), None);
        for block in blocks.floats {
            let column = self.column_in(columns, block.column);
            let column = column.and_then(|column| self.in_order(&mut ended, column));
            result = result.and(column.and_then(|column| self.read_floats(block, &column, range, samples)));
        }
        ended = None;
        for block in blocks.histograms {
            let times = &mut samples.histogram_timestamps;
            let column = self.column_in(columns, block.column);
            let read = column.and_then(|column| self.in_order(&mut ended, column)).and_then(|column| {
                self.read_histograms(block, &column, range, times, &mut samples.histograms)
            });
            result = result.and(read);
        }
        result
    }

    /// The column of a block, whose times all come after those of the blocks before it, which ended there.
    fn in_order(&self, ended: &mut Option<Timestamp>, column: Column) -> Result<Column, SegmentError> {
        if ended.is_some_and(|ended| column.first <= ended) {
            return Err(
                self.damaged_data(column.offset, Malformed("blocks of a series are not in order of time"))
            );
        }
        // It may say that it ends before it begins; who reads it reports that.
        *ended = Some(column.last.max(column.first));
        Ok(column)
    }

    /// (from this time on, the series counts since that start), in order of times.
    pub fn starts(&self, ordinal: u32) -> Result<Vec<(Timestamp, Timestamp)>, SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let Some(offset) = chunk.of(row).starts else { return Ok(Vec::new()) };
        let section = self.segment.section(STARTS)?;
        let bytes = section.bytes(offset..section.len())?;
        decode_starts(bytes).map_err(|what| section.damaged(offset, what))
    }

    /// The series' exemplars in `range`, in time order.
    pub fn exemplars(&self, ordinal: u32, range: TimeRange) -> Result<Vec<Exemplar>, SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let mut found = Vec::new();
        for block in chunk.of(row).exemplars {
            let exemplars = decode_exemplars(self.data(block.offset, block.len)?)
                .map_err(|what| self.damaged_data(block.offset, what))?;
            found.extend(exemplars.into_iter().filter(|e| range.contains(e.timestamp)));
        }
        Ok(found)
    }

    /// The blocks of a series, as far as the tables tell; for people.
    pub fn block_summaries(&self, ordinal: u32) -> Result<Vec<BlockSummary>, SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let blocks = chunk.of(row);
        let kinds = [("floats", blocks.floats), ("histograms", blocks.histograms)];
        let mut summaries = Vec::new();
        for (kind, block) in
            kinds.into_iter().flat_map(|(kind, blocks)| blocks.iter().map(move |b| (kind, b)))
        {
            let Column { sample_count, first, last, .. } = self.column(block.column)?;
            let codec = self.data(block.offset, block.len)?.first().copied().unwrap_or(0);
            summaries.push(BlockSummary { kind, codec, sample_count, first, last, len: block.len });
        }
        Ok(summaries)
    }

    /// What is known of metric families, in order of their names.
    pub fn metadata(&self) -> Result<Vec<(String, MetricMetadata)>, SegmentError> {
        let section = self.segment.section(METADATA)?;
        decode_metadata(section.all()?).map_err(|what| section.damaged(0, what))
    }

    /// All series in order of their labels, for merging.
    pub fn cursor(&self) -> Result<SeriesCursor<'_>, SegmentError> {
        SeriesCursor::new(self)
    }

    /// Decodes everything once and compares every checksum; the first damage is the answer.
    pub fn verify(&self) -> Result<(), SegmentError> {
        self.segment.verify()?;
        self.index.verify()?;
        self.metadata()?;
        self.verify_absent()?;
        let row_count =
            if self.resolution_ms() == 0 { self.verify_samples()? } else { self.verify_buckets()? };
        if row_count != self.meta().row_count {
            return Err(self.damaged_data(0, Malformed("the count of rows is not the footer's")));
        }
        Ok(())
    }

    fn verify_absent(&self) -> Result<(), SegmentError> {
        for ordinal in self.absent()? {
            let (chunk, row) = self.row(ordinal)?;
            let SeriesBlocks { floats, histograms, exemplars, starts } = chunk.of(row);
            let is_there = !(floats.is_empty() && histograms.is_empty() && exemplars.is_empty());
            if is_there || starts.is_some() {
                let section = self.segment.section(ABSENT)?;
                return Err(section.damaged(0, Malformed("a series is there and absent")));
            }
        }
        Ok(())
    }

    /// Decodes all samples once; answers with their count.
    fn verify_samples(&self) -> Result<u64, SegmentError> {
        let mut row_count = 0;
        let mut samples = SampleBuffer::default();
        for ordinal in 0..self.series_count() {
            samples.clear();
            self.read(ordinal, TimeRange::ALL, &mut samples)?;
            row_count += (samples.float_timestamps.len() + samples.histogram_timestamps.len()) as u64;
            self.starts(ordinal)?;
            self.exemplars(ordinal, TimeRange::ALL)?;
        }
        Ok(row_count)
    }

    /// A block of DATA without its checksum, which was right.
    fn data(&self, offset: u64, len: u64) -> Result<&[u8], SegmentError> {
        self.segment.section(DATA)?.block(offset, len)
    }

    fn damaged_data(&self, offset: u64, what: Malformed) -> SegmentError {
        match self.segment.section(DATA) {
            Ok(section) => section.damaged(offset, what),
            Err(missing) => missing,
        }
    }

    /// The error of a series whose labels do not come behind those of the one before.
    pub(super) fn out_of_order(&self) -> SegmentError {
        self.damaged_data(0, Malformed("series are not in order of their labels"))
    }

    fn row(&self, ordinal: u32) -> Result<(Arc<BlockChunk>, usize), SegmentError> {
        let decoded = self.blocks(u64::from(ordinal) / CHUNK_ROWS as u64)?;
        if ordinal >= self.series_count() {
            return Err(self.no_such_series());
        }
        Ok((decoded, ordinal as usize % CHUNK_ROWS))
    }

    /// A chunk of the table of blocks.
    fn blocks(&self, chunk: u64) -> Result<Arc<BlockChunk>, SegmentError> {
        self.blocks.get(chunk, BlockChunk::bytes, || {
            let section = self.segment.section(BLOCKS)?;
            let table = Table::open(section)?;
            if table.row_count() != self.meta().series_count {
                return Err(section.damaged(0, Malformed("the count of series is not the footer's")));
            }
            table.chunk(chunk, BlockChunk::decode)
        })
    }

    fn no_such_series(&self) -> SegmentError {
        self.damaged_data(0, Malformed("there is no such series"))
    }

    fn column(&self, number: u64) -> Result<Column, SegmentError> {
        self.column_in(&mut LastChunk::default(), number)
    }

    /// A row of the table of columns.
    fn column_in(&self, last: &mut LastChunk<Vec<Column>>, number: u64) -> Result<Column, SegmentError> {
        let chunk = number / CHUNK_ROWS as u64;
        let columns = last.get(chunk, || {
            self.columns.get(chunk, || {
                Table::open(self.segment.section(COLUMNS)?)?.chunk(chunk, layout::decode_columns)
            })
        })?;
        match columns.get((number % CHUNK_ROWS as u64) as usize) {
            Some(column) => Ok(*column),
            None => Err(self.segment.section(COLUMNS)?.damaged(0, Malformed("there is no such column"))),
        }
    }
}

/// One block of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    pub kind: &'static str,
    pub codec: u8,
    pub sample_count: usize,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Bytes of the values; timestamp columns are shared.
    pub len: u64,
}

fn decode_starts(mut bytes: &[u8]) -> Result<Vec<(Timestamp, Timestamp)>, Malformed> {
    // A group of 128 integers takes two bytes at least.
    let count_max = bytes.len().saturating_mul(64);
    let count = take_count(&mut bytes, count_max)?;
    let (mut times, mut starts) = (Vec::new(), Vec::new());
    integers::decode(&mut bytes, count, &mut times)?;
    integers::decode(&mut bytes, count, &mut starts)?;
    Ok(times.into_iter().zip(starts).collect())
}

fn decode_exemplars(mut bytes: &[u8]) -> Result<Vec<Exemplar>, Malformed> {
    if take_u8(&mut bytes)? != EXEMPLARS_CODEC {
        return Err(Malformed("unknown codec of exemplars"));
    }
    let content = compressed::decode(bytes, EXEMPLAR_BYTES_MAX)?;
    let bytes = &mut &content[..];
    let count = take_count(bytes, content.len() / 8)?;
    let mut times = Vec::new();
    integers::decode(bytes, count, &mut times)?;
    let values = take(bytes, count * 8)?.chunks_exact(8);
    let mut exemplars = Vec::with_capacity(count);
    for (timestamp, value) in times.into_iter().zip(values) {
        let label_count = take_count(bytes, bytes.len())?;
        let mut pairs = Vec::new();
        for _ in 0..label_count {
            pairs.push((take_text(bytes)?, take_text(bytes)?));
        }
        let labels =
            Labels::from_pairs(pairs).map_err(|_| Malformed("a label of an exemplar comes twice"))?;
        let value = f64::from_le_bytes(value.try_into().expect("eight bytes"));
        exemplars.push(Exemplar { labels, value, timestamp });
    }
    Ok(exemplars)
}

fn decode_metadata(bytes: &[u8]) -> Result<Vec<(String, MetricMetadata)>, Malformed> {
    let content = compressed::decode(bytes, METADATA_BYTES_MAX)?;
    let mut bytes = &content[..];
    let count = read_u64(&mut bytes)?;
    let mut metadata = Vec::new();
    for _ in 0..count {
        let family = take_text(&mut bytes)?.to_owned();
        let metric_type = METRIC_TYPES.get(take_u8(&mut bytes)? as usize);
        let metric_type = *metric_type.ok_or(Malformed("unknown metric type"))?;
        let help = take_text(&mut bytes)?.to_owned();
        let unit = take_text(&mut bytes)?.to_owned();
        metadata.push((family, MetricMetadata { metric_type, help, unit }));
    }
    Ok(metadata)
}
