//! Writes the buckets of series, in a segment of rollups (`storage-format.md` §5.8).

use std::io::{self, Write};
use std::ops::Range;

use super::super::segment_layout::{
    BLOCK_BUCKETS_MAX, BLOCK_HISTOGRAM_BUCKETS_MAX, BUCKET_TIMES_CODEC, Column, STATES_CODEC, SeriesRow,
};
use super::MetricsSegmentWriter;
use crate::codec::states::{self, Forms};
use crate::model::rollup::{FloatBuckets, HistogramBuckets, rows_of};
use crate::model::{Labels, Timestamp, time::HOUR};

/// States of an hour are few, and who reads them reads a year: they are told so that each column is read by itself.
const QUICK_FROM_MS: u32 = HOUR as u32;

impl<W: Write> MetricsSegmentWriter<W> {
    /// Adds the buckets of a series; series come in strictly increasing order of labels. The segment is one of rollups,
    /// and the buckets are of its resolution. For tests and fixtures, as [`MetricsSegmentWriter::series`].
    pub fn buckets(
        &mut self,
        labels: &Labels,
        floats: &FloatBuckets,
        histograms: &HistogramBuckets,
    ) -> io::Result<()> {
        self.index.add(labels.clone()).expect("series come in order of their labels");
        self.unlabelled_buckets(floats, histograms)
    }

    /// The same, of a series whose labels stand in the index that [`MetricsSegmentWriter::finish_with_index`] will write.
    pub(in super::super) fn unlabelled_buckets(
        &mut self,
        floats: &FloatBuckets,
        histograms: &HistogramBuckets,
    ) -> io::Result<()> {
        assert!(self.meta.tier_resolution_ms > 0, "buckets in a segment of samples");
        for ends in [&*floats.ends, &histograms.ends] {
            self.cover(ends.first().copied().into_iter().chain(ends.last().copied()));
            self.meta.row_count += ends.len() as u64;
        }
        let forms = self.forms();
        for rows in blocks(floats.len(), BLOCK_BUCKETS_MAX) {
            let times = [&floats.first_times[..], &floats.last_times, &floats.stale_at];
            let times = times.map(|times| rows_of(times, &rows));
            self.put_states(&floats.ends[rows.clone()], &floats.counts[rows.clone()], times, |out| {
                states::encode_floats(floats, rows.clone(), forms, out);
            })?;
        }
        for rows in blocks(histograms.len(), BLOCK_HISTOGRAM_BUCKETS_MAX) {
            let block = histograms.part(rows);
            let times = [&block.first_times[..], &block.last_times, &block.stale_at];
            self.put_states(&block.ends, &block.counts, times, |out| {
                states::encode_histograms(&block, out);
            })?;
        }
        self.end_series(SeriesRow {
            float_blocks: floats.len().div_ceil(BLOCK_BUCKETS_MAX),
            histogram_blocks: histograms.len().div_ceil(BLOCK_HISTOGRAM_BUCKETS_MAX),
            ..SeriesRow::default()
        });
        Ok(())
    }

    fn forms(&self) -> Forms {
        if self.meta.tier_resolution_ms < QUICK_FROM_MS { Forms::Smallest } else { Forms::Quick }
    }

    fn put_states(
        &mut self,
        ends: &[Timestamp],
        counts: &[u64],
        others: [&[Timestamp]; 3],
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        // Where no column needs the time of a first or last sample, it is that of the bucket.
        let others = others.map(|times| if times.is_empty() { ends } else { times });
        let column = self.put_bucket_times(ends, counts, others)?;
        self.put_block(column, |out| {
            out.push(STATES_CODEC);
            encode(out);
        })
    }

    /// Writes the times of buckets unless equal ones are there; answers with the number of the column.
    fn put_bucket_times(
        &mut self,
        ends: &[Timestamp],
        counts: &[u64],
        others: [&[Timestamp]; 3],
    ) -> io::Result<u64> {
        let new = match self.columns.find_buckets(ends, counts, others) {
            Ok(number) => return Ok(number),
            Err(new) => new,
        };
        assert!(ends.windows(2).all(|w| w[0] < w[1]), "buckets are not in order");
        let forms = self.forms();
        self.scratch.clear();
        self.scratch.push(BUCKET_TIMES_CODEC);
        let resolution = self.meta.tier_resolution_ms.into();
        self.columns.last_buckets().encode(resolution, forms, &mut self.scratch);
        let offset = self.to.section_len();
        let len = self.to.write_block(&self.scratch)?;
        let (first, last) = (ends[0], ends[ends.len() - 1]);
        Ok(self.columns.add(new, Column { offset, len, sample_count: ends.len(), first, last }))
    }
}

/// The rows of each block.
fn blocks(len: usize, max: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(max).map(move |from| from..len.min(from + max))
}
