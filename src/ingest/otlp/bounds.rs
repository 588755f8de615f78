//! The bounds of classic histograms and the quantiles of summaries: whether they make one.

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
    if let Some(bound) = bounds.iter().find(|bound| !bound.is_finite()) {
        return invalid(format!("a bound of a histogram is not finite: {bound}"));
    }
    match bounds.windows(2).find(|pair| pair[0].partial_cmp(&pair[1]) != Some(std::cmp::Ordering::Less)) {
        Some(pair) => {
            invalid(format!("histogram's bounds do not increase: {} is before {}", pair[0], pair[1]))
        }
        None => Ok(()),
    }
}

pub(super) fn check_quantiles(point: &wire::SummaryDataPoint, quantiles_max: usize) -> Result<(), Rejection> {
    let count = point.quantile_values.len();
    if count <= quantiles_max {
        return Ok(());
    }
    let message = format!("summary has {count} quantiles > {quantiles_max} (--limits.max-histogram-buckets)");
    Err(Rejection::new(Reason::HistogramBuckets, message))
}
