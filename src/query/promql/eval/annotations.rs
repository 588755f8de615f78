//! What a query tells beside its result: warnings and infos with the texts of Prometheus, each once.
//!
//! Two annotations are the same when their texts without the position are; the position is that of the last.

use std::collections::BTreeMap;

use crate::query::lexical::line_column;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::histogram_functions::{HistogramNote, HistogramOperation};

use super::math::go_g;
use super::tiers::Shortfall;

/// One remark, still without the place in the query it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    InvalidQuantile {
        q: f64,
    },
    InvalidRatio {
        ratio: f64,
        capped_to: f64,
    },
    BadBucketLabel {
        metric: String,
        value: String,
    },
    MixedFloatsHistograms {
        metric: String,
    },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative {
        metric: String,
    },
    NotCounter {
        metric: String,
    },
    NotGauge {
        metric: String,
    },
    MixedExponentialCustom {
        metric: String,
    },
    IncompatibleLayout {
        operator: &'static str,
    },
    SortInRangeQuery,
    CounterResetCollision {
        operation: HistogramOperation,
    },
    /// How often; a window of a step is one time.
    OverlappingStart {
        metric: String,
        count: u64,
    },
    PossibleNonCounter {
        metric: String,
    },
    ForcedMonotonicity(ForcedMonotonicity),
    IncompatibleTypes {
        left: &'static str,
        operator: &'static str,
        right: &'static str,
    },
    HistogramIgnoredInAggregation {
        aggregation: &'static str,
    },
    HistogramIgnoredInRange {
        metric: String,
    },
    QuantileOfNan {
        metric: String,
    },
    QuantileSkewedByNan {
        metric: String,
    },
    FractionWithoutNan {
        metric: String,
    },
    BoundsReconciled {
        operation: HistogramOperation,
    },
    /// Only a coarse tier was left. Not a text of Prometheus's, which has no tiers.
    FallsShort(Shortfall),
}

/// Classic buckets that decreased with growing bounds, over one or many steps.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedMonotonicity {
    pub metric: String,
    pub first_ms: i64,
    pub last_ms: i64,
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub diff_max: f64,
    pub count: u64,
}

impl Note {
    /// A remark of a histogram function about this metric.
    pub fn of_histogram(note: HistogramNote, metric: &str) -> Note {
        let metric = metric.to_owned();
        match note {
            HistogramNote::NotCounter => Note::NotCounter { metric },
            HistogramNote::NotGauge => Note::NotGauge { metric },
            HistogramNote::MixedExponentialCustom => Note::MixedExponentialCustom { metric },
            HistogramNote::CounterResetCollision(operation) => Note::CounterResetCollision { operation },
            HistogramNote::BoundsReconciled(operation) => Note::BoundsReconciled { operation },
            HistogramNote::QuantileOfNan => Note::QuantileOfNan { metric },
            HistogramNote::QuantileSkewedByNan => Note::QuantileSkewedByNan { metric },
            HistogramNote::FractionWithoutNan => Note::FractionWithoutNan { metric },
        }
    }

    fn is_warning(&self) -> bool {
        use Note::*;
        match self {
            FallsShort(shortfall) => shortfall.is_warning(),
            InvalidQuantile { .. }
            | InvalidRatio { .. }
            | BadBucketLabel { .. }
            | MixedFloatsHistograms { .. }
            | MixedFloatsHistogramsInAggregation
            | MixedClassicNative { .. }
            | NotCounter { .. }
            | NotGauge { .. }
            | MixedExponentialCustom { .. }
            | IncompatibleLayout { .. }
            | SortInRangeQuery
            | CounterResetCollision { .. }
            | OverlappingStart { .. } => true,
            PossibleNonCounter { .. }
            | ForcedMonotonicity(_)
            | IncompatibleTypes { .. }
            | HistogramIgnoredInAggregation { .. }
            | HistogramIgnoredInRange { .. }
            | QuantileOfNan { .. }
            | QuantileSkewedByNan { .. }
            | FractionWithoutNan { .. }
            | BoundsReconciled { .. } => false,
        }
    }

    /// The text that tells two annotations apart.
    fn text(&self) -> String {
        let kind = if self.is_warning() { "PromQL warning" } else { "PromQL info" };
        format!("{kind}: {}", self.message())
    }

