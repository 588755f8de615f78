//! The bounds of classic histograms: whether they make a histogram.

use opentelemetry_proto::tonic::metrics::v1 as wire;

use super::super::admission::{Reason, Rejection};

pub(super) fn check_bounds(point: &wire::HistogramDataPoint, buckets_max: usize) -> Result<(), Rejection> {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    if bounds.len() > buckets_max {
        let message = format!(
            "histogram has {} buckets > {buckets_max} (--limits.max-histogram-buckets)",
            bounds.len()
        );
        return Err(Rejection::new(Reason::HistogramBuckets, message));
    }
    let invalid = |message: String| Err(Rejection::new(Reason::HistogramInvalid, message));
    // Neither is a histogram of one bucket, of which only sum and count are known.
    let is_bare = bounds.is_empty() && counts.is_empty();
    if !is_bare && counts.len() != bounds.len() + 1 {
        return invalid(format!("histogram has {} bounds but {} buckets", bounds.len(), counts.len()));
    }
    match bounds.windows(2).find(|pair| pair[0].partial_cmp(&pair[1]) != Some(std::cmp::Ordering::Less)) {
        Some(pair) => {
            invalid(format!("histogram's bounds do not increase: {} is before {}", pair[0], pair[1]))
        }
        None => Ok(()),
    }
}
