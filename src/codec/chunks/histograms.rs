//! The chunks of native histograms: a layout once, then for each histogram its time, totals and buckets as
//! differences to the one before. Integer counts are differences of differences, float counts as floats are.
//!
//! Prometheus writes a chunk anew when buckets are added; here that begins another chunk.

use std::sync::Arc;

use super::{Chunk, DoubleColumn, Encoding, put_int, put_uint};
use crate::codec::bits::BitWriter;
use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Timestamp};

/// Flags behind the count: what is known of the first histogram; within a chunk of counters nothing is reset.
pub(super) const RESET: u64 = 0b1000_0000;
pub(super) const GAUGE: u64 = 0b1100_0000;

/// Whether the second histogram, which follows the first, can stand in a chunk with it: of a counter, readers take
/// all but the first for increases.
pub fn continues(previous: &Histogram, next: &Histogram) -> bool {
    let is_gauge = |histogram: &Histogram| histogram.hint == ResetHint::Gauge;
    if next.is_stale() || previous.is_stale() {
        // A stale marker has no layout.
        return next.is_stale()
            && previous.is_stale()
            && is_gauge(previous) == is_gauge(next)
            && previous.has_whole_counts() == next.has_whole_counts();
    }
    previous.has_layout_of(next)
        && previous.has_whole_counts() == next.has_whole_counts()
        && is_gauge(previous) == is_gauge(next)
        && (is_gauge(next) || !next.detect_reset(previous))
}

/// One chunk of a run in which each [`continues`] the one before it.
pub fn encode(timestamps: &[Timestamp], run: &[Arc<Histogram>]) -> Chunk {
    let (&min_time, &max_time) =
        timestamps.first().zip(timestamps.last()).expect("a chunk has at least one sample");
    let count = u16::try_from(timestamps.len()).expect("a chunk has few samples");
    let first = &run[0];
    let mut bits = BitWriter::default();
    bits.write(count.into(), 16);
    let flags = match first.hint {
        ResetHint::Gauge => GAUGE,
        ResetHint::Reset => RESET,
        ResetHint::Unknown | ResetHint::NotReset => 0,
    };
    bits.write(flags, 8);
    let stale = Histogram::stale();
    let written = |histogram| if Histogram::is_stale(histogram) { &stale } else { histogram };
    put_layout(&mut bits, written(first));
    let samples = timestamps.iter().copied().zip(run.iter().map(|histogram| written(histogram)));
    let encoding = if first.has_whole_counts() {
        put_integers(&mut bits, samples);
        Encoding::Histogram
    } else {
        put_floats(&mut bits, samples);
        Encoding::FloatHistogram
    };
    Chunk { min_time, max_time, encoding, data: bits.finish() }
}

fn put_layout(bits: &mut BitWriter, histogram: &Histogram) {
    put_zero_threshold(bits, histogram.zero_threshold);
    put_int(bits, histogram.schema.into());
    put_spans(bits, &histogram.positive_spans);
    put_spans(bits, &histogram.negative_spans);
    if histogram.has_custom_buckets() {
        put_uint(bits, histogram.custom_bounds.len() as u64);
        histogram.custom_bounds.iter().for_each(|&bound| put_bound(bits, bound));
    }
}

/// Powers of two from 2^-243 to 2^10 are a byte, 1 to 254; so is zero.
fn put_zero_threshold(bits: &mut BitWriter, threshold: f64) {
    const MANTISSA_BITS: u32 = 52;
    if threshold == 0.0 {
        return bits.write(0, 8);
    }
    let is_power_of_two = threshold.to_bits() << (64 - MANTISSA_BITS) == 0 && threshold > 0.0;
    let exponent = (threshold.to_bits() >> MANTISSA_BITS) as i64 - 1_023;
    if is_power_of_two && (-243..=10).contains(&exponent) {
        return bits.write((exponent + 244) as u64, 8);
    }
    bits.write(255, 8);
    bits.write(threshold.to_bits(), 64);
}

fn put_spans(bits: &mut BitWriter, spans: &[Span]) {
    put_uint(bits, spans.len() as u64);
    for span in spans {
        put_uint(bits, span.length.into());
        put_int(bits, span.offset.into());
    }
}

/// Thousandths up to four bytes' worth are an integer and never zero; others are a zero and themselves.
fn put_bound(bits: &mut BitWriter, bound: f64) {
    const THOUSANDTHS_MAX: f64 = 33_554_430.0;
    let thousandths = (bound * 1_000.0).round();
    let is_whole = thousandths / 1_000.0 == bound;
    if is_whole && (0.0..=THOUSANDTHS_MAX).contains(&(bound * 1_000.0)) {
        return put_uint(bits, thousandths as u64 + 1);
    }
    bits.write(0, 1);
    bits.write(bound.to_bits(), 64);
}

