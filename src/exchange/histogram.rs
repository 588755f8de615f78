//! Native histograms as remote write 2.0 has them.

use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Timestamp};
use crate::wire::remote_write_v2::histogram::{Count, ResetHint as WireHint, ZeroCount};
use crate::wire::remote_write_v2::{BucketSpan, Histogram as WireHistogram};

/// Integers are sent where the sender counted in integers.
pub fn to_wire(histogram: &Histogram, timestamp: Timestamp) -> WireHistogram {
    let is_integer = histogram.has_whole_counts();
    let (count, zero_count) = match is_integer {
        true => {
            (Count::CountInt(histogram.count as u64), ZeroCount::ZeroCountInt(histogram.zero_count as u64))
        }
        false => (Count::CountFloat(histogram.count), ZeroCount::ZeroCountFloat(histogram.zero_count)),
    };
    let deltas = |counts: &[f64]| if is_integer { deltas(counts) } else { Vec::new() };
    let counts = |counts: &[f64]| if is_integer { Vec::new() } else { counts.to_vec() };
    WireHistogram {
        count: Some(count),
        sum: Some(histogram.sum),
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(zero_count),
        negative_spans: spans(&histogram.negative_spans),
        negative_deltas: deltas(&histogram.negative_buckets),
        negative_counts: counts(&histogram.negative_buckets),
        positive_spans: spans(&histogram.positive_spans),
        positive_deltas: deltas(&histogram.positive_buckets),
        positive_counts: counts(&histogram.positive_buckets),
        reset_hint: hint(histogram.hint).into(),
        timestamp,
        custom_values: histogram.custom_bounds.clone(),
        start_timestamp: 0,
    }
}

fn hint(hint: ResetHint) -> WireHint {
    match hint {
        ResetHint::Unknown => WireHint::Unspecified,
        ResetHint::Reset => WireHint::Yes,
        ResetHint::NotReset => WireHint::No,
        ResetHint::Gauge => WireHint::Gauge,
    }
}

/// Each count as the difference to its neighbour.
fn deltas(counts: &[f64]) -> Vec<i64> {
    let before = [0.0].iter().chain(counts);
    counts.iter().zip(before).map(|(count, before)| *count as i64 - *before as i64).collect()
}

fn spans(spans: &[Span]) -> Vec<BucketSpan> {
    spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
}
