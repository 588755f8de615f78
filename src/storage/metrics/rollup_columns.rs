//! Which columns the rollup of a series keeps: those that the functions for its type of metric need.

use std::mem::replace;
use std::sync::Arc;

use crate::model::histogram::ResetHint;
use crate::model::rollup::{Columns, FloatBuckets};
use crate::model::{Histogram, MetricType};

/// What a family's name is followed by in the names of its series.
const SUFFIXES: [&str; 6] = ["_total", "_sum", "_count", "_bucket", "_gsum", "_gcount"];

/// What series of counters are named by custom.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// Of a series of floats with these buckets, which have all columns.
pub(super) fn float_columns(
    name: &str,
    types: &dyn Fn(&str) -> MetricType,
    buckets: &FloatBuckets,
) -> Columns {
    let is_part = COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    match type_of(name, types) {
        MetricType::Counter => Columns::COUNTER,
        // Their parts count; the quantiles of a summary do not.
        MetricType::Histogram | MetricType::Summary if is_part => Columns::COUNTER,
        MetricType::Unknown if is_part && never_falls(buckets) => Columns::COUNTER,
        MetricType::Unknown => Columns::ALL,
        _ => Columns::GAUGE,
    }
}

/// Of a series with these native histograms, which say themselves what they are.
pub(super) fn histogram_columns(samples: &[Arc<Histogram>]) -> Columns {
    let is_gauge = |histogram: &Arc<Histogram>| histogram.hint == ResetHint::Gauge;
    let mut samples = samples.iter().filter(|histogram| !histogram.is_stale()).map(is_gauge);
    match samples.next() {
        Some(first) if samples.any(|is_gauge| is_gauge != first) => Columns::ALL,
        Some(true) => Columns::GAUGE,
        _ => Columns::COUNTER,
    }
}

/// A family is told under the name of its series, or without the suffix.
fn type_of(name: &str, types: &dyn Fn(&str) -> MetricType) -> MetricType {
    let told = types(name);
    let family = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    match (told, family) {
        (MetricType::Unknown, Some(family)) => types(family),
        _ => told,
    }
}

fn never_falls(buckets: &FloatBuckets) -> bool {
    let mut last = f64::NEG_INFINITY;
    let mut filled = (0..buckets.len()).filter(|&row| buckets.counts[row] > 0);
    buckets.resets.iter().all(|&resets| resets == 0)
        && !filled.any(|row| buckets.firsts[row] < replace(&mut last, buckets.lasts[row]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(name: &str, told: MetricType, family: &str, values: &[f64]) -> Columns {
        let mut buckets = FloatBuckets::new(Columns::ALL);
        values.iter().zip(1..).for_each(|(&value, time)| buckets.extend_samples(&[time], &[value]));
        let types = |asked: &str| if asked == family { told } else { MetricType::Unknown };
        float_columns(name, &types, &buckets)
    }

    #[test]
    fn what_is_told_of_a_family_holds_for_its_series() {
        let falling = [2.0, 1.0];
        assert_eq!(columns("requests_total", MetricType::Counter, "requests", &falling), Columns::COUNTER);
        assert_eq!(
            columns("requests_total", MetricType::Counter, "requests_total", &falling),
            Columns::COUNTER
        );
        assert_eq!(columns("seconds_bucket", MetricType::Histogram, "seconds", &falling), Columns::COUNTER);
        assert_eq!(columns("seconds_sum", MetricType::Summary, "seconds", &falling), Columns::COUNTER);
        assert_eq!(columns("seconds", MetricType::Summary, "seconds", &falling), Columns::GAUGE);
        assert_eq!(
            columns("in_flight_gcount", MetricType::GaugeHistogram, "in_flight", &[1.0]),
            Columns::GAUGE
        );
        assert_eq!(columns("threads_count", MetricType::Gauge, "threads_count", &[1.0]), Columns::GAUGE);
    }

    #[test]
    fn untold_series_keep_all_unless_name_and_values_are_those_of_a_counter() {
        let untold = |name, values: &[f64]| columns(name, MetricType::Unknown, "", values);
        assert_eq!(untold("requests_total", &[1.0, 2.0, 2.0]), Columns::COUNTER);
        assert_eq!(untold("requests_total", &[1.0, 2.0, 0.0]), Columns::ALL);
        assert_eq!(untold("cpu", &[1.0, 2.0]), Columns::ALL);
    }

    #[test]
    fn histograms_say_themselves_what_they_are() {
        let of = |hints: &[ResetHint]| {
            let histogram = |&hint| Arc::new(Histogram { hint, ..Histogram::default() });
            histogram_columns(&hints.iter().map(histogram).collect::<Vec<_>>())
        };
        assert_eq!(of(&[ResetHint::Unknown, ResetHint::NotReset]), Columns::COUNTER);
        assert_eq!(of(&[ResetHint::Gauge, ResetHint::Gauge]), Columns::GAUGE);
        assert_eq!(of(&[ResetHint::Gauge, ResetHint::NotReset]), Columns::ALL);
    }
}