/// A column of integers: the first as it is, then the difference of the difference to the one before.
#[derive(Default)]
struct IntegerColumn {
    last: i64,
    last_delta: i64,
}

impl IntegerColumn {
    fn begin(first: i64) -> IntegerColumn {
        IntegerColumn { last: first, last_delta: 0 }
    }

    fn push(&mut self, value: i64, bits: &mut BitWriter) {
        // Times may be so far apart that it wraps around, for the reader as well.
        let delta = value.wrapping_sub(self.last);
        put_int(bits, delta.wrapping_sub(self.last_delta));
        (self.last, self.last_delta) = (value, delta);
    }
}

/// Both sides' buckets, each as the difference to its neighbour.
fn bucket_deltas(histogram: &Histogram) -> impl Iterator<Item = i64> {
    [&histogram.positive_buckets, &histogram.negative_buckets].into_iter().flat_map(|counts| {
        let before = [0.0].into_iter().chain(counts.iter().copied());
        counts.iter().zip(before).map(|(count, before)| *count as i64 - before as i64)
    })
}

fn put_integers<'a>(bits: &mut BitWriter, mut samples: impl Iterator<Item = (Timestamp, &'a Histogram)>) {
    let (timestamp, first) = samples.next().expect("a chunk has at least one sample");
    put_int(bits, timestamp);
    put_uint(bits, first.count as u64);
    put_uint(bits, first.zero_count as u64);
    let mut totals = [timestamp, first.count as i64, first.zero_count as i64].map(IntegerColumn::begin);
    let mut sum = DoubleColumn::begin(first.sum, bits);
    let mut buckets: Vec<IntegerColumn> = bucket_deltas(first)
        .map(|delta| {
            put_int(bits, delta);
            IntegerColumn::begin(delta)
        })
        .collect();
    for (timestamp, next) in samples {
        let values = [timestamp, next.count as i64, next.zero_count as i64];
        totals.iter_mut().zip(values).for_each(|(column, value)| column.push(value, bits));
        sum.push(next.sum, bits);
        buckets.iter_mut().zip(bucket_deltas(next)).for_each(|(column, delta)| column.push(delta, bits));
    }
}

/// Count, zero count, sum, then both sides' buckets.
fn doubles(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    [histogram.count, histogram.zero_count, histogram.sum].into_iter().chain(buckets.copied())
}

