//! Exponential histograms as native ones: the same buckets, counted from another end and listed sparsely.

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use crate::model::Histogram;
use crate::model::histogram::{SCHEMA_MAX, SCHEMA_MIN, Span};
use crate::model::metrics::stale_marker;

use super::super::admission::{Reason, Rejection};

// What Prometheus takes where the sender gives none.
const ZERO_THRESHOLD_DEFAULT: f64 = 1e-128;

// A gap of up to two empty buckets is cheaper listed than as a span of its own.
const GAP_LISTED_MAX: i64 = 2;

/// The stale marker of a native histogram.
pub(super) fn stale_histogram() -> Box<Histogram> {
    Box::new(Histogram { sum: stale_marker(), is_integer: true, ..Histogram::default() })
}

/// The native histogram with the counts of `point`. A scale finer than a schema can be is coarsened.
pub(super) fn native(point: &ExponentialHistogramDataPoint) -> Result<Box<Histogram>, Rejection> {
    if point.scale < SCHEMA_MIN {
        let message = format!("exponential histogram has scale {} < {SCHEMA_MIN}", point.scale);
        return Err(Rejection::new(Reason::HistogramInvalid, message));
    }
    let schema = point.scale.min(SCHEMA_MAX);
    // Beyond 63 steps all buckets of one sign are one, as they are at 63.
    let coarsened_by = point.scale.saturating_sub(schema).min(63) as u32;
    let (positive_spans, positive_buckets) = sparse(point.positive.as_ref(), coarsened_by)?;
    let (negative_spans, negative_buckets) = sparse(point.negative.as_ref(), coarsened_by)?;
    Ok(Box::new(Histogram {
        schema,
        zero_threshold: if point.zero_threshold > 0.0 {
            point.zero_threshold
        } else {
            ZERO_THRESHOLD_DEFAULT
        },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        is_integer: true,
        ..Histogram::default()
    }))
}

/// OTLP's bucket 0 is (1, base], Prometheus's (1/base, 1]: hence one more. `2^coarsened_by` buckets become one.
fn sparse(buckets: Option<&Buckets>, coarsened_by: u32) -> Result<(Vec<Span>, Vec<f64>), Rejection> {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts: Vec<f64> = Vec::new();
    let Some(Buckets { offset, bucket_counts }) = buckets else { return Ok((spans, counts)) };
    let mut last: Option<i64> = None;
    for (i, &count) in bucket_counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let index = ((i64::from(*offset) + i as i64) >> coarsened_by) + 1;
        match last.map(|last| index - last) {
            Some(0) => *counts.last_mut().expect("the bucket before is listed") += count as f64,
            Some(step) if step - 1 <= GAP_LISTED_MAX => {
                counts.extend((1..step).map(|_| 0.0));
                counts.push(count as f64);
                spans.last_mut().expect("the bucket before has a span").length += step as u32;
            }
            step => {
                // The first span says where it starts, the others how far they are from the one before.
                let offset = step.map_or(index, |step| step - 1);
                let offset = i32::try_from(offset).map_err(|_| {
                    let message = format!("exponential histogram has a bucket of index {index}");
                    Rejection::new(Reason::HistogramInvalid, message)
                })?;
                spans.push(Span { offset, length: 1 });
                counts.push(count as f64);
            }
        }
        last = Some(index);
    }
    Ok((spans, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(scale: i32, offset: i32, counts: &[u64]) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            scale,
            count: counts.iter().sum(),
            positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
            ..Default::default()
        }
    }

    fn shown(point: ExponentialHistogramDataPoint) -> (i32, Vec<(i32, u32)>, Vec<f64>) {
        let native = native(&point).unwrap();
        native.validate(1_000).unwrap();
        let spans = native.positive_spans.iter().map(|s| (s.offset, s.length)).collect();
        (native.schema, spans, native.positive_buckets)
    }

    #[test]
    fn buckets_are_counted_from_one_lower() {
        assert_eq!(shown(point(3, -2, &[1, 2])), (3, vec![(-1, 2)], vec![1.0, 2.0]));
    }

    #[test]
    fn small_gaps_are_listed_and_large_ones_skipped() {
        assert_eq!(
            shown(point(0, 0, &[0, 1, 0, 0, 2, 0, 0, 0, 3, 0])),
            (0, vec![(2, 4), (3, 1)], vec![1.0, 0.0, 0.0, 2.0, 3.0])
        );
        assert_eq!(shown(point(0, 7, &[0, 0])), (0, vec![], vec![]));
    }

    #[test]
    fn a_scale_too_fine_is_coarsened_and_one_too_coarse_refused() {
        // Indices -3..=2 at scale 9 are (-2, -1, -1, 0, 0, 1) at scale 8, one more in Prometheus's count.
        assert_eq!(shown(point(9, -3, &[1, 2, 3, 4, 5, 6])), (8, vec![(-1, 4)], vec![1.0, 5.0, 9.0, 6.0]));
        assert_eq!(shown(point(i32::MAX, -5, &[1, 2, 3])), (8, vec![(0, 1)], vec![6.0]));
        assert!(native(&point(-5, 0, &[1])).is_err());
    }

    #[test]
    fn an_index_beyond_32_bits_is_refused() {
        assert!(native(&point(0, i32::MAX, &[1])).is_err());
        assert!(native(&point(0, i32::MIN, &[1])).is_ok());
    }
}
