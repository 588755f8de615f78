//! Values of unwrapped labels: kept one by one, then computed window by window in order of time.

use crate::model::{Labels, Nanos};
use crate::query::QueryError;
use crate::query::budget::Budget;
use crate::query::logql::ast::{Conversion, RangeOp};
use crate::query::logql::units::{parse_bytes, parse_go_duration};
use crate::query::promql::eval::math::quantile;
use crate::query::promql::eval::over_time::{average_floats, extreme, sum_floats, variance_of};
use crate::query::promql::eval::row::Row;

use super::windows::Windows;

/// One value. `part` keeps those of one instant in order of arrival, whichever thread read them.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub time: Nanos,
    pub part: u32,
    pub value: f64,
}

/// What an unwrap makes of a label's text; `Err` tells what was expected.
pub fn unwrapped(text: &str, conversion: Option<Conversion>) -> Result<f64, &'static str> {
    match conversion {
        None => text.parse().map_err(|_| "a number"),
        Some(Conversion::Bytes) => parse_bytes(text).map(|bytes| bytes as f64).ok_or("a size in bytes"),
        Some(Conversion::Duration | Conversion::DurationSeconds) => {
            parse_go_duration(text).map(|nanos| nanos as f64 / 1e9).ok_or("a duration")
        }
    }
}

/// One number of the values of a window, which are at least one.
pub fn value_of(op: RangeOp, parameter: f64, range_seconds: f64, values: &[f64]) -> f64 {
    match op {
        RangeOp::SumOverTime => sum_floats(values),
        RangeOp::Rate => sum_floats(values) / range_seconds,
        RangeOp::RateCounter => increase(values) / range_seconds,
        RangeOp::AvgOverTime => average_floats(values),
        RangeOp::MinOverTime => values[extreme(values, |value, best| value < best)],
        RangeOp::MaxOverTime => values[extreme(values, |value, best| value > best)],
        RangeOp::StdvarOverTime => variance_of(values),
        RangeOp::StddevOverTime => variance_of(values).sqrt(),
        RangeOp::QuantileOverTime => quantile(parameter, &mut values.to_vec()),
        RangeOp::FirstOverTime => values[0],
        RangeOp::LastOverTime => values[values.len() - 1],
        RangeOp::AbsentOverTime => 1.0,
        RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate => values.len() as f64,
    }
}

/// By how much a counter grew; a smaller value than the one before it begins anew at 0.
fn increase(values: &[f64]) -> f64 {
    let lost: f64 = values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum();
    values[values.len() - 1] - values[0] + lost
}

/// The values of a series at all steps that see any of its samples.
pub fn row(
    samples: &mut [Sample],
    windows: &Windows,
    budget: &Budget,
    value: impl Fn(&[f64]) -> f64,
) -> Result<Row, QueryError> {
    samples.sort_by_key(|sample| (sample.time, sample.part));
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    let mut row = Row::new(windows.len);
    let (mut first, mut end, mut seen) = (0, 0, 0);
    for step in 0..windows.len {
        let until = windows.end(step);
        let after = until.saturating_sub(windows.range);
        first += samples[first..].iter().take_while(|sample| sample.time <= after).count();
        end = end.max(first);
        end += samples[end..].iter().take_while(|sample| sample.time <= until).count();
        if first < end {
            row.set_float(step, value(&values[first..end]));
        }
        // Windows far longer than the step multiply the work.
        seen += end - first;
        if seen > 100_000 {
            seen = 0;
            budget.check()?;
        }
    }
    Ok(row)
}

/// The labels that a selector's equalities give to the series of an absence.
pub fn absent_labels(matchers: &[crate::model::Matcher]) -> Labels {
    crate::query::promql::eval::relabel::absent_labels(matchers)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::budget::Limits;

    #[test]
    fn each_operation_makes_its_number_of_a_window() {
        let values = [4.0, 1.0, 7.0];
        let of = |op| value_of(op, 0.5, 10.0, &values);
        assert_eq!(of(RangeOp::SumOverTime), 12.0);
        assert_eq!(of(RangeOp::Rate), 1.2);
        assert_eq!(of(RangeOp::RateCounter), 0.7, "4 to 1 is a reset: 4 were lost");
        assert_eq!(of(RangeOp::AvgOverTime), 4.0);
        assert_eq!((of(RangeOp::MinOverTime), of(RangeOp::MaxOverTime)), (1.0, 7.0));
        assert_eq!((of(RangeOp::StdvarOverTime), of(RangeOp::StddevOverTime)), (6.0, 6.0f64.sqrt()));
        assert_eq!(of(RangeOp::QuantileOverTime), 4.0);
        assert_eq!((of(RangeOp::FirstOverTime), of(RangeOp::LastOverTime)), (4.0, 7.0));
        assert_eq!(value_of(RangeOp::RateCounter, 0.0, 10.0, &[5.0]), 0.0);
    }

    #[test]
    fn labels_are_read_as_the_unwrap_says() {
        assert_eq!(unwrapped("1.5", None), Ok(1.5));
        assert_eq!(unwrapped("1.5s", None), Err("a number"));
        assert_eq!(unwrapped("1.5s", Some(Conversion::Duration)), Ok(1.5));
        assert_eq!(unwrapped("250ms", Some(Conversion::DurationSeconds)), Ok(0.25));
        assert_eq!(unwrapped("2KiB", Some(Conversion::Bytes)), Ok(2048.0));
    }

    #[test]
    fn samples_of_one_instant_stay_in_order_of_arrival() {
        let limits = Limits { samples_max: 1, series_max: 1, bytes_max: 1, log_bytes_max: 1 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(60), limits);
        let sample = |time, part, value| Sample { time, part, value };
        let mut samples = [sample(20, 0, 1.0), sample(10, 1, 3.0), sample(10, 0, 2.0), sample(10, 1, 4.0)];
        let windows = Windows { first_end: 10, step: 10, len: 3, range: 10 };
        let mut seen = |pick: fn(&[f64]) -> f64| {
            let row = row(&mut samples, &windows, &budget, pick).unwrap();
            (0..3).map(|step| row.float(step)).collect::<Vec<_>>()
        };
        assert_eq!(seen(|values| values[0]), [Some(2.0), Some(1.0), None]);
        assert_eq!(seen(|values| values[values.len() - 1]), [Some(4.0), Some(1.0), None]);
    }
}