fn put_floats<'a>(bits: &mut BitWriter, mut samples: impl Iterator<Item = (Timestamp, &'a Histogram)>) {
    let (timestamp, first) = samples.next().expect("a chunk has at least one sample");
    put_int(bits, timestamp);
    let mut times = IntegerColumn::begin(timestamp);
    let mut columns: Vec<DoubleColumn> =
        doubles(first).map(|value| DoubleColumn::begin(value, bits)).collect();
    for (timestamp, next) in samples {
        times.push(timestamp, bits);
        columns.iter_mut().zip(doubles(next)).for_each(|(column, value)| column.push(value, bits));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::chunks::reader::testing as reader;
    use crate::codec::chunks::{Chunks, SAMPLES_MAX};
    use crate::model::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn counter(counts: &[f64]) -> Histogram {
        Histogram {
            schema: 1,
            zero_threshold: 0.5f64.powi(128),
            zero_count: counts[0],
            count: 2.0 * counts.iter().sum::<f64>() + counts[0],
            sum: counts.iter().sum::<f64>() * 0.7,
            positive_spans: vec![
                Span { offset: -3, length: 1 },
                Span { offset: 2, length: counts.len() as u32 - 1 },
            ],
            positive_buckets: counts.to_vec(),
            negative_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            negative_buckets: counts.to_vec(),
            is_integer: true,
            ..Histogram::default()
        }
    }

    /// The chunks of a series of these histograms, 15 s apart.
    fn chunks_of(run: &[Histogram]) -> Vec<Chunk> {
        let timestamps: Vec<Timestamp> = (0..).map(|i| i * 15_000).take(run.len()).collect();
        let run: Vec<_> = run.iter().cloned().map(Arc::new).collect();
        Chunks::new((&[], &[]), (&timestamps, &run)).collect()
    }

    fn read(chunk: &Chunk) -> Vec<(Timestamp, Histogram)> {
        reader::histograms(&chunk.data, chunk.encoding)
    }

    fn assert_come_back(run: &[Histogram]) {
        let back: Vec<Histogram> =
            chunks_of(run).iter().flat_map(read).map(|(_, histogram)| histogram).collect();
        assert_eq!(back.len(), run.len());
        for (sent, back) in run.iter().zip(&back) {
            let sent = if sent.is_stale() { Histogram::stale() } else { sent.clone() };
            let sent = Histogram { hint: back.hint, is_integer: back.is_integer, ..sent };
            assert!(back.is_identical(&sent), "{back:?} is not {sent:?}");
        }
    }

    #[test]
    fn a_counter_that_goes_on_is_one_chunk_and_a_reset_begins_another() {
        let run = [[1.0, 2.0, 3.0], [1.0, 4.0, 9.0], [5.0, 5.0, 9.0], [0.0, 1.0, 0.0], [0.0, 1.0, 2.0]];
        let run = run.map(|counts| counter(&counts));
        let lengths: Vec<usize> = chunks_of(&run).iter().map(|chunk| read(chunk).len()).collect();
        assert_eq!(lengths, [3, 2]);
        assert_come_back(&run);
    }

    #[test]
    fn whatever_changes_the_layout_or_the_kind_begins_another_chunk() {
        let plain = counter(&[1.0, 2.0]);
        let changed = [
            Histogram { zero_threshold: 0.001, ..plain.clone() },
            Histogram { schema: 0, ..plain.clone() },
            Histogram { hint: ResetHint::Gauge, ..plain.clone() },
            Histogram { hint: ResetHint::Reset, ..plain.clone() },
            Histogram { is_integer: false, ..plain.clone() },
            Histogram { is_integer: true, ..Histogram::stale() },
            counter(&[1.0, 2.0, 3.0]),
        ];
        for changed in changed {
            let run = [plain.clone(), changed];
            assert_eq!(chunks_of(&run).len(), 2, "{run:?}");
            assert_come_back(&run);
        }
        let same = [plain.clone(), plain.clone()];
        assert_eq!(chunks_of(&same).len(), 1);
    }

    #[test]
    fn a_gauge_may_fall_within_a_chunk_and_is_told_to_be_one() {
        let gauge = |counts: &[f64]| Histogram { hint: ResetHint::Gauge, ..counter(counts) };
        let run = [gauge(&[9.0, 2.0]), gauge(&[1.0, 0.0]), gauge(&[3.0, 3.0])];
        let chunks = chunks_of(&run);
        assert_eq!(chunks.len(), 1);
        assert!(read(&chunks[0]).iter().all(|(_, histogram)| histogram.hint == ResetHint::Gauge));
        assert_come_back(&run);
    }

    #[test]
    fn custom_bounds_and_odd_thresholds_come_back() {
        let custom = |bounds: &[f64]| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            custom_bounds: bounds.to_vec(),
            ..Histogram::default()
        };
        for bounds in [&[0.0, 0.005, 33_554.43][..], &[-1.0, 0.0001, 33_554.431], &[1e300], &[]] {
            assert_come_back(&[custom(bounds)]);
        }
        for threshold in [0.0, 2f64.powi(-243), 2f64.powi(-244), 1_024.0, 2_048.0, 0.001, 5e-324, 1.5] {
            assert_come_back(&[Histogram { zero_threshold: threshold, ..counter(&[1.0, 2.0]) }]);
        }
    }

    #[test]
    fn a_long_run_is_cut_where_prometheus_cuts_it() {
        let run: Vec<_> = (0..250).map(|i| counter(&[f64::from(i), 1.0])).collect();
        let lengths: Vec<usize> = chunks_of(&run).iter().map(|chunk| read(chunk).len()).collect();
        assert_eq!(lengths, [SAMPLES_MAX, SAMPLES_MAX, 10]);
    }

    #[test]
    fn floats_and_histograms_of_one_series_alternate_in_order_of_time() {
        let histograms = [Arc::new(counter(&[1.0, 2.0])), Arc::new(counter(&[2.0, 2.0]))];
        let chunks = Chunks::new((&[1, 2, 5], &[1.0, 2.0, 5.0]), (&[3, 4], &histograms));
        let cut: Vec<_> = chunks.map(|chunk| (chunk.min_time, chunk.max_time, chunk.encoding)).collect();
        assert_eq!(cut, [(1, 2, Encoding::Xor), (3, 4, Encoding::Histogram), (5, 5, Encoding::Xor)]);
    }

    proptest! {
        #[test]
        fn histograms_come_back(
            rows in prop::collection::vec((prop::array::uniform3(0u32..), any::<bool>(), any::<bool>(), any::<u64>()), 1..150),
        ) {
            let run: Vec<_> = rows.iter().map(|(counts, is_integer, is_gauge, sum)| Histogram {
                hint: if *is_gauge { ResetHint::Gauge } else { ResetHint::Unknown },
                is_integer: *is_integer,
                sum: f64::from_bits(*sum),
                ..counter(&counts.map(f64::from))
            }).collect();
            assert_come_back(&run);
        }
    }
}