    fn message(&self) -> String {
        use Note::*;
        match self {
            FallsShort(shortfall) => shortfall.message(),
            InvalidQuantile { q } => {
                format!("quantile value should be between 0 and 1, got {}", go_g(*q))
            }
            InvalidRatio { ratio, capped_to } => format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                go_g(*ratio),
                go_g(*capped_to)
            ),
            BadBucketLabel { metric, value } => for_metric(
                format!("bucket label \"le\" is missing or has a malformed value of {value:?}"),
                metric,
            ),
            MixedFloatsHistograms { metric } => {
                format!("encountered a mix of histograms and floats for metric name {metric:?}")
            }
            MixedFloatsHistogramsInAggregation => {
                "encountered a mix of histograms and floats for aggregation".into()
            }
            OverlappingStart { metric, .. } => format!(
                "sample has start time that overlaps with previous sample timestamp for metric {metric:?}"
            ),
            MixedClassicNative { metric } => {
                for_metric("vector contains a mix of classic and native histograms".into(), metric)
            }
            NotCounter { metric } => format!("this native histogram metric is not a counter: {metric:?}"),
            NotGauge { metric } => format!("this native histogram metric is not a gauge: {metric:?}"),
            MixedExponentialCustom { metric } => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
            ),
            IncompatibleLayout { operator } => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels".into()
            }
            CounterResetCollision { operation } => {
                format!("conflicting counter resets during histogram {}", operation_text(*operation))
            }
            PossibleNonCounter { metric } => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
            ),
            ForcedMonotonicity(forced) => for_metric(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)".into(),
                &forced.metric,
            ),
            IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            HistogramIgnoredInAggregation { aggregation } => {
                format!("ignored histogram in {aggregation} aggregation")
            }
            HistogramIgnoredInRange { metric } => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
            QuantileOfNan { metric } => for_metric(
                "input to histogram_quantile has NaN observations, result is NaN".into(),
                metric,
            ),
            QuantileSkewedByNan { metric } => for_metric(
                "input to histogram_quantile has NaN observations, result is skewed higher".into(),
                metric,
            ),
            FractionWithoutNan { metric } => for_metric(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions".into(),
                metric,
            ),
            BoundsReconciled { operation } => {
                format!("mismatched custom buckets were reconciled during {}", operation_text(*operation))
            }
        }
    }

    /// What is known only at the end, when all occurrences are merged.
    fn details(&self) -> String {
        let forced = match self {
            Note::ForcedMonotonicity(forced) => forced,
            Note::OverlappingStart { count: count @ 2.., .. } => return format!(" ({count} occurrences)"),
            _ => return String::new(),
        };
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            go_g(forced.bucket_min),
            go_g(forced.bucket_max),
            two_digits(forced.diff_max),
            forced.count,
            rfc3339(forced.first_ms),
            rfc3339(forced.last_ms),
        )
    }
}

fn operation_text(operation: HistogramOperation) -> &'static str {
    match operation {
        HistogramOperation::Addition => "addition",
        HistogramOperation::Subtraction => "subtraction",
        HistogramOperation::Aggregation => "aggregation",
    }
}

fn for_metric(text: String, metric: &str) -> String {
    if metric.is_empty() { text } else { format!("{text} for metric name {metric:?}") }
}

/// As Go's `%.2g`.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().expect("a formatted number reads back");
    let exponent = rounded.abs().log10().floor();
    if rounded == 0.0 || (-4.0..2.0).contains(&exponent) {
        return format!("{rounded}");
    }
    let sign = if exponent < 0.0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", rounded / 10f64.powf(exponent), exponent.abs())
}

fn rfc3339(ms: i64) -> String {
    match jiff::Timestamp::from_second(ms.div_euclid(1000)) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// The annotations of one query, each text once.
#[derive(Debug, Default)]
pub struct Annotations(BTreeMap<String, (Note, PositionRange)>);

impl Annotations {
    pub fn add(&mut self, note: Note, position: PositionRange) {
        let key = note.text();
        let merged = match (note, self.0.get(&key)) {
            (Note::ForcedMonotonicity(new), Some((Note::ForcedMonotonicity(old), _))) => {
                Note::ForcedMonotonicity(ForcedMonotonicity {
                    metric: new.metric,
                    first_ms: old.first_ms.min(new.first_ms),
                    last_ms: old.last_ms.max(new.last_ms),
                    bucket_min: old.bucket_min.min(new.bucket_min),
                    bucket_max: old.bucket_max.max(new.bucket_max),
                    diff_max: old.diff_max.max(new.diff_max),
                    count: old.count + new.count,
                })
            }
            (
                Note::OverlappingStart { metric, count },
                Some((Note::OverlappingStart { count: before, .. }, _)),
            ) => Note::OverlappingStart { metric, count: before + count },
            (note, _) => note,
        };
        self.0.insert(key, (merged, position));
    }

    /// Whether any tells how often something was met, or when.
    pub fn count_steps(&self) -> bool {
        let counts =
            |note: &Note| matches!(note, Note::ForcedMonotonicity(_) | Note::OverlappingStart { .. });
        self.0.values().any(|(note, _)| counts(note))
    }

    pub fn add_all(&mut self, others: Annotations) {
        others.0.into_values().for_each(|(note, position)| self.add(note, position));
    }

    /// Complete texts: warnings, then infos.
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (text, (note, position)) in &self.0 {
            let list = if note.is_warning() { &mut warnings } else { &mut infos };
            list.push(format!("{text}{} ({})", note.details(), line_column(query, position.start)));
        }
        (warnings, infos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_told_once_with_its_last_place() {
        let mut annotations = Annotations::default();
        let at = |start| PositionRange { start, end: start + 1 };
        annotations.add(Note::InvalidQuantile { q: 1.5 }, at(0));
        annotations.add(Note::InvalidQuantile { q: 1.5 }, at(9));
        annotations.add(Note::PossibleNonCounter { metric: "m".into() }, at(5));
        let (warnings, infos) = annotations.texts("12345\n78901234");
        assert_eq!(warnings, ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (2:4)"]);
        assert_eq!(infos.len(), 1);
        assert!(infos[0].ends_with("_bucket: \"m\" (1:6)"), "{infos:?}");
    }

    #[test]
    fn forced_monotonicity_merges_over_steps() {
        let mut annotations = Annotations::default();
        for (ts, diff) in [(60_000, 0.00123), (0, 2.0)] {
            let forced = ForcedMonotonicity {
                metric: String::new(),
                first_ms: ts,
                last_ms: ts,
                bucket_min: 0.1,
                bucket_max: 1.0,
                diff_max: diff,
                count: 1,
            };
            annotations.add(Note::ForcedMonotonicity(forced), PositionRange::default());
        }
        let (_, infos) = annotations.texts("");
        let end = ", from buckets 0.1 to 1, with a max diff of 2, over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:1)";
        assert!(infos[0].ends_with(end), "{infos:?}");
    }
}
