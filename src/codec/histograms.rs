//! Native histograms to bytes: one alone for the log, many of one series for a segment. Every bit comes back.
//!
//! A block is cut into runs of one layout (schema, spans, bounds, zero threshold); within a run each count is a
//! column, and the float codec finds the integers that grow evenly or not at all. What is decoded has a sound
//! layout, whatever the bytes were; its counts may be anything.

use std::sync::Arc;

use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::{Effort, Malformed, floats, integers, take, take_count, take_u8};
use crate::model::Histogram;
use crate::model::histogram::{ResetHint, Span};

const HINTS: [ResetHint; 4] = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];

/// Bits of the byte that goes before each histogram: the number of its hint in the lowest two.
const INTEGER_SENDER: u8 = 1 << 2;
const INTEGER_COUNTS: u8 = 1 << 3;

/// What a block may unpack to, 256 MiB: 8,192 histograms of 4,000 buckets. A column of equal counts takes a few
/// bytes whatever its length, so the bytes alone do not bound it.
const BLOCK_VALUES_MAX: usize = 32 << 20;

/// Appends one histogram, which was validated.
pub fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
    assert_spans_fit(histogram);
    let counts = || counts_of(histogram);
    let integers = counts().all(is_integer);
    out.push(head_of(histogram) | if integers { INTEGER_COUNTS } else { 0 });
    put_layout(histogram, out);
    put_float(histogram.sum, out);
    if !integers {
        counts().for_each(|count| put_float(count, out));
        return;
    }
    let mut last = 0;
    for count in counts() {
        write_i64(out, count as i64 - last);
        last = count as i64;
    }
}

/// The histogram at the front of `bytes`, and how many bytes it took.
pub fn decode(bytes: &[u8]) -> Result<(Histogram, usize), Malformed> {
    let rest = &mut &bytes[..];
    let head = take_u8(rest)?;
    let mut histogram = take_layout(rest)?;
    if head & !(INTEGER_SENDER | INTEGER_COUNTS) >= HINTS.len() as u8 {
        return Err(Malformed("unknown flags of a histogram"));
    }
    set_head(&mut histogram, head & !INTEGER_COUNTS);
    histogram.sum = take_float(rest)?;
    let buckets = bucket_count(&histogram, rest.len())?;
    let mut last = 0i64;
    let mut take_one = || {
        if head & INTEGER_COUNTS == 0 {
            return take_float(rest);
        }
        last = last.wrapping_add(read_i64(rest)?);
        Ok(last as f64)
    };
    histogram.zero_count = take_one()?;
    histogram.count = take_one()?;
    let counts = (0..buckets).map(|_| take_one()).collect::<Result<Vec<_>, _>>()?;
    set_buckets(&mut histogram, counts.into_iter());
    check_layout(&histogram)?;
    Ok((histogram, bytes.len() - rest.len()))
}

/// Appends the histograms of one series, which were validated.
pub fn encode_block(histograms: &[Arc<Histogram>], out: &mut Vec<u8>) {
    encode_block_with(histograms, Effort::Fast, out);
}

/// As [`encode_block`], but as small as the effort allows.
pub fn encode_block_with(histograms: &[Arc<Histogram>], effort: Effort, out: &mut Vec<u8>) {
    for run in histograms.chunk_by(|a, b| a.has_layout_of(b)) {
        run.iter().for_each(|histogram| assert_spans_fit(histogram));
        write_u64(out, run.len() as u64);
        put_layout(&run[0], out);
        let heads: Vec<i64> = run.iter().map(|histogram| i64::from(head_of(histogram))).collect();
        put_column(out, |out| integers::encode(&heads, out));
        let mut columns: Vec<_> = run.iter().map(|h| std::iter::once(h.sum).chain(counts_of(h))).collect();
        let mut column = Vec::with_capacity(run.len());
        loop {
            column.clear();
            column.extend(columns.iter_mut().filter_map(Iterator::next));
            if column.is_empty() {
                break;
            }
            put_column(out, |out| floats::encode_with(&column, effort, out));
        }
    }
}

