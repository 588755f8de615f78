//! The bounds of classic histograms: whether they make a histogram, and their texts.

use opentelemetry_proto::tonic::metrics::v1 as wire;

use super::super::admission::{Reason, Rejection};

/// The texts of the bounds of the histogram before; the next one nearly always has the same bounds.
#[derive(Default)]
pub(super) struct BoundTexts(Vec<(u64, String)>);

impl BoundTexts {
    /// The text of a bound, as the label `le` has it; bounds are asked for in order.
    pub fn at(&mut self, at: usize, bound: f64) -> &str {
        let is_there = self.0.get(at).is_some_and(|(bits, _)| *bits == bound.to_bits());
        if !is_there {
            self.0.truncate(at);
            self.0.push((bound.to_bits(), bound.to_string()));
        }
        &self.0[at].1
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_histogram_has_the_texts_of_its_own_bounds() {
        let mut texts = BoundTexts::default();
        for bounds in [&[0.5, 1.0, 2.5][..], &[0.5, 1.0, 2.5], &[0.5, 0.75], &[0.5, 1.0, 2.5, 1e9]] {
            let told: Vec<String> =
                bounds.iter().enumerate().map(|(at, &bound)| texts.at(at, bound).to_owned()).collect();
            assert_eq!(told, bounds.iter().map(f64::to_string).collect::<Vec<_>>());
        }
    }
}