/// Appends the `count` histograms that `bytes` stand for.
pub fn decode_block(mut bytes: &[u8], count: usize, out: &mut Vec<Arc<Histogram>>) -> Result<(), Malformed> {
    let (mut missing, mut values) = (count, 0);
    while missing > 0 {
        let len = take_count(&mut bytes, missing)?;
        let mut first = take_layout(&mut bytes)?;
        // A column takes two bytes at least: its length and its codec.
        let buckets = bucket_count(&first, bytes.len() / 2)?;
        let spans = first.positive_spans.len() + first.negative_spans.len();
        let each = buckets + spans + first.custom_bounds.len();
        values = len.saturating_mul(each).saturating_add(values);
        if len == 0 || values > BLOCK_VALUES_MAX {
            return Err(Malformed("a run of histograms is empty or too large"));
        }
        set_buckets(&mut first, std::iter::repeat_n(0.0, buckets));
        check_layout(&first)?;
        decode_run(&mut bytes, first, len, out)?;
        missing -= len;
    }
    if bytes.is_empty() { Ok(()) } else { Err(Malformed("bytes after the histograms")) }
}

fn decode_run(
    bytes: &mut &[u8],
    layout: Histogram,
    len: usize,
    out: &mut Vec<Arc<Histogram>>,
) -> Result<(), Malformed> {
    let mut heads = Vec::new();
    let mut column = take_column(bytes)?;
    integers::decode(&mut column, len, &mut heads)?;
    let known = 0..i64::from(INTEGER_SENDER) + HINTS.len() as i64;
    if !heads.iter().all(|head| known.contains(head)) {
        return Err(Malformed("unknown flags of a histogram"));
    }
    let mut run = vec![layout.clone(); len];
    run.iter_mut().zip(heads).for_each(|(histogram, head)| set_head(histogram, head as u8));
    let mut values = Vec::new();
    let mut take_next = |run: &mut [Histogram], field: &dyn Fn(&mut Histogram) -> &mut f64| {
        values.clear();
        floats::decode(take_column(bytes)?, len, &mut values)?;
        run.iter_mut().zip(&values).for_each(|(histogram, &value)| *field(histogram) = value);
        Ok::<_, Malformed>(())
    };
    take_next(&mut run, &|h| &mut h.sum)?;
    take_next(&mut run, &|h| &mut h.zero_count)?;
    if layout.has_custom_buckets() && run.iter().any(|histogram| histogram.zero_count != 0.0) {
        return Err(Malformed("a histogram has custom buckets and a zero bucket"));
    }
    take_next(&mut run, &|h| &mut h.count)?;
    for i in 0..layout.positive_buckets.len() {
        take_next(&mut run, &|h| &mut h.positive_buckets[i])?;
    }
    for i in 0..layout.negative_buckets.len() {
        take_next(&mut run, &|h| &mut h.negative_buckets[i])?;
    }
    out.extend(run.into_iter().map(Arc::new));
    Ok(())
}

/// Zero count, count, buckets.
fn counts_of(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    [&histogram.zero_count, &histogram.count].into_iter().chain(buckets).copied()
}

/// True if the count is an integer to the bit (-0 is not) whose differences to others fit 64 bits.
fn is_integer(count: f64) -> bool {
    let integer = count as i64;
    (integer as f64).to_bits() == count.to_bits() && integer.unsigned_abs() <= 1 << 62
}

fn head_of(histogram: &Histogram) -> u8 {
    let hint = HINTS.iter().position(|hint| *hint == histogram.hint).expect("every hint has a number");
    hint as u8 | if histogram.is_integer { INTEGER_SENDER } else { 0 }
}

/// `head` has no bits but those of [`head_of`].
fn set_head(histogram: &mut Histogram, head: u8) {
    histogram.hint = HINTS[usize::from(head & !INTEGER_SENDER)];
    histogram.is_integer = head & INTEGER_SENDER != 0;
}

fn put_layout(histogram: &Histogram, out: &mut Vec<u8>) {
    write_i64(out, i64::from(histogram.schema));
    put_float(histogram.zero_threshold, out);
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        write_u64(out, spans.len() as u64);
        for span in spans {
            write_i64(out, i64::from(span.offset));
            write_u64(out, u64::from(span.length));
        }
    }
    write_u64(out, histogram.custom_bounds.len() as u64);
    histogram.custom_bounds.iter().for_each(|&bound| put_float(bound, out));
}

/// A histogram without counts.
fn take_layout(bytes: &mut &[u8]) -> Result<Histogram, Malformed> {
    let too_large = |_| Malformed("the schema of a histogram is too large");
    let schema = i32::try_from(read_i64(bytes)?).map_err(too_large)?;
    let zero_threshold = take_float(bytes)?;
    let positive_spans = take_spans(bytes)?;
    let negative_spans = take_spans(bytes)?;
    let bounds = take_count(bytes, bytes.len() / 8)?;
    let custom_bounds = (0..bounds).map(|_| take_float(bytes)).collect::<Result<_, _>>()?;
    Ok(Histogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        custom_bounds,
        ..Histogram::default()
    })
}

fn take_spans(bytes: &mut &[u8]) -> Result<Vec<Span>, Malformed> {
    let too_large = |_| Malformed("a span is too large");
    let count = take_count(bytes, bytes.len() / 2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(read_i64(bytes)?).map_err(too_large)?;
        let length = u32::try_from(read_u64(bytes)?).map_err(too_large)?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn span_lengths(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

/// How many buckets the spans have, on both sides; as they are not read yet, at most `max` can follow.
fn bucket_count(layout: &Histogram, max: usize) -> Result<usize, Malformed> {
    let count = span_lengths(&layout.positive_spans) + span_lengths(&layout.negative_spans);
    usize::try_from(count).ok().filter(|&c| c <= max).ok_or(Malformed("a histogram has too many buckets"))
}

/// `counts`: those of the positive spans, then those of the negative ones.
fn set_buckets(histogram: &mut Histogram, mut counts: impl Iterator<Item = f64>) {
    let positive = span_lengths(&histogram.positive_spans) as usize;
    histogram.positive_buckets = counts.by_ref().take(positive).collect();
    histogram.negative_buckets = counts.collect();
}

fn check_layout(histogram: &Histogram) -> Result<(), Malformed> {
    histogram.check_layout().map_err(|_| Malformed("the layout of a histogram is not sound"))
}

/// Readers take the number of buckets from the spans.
fn assert_spans_fit(histogram: &Histogram) {
    let sides = [
        (&histogram.positive_spans, &histogram.positive_buckets),
        (&histogram.negative_spans, &histogram.negative_buckets),
    ];
    for (spans, buckets) in sides {
        assert_eq!(span_lengths(spans), buckets.len() as u64, "a histogram was not validated");
    }
}

fn put_column(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let mut column = Vec::new();
    encode(&mut column);
    write_u64(out, column.len() as u64);
    out.append(&mut column);
}

fn take_column<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = take_count(bytes, bytes.len())?;
    take(bytes, len)
}

fn put_float(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn take_float(bytes: &mut &[u8]) -> Result<f64, Malformed> {
    Ok(f64::from_le_bytes(take(bytes, 8)?.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::histogram::CUSTOM_BUCKETS_SCHEMA;

    /// Mostly integers, as most senders count; else any bits, NaN payloads and -0 among them.
    fn count() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (0u32..5000).prop_map(f64::from),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => prop::sample::select(vec![-0.0, 0.5, f64::MAX, f64::INFINITY, -7.0, (1u64 << 63) as f64]),
        ]
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let span = (0i32..9, 0u32..5).prop_map(|(offset, length)| Span { offset, length });
        prop::collection::vec(span, 0..4)
    }

    fn layout() -> impl Strategy<Value = Histogram> {
        let exponential = (-4i32..=8, -99i32..99, spans(), spans(), 0.0..1.0f64).prop_map(
            |(schema, first, mut positive_spans, negative_spans, zero_threshold)| {
                positive_spans.first_mut().into_iter().for_each(|span| span.offset = first);
                Histogram { schema, zero_threshold, positive_spans, negative_spans, ..Histogram::default() }
            },
        );
        let custom = (0usize..9).prop_map(|bounds| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: (0..bounds).map(|i| i as f64 / 3.0).collect(),
            positive_spans: vec![Span { offset: 0, length: bounds as u32 + 1 }],
            ..Histogram::default()
        });
        prop_oneof![exponential, custom]
    }

    fn filled(layout: Histogram) -> impl Strategy<Value = Histogram> {
        let buckets = bucket_count(&layout, usize::MAX).unwrap();
        let counts = prop::collection::vec(count(), buckets);
        let hint = prop::sample::select(HINTS.to_vec());
        (counts, count(), count(), any::<u64>(), hint, any::<bool>()).prop_map(
            move |(counts, zero_count, count, sum, hint, is_integer)| {
                let zero_count = if layout.has_custom_buckets() { 0.0 } else { zero_count };
                let sum = f64::from_bits(sum);
                let mut histogram = Histogram { hint, zero_count, count, sum, is_integer, ..layout.clone() };
                set_buckets(&mut histogram, counts.into_iter());
                histogram
            },
        )
    }

    fn histogram() -> impl Strategy<Value = Histogram> {
        layout().prop_flat_map(filled)
    }

    /// A series as it is sent: the layout changes now and then.
    fn series() -> impl Strategy<Value = Vec<Arc<Histogram>>> {
        let run = layout().prop_flat_map(|layout| prop::collection::vec(filled(layout), 1..6));
        prop::collection::vec(run, 0..4).prop_map(|runs| runs.into_iter().flatten().map(Arc::new).collect())
    }

    fn one(histogram: &Histogram) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(histogram, &mut bytes);
        bytes
    }

    fn block(histograms: &[Arc<Histogram>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_block_with(histograms, Effort::Best, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_histogram_comes_back_to_the_bit(histogram in histogram(), tail: Vec<u8>) {
            let mut bytes = one(&histogram);
            let len = bytes.len();
            bytes.extend(tail);
            let (back, taken) = decode(&bytes).unwrap();
            prop_assert!(back.is_identical(&histogram), "{back:?}");
            prop_assert_eq!(taken, len);
        }

        #[test]
        fn a_series_comes_back_to_the_bit(series in series()) {
            let mut back = Vec::new();
            decode_block(&block(&series), series.len(), &mut back).unwrap();
            prop_assert_eq!(back.len(), series.len());
            for (back, histogram) in back.iter().zip(&series) {
                prop_assert!(back.is_identical(histogram), "{back:?}\n{histogram:?}");
            }
        }

        #[test]
        fn a_cut_is_an_error(series in series(), at: prop::sample::Index) {
            if let Some(histogram) = series.first() {
                let bytes = one(histogram);
                prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
                let bytes = block(&series);
                prop_assert!(decode_block(&bytes[..at.index(bytes.len())], series.len(), &mut Vec::new()).is_err());
            }
        }

        #[test]
        fn damage_is_an_error_or_another_sound_histogram(
            series in series(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let damaged = |mut bytes: Vec<u8>| {
                for (at, byte) in damage.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= byte;
                }
                bytes
            };
            for histogram in &series {
                if let Ok((back, _)) = decode(&damaged(one(histogram))) {
                    prop_assert_eq!(back.check_layout(), Ok(()));
                }
            }
            let mut back = Vec::new();
            if decode_block(&damaged(block(&series)), series.len(), &mut back).is_ok() {
                prop_assert_eq!(back.len(), series.len());
                prop_assert!(back.iter().all(|histogram| histogram.check_layout().is_ok()));
            }
        }

        #[test]
        fn noise_never_panics(bytes: Vec<u8>, count in 0usize..100) {
            let _ = decode(&bytes);
            let _ = decode_block(&bytes, count, &mut Vec::new());
        }
    }

    #[test]
    fn a_span_of_billions_of_buckets_is_not_believed() {
        let huge =
            Histogram { positive_spans: vec![Span { offset: 0, length: u32::MAX }], ..Histogram::default() };
        let mut bytes = vec![0];
        put_layout(&huge, &mut bytes);
        bytes.extend([0; 64]);
        assert_eq!(decode(&bytes).unwrap_err(), Malformed("a histogram has too many buckets"));
        bytes[0] = 1;
        assert!(decode_block(&bytes, 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn steady_counters_take_few_bytes() {
        let at = |i: u32| {
            let positive_buckets: Vec<f64> = (0..40).map(|bucket| f64::from(i * bucket)).collect();
            Arc::new(Histogram {
                hint: if i == 0 { ResetHint::Unknown } else { ResetHint::NotReset },
                schema: 3,
                count: positive_buckets.iter().sum(),
                sum: f64::from(i) * 12.5,
                positive_spans: vec![Span { offset: -20, length: 40 }],
                positive_buckets,
                is_integer: true,
                ..Histogram::default()
            })
        };
        let series: Vec<_> = (0..480).map(at).collect();
        let bytes = block(&series).len();
        assert!(bytes < 480 * 3, "{bytes} bytes for 480 histograms of 40 buckets");
    }
}
