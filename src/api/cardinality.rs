//! `/api/v1/status/tsdb`: which metrics, labels and values have the most series.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::prometheus::on_worker;
use super::status::success;
use crate::model::{Labels, TimeRange};
use crate::query::{Budget, QueryError};

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 10_000;

pub async fn tsdb(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    let limit = match form.limit("limit")? {
        0 if form.get("limit").is_empty() => LIMIT_DEFAULT,
        limit @ 1..=LIMIT_MAX => limit,
        _ => {
            let reason = format!("must be a number from 1 to {LIMIT_MAX}");
            return Err(ApiError::Parameter { name: "limit", reason });
        }
    };
    on_worker(&api, &form, move |api, budget| {
        let series = api
            .store
            .metrics()
            .select(&[], TimeRange::ALL)
            .map_err(|error| ApiError::Query(QueryError::Internal(error.to_string())))?;
        budget.take_series(series.len() as u64)?;
        let counts = count(series.iter().map(|series| &series.labels), budget)?;
        Ok(success(counts.show(series.len(), limit)))
    })
    .await
}

#[derive(Default)]
struct Counts<'a> {
    series_by_metric: HashMap<&'a str, u64>,
    series_by_pair: HashMap<(&'a str, &'a str), u64>,
}

fn count<'a>(series: impl Iterator<Item = &'a Labels>, budget: &Budget) -> Result<Counts<'a>, ApiError> {
    const CHECK_EVERY: usize = 1_024;
    const BYTES_PER_PAIR: u64 = 64;
    let mut counts = Counts::default();
    for (i, labels) in series.enumerate() {
        if i % CHECK_EVERY == 0 {
            budget.check()?;
        }
        *counts.series_by_metric.entry(labels.metric_name()).or_default() += 1;
        for pair in labels {
            let count = counts.series_by_pair.entry(pair).or_default();
            if *count == 0 {
                budget.take_bytes(BYTES_PER_PAIR)?;
            }
            *count += 1;
        }
    }
    Ok(counts)
}

impl Counts<'_> {
    fn show(&self, series_count: usize, limit: usize) -> Value {
        let mut values_by_name: HashMap<&str, u64> = HashMap::new();
        let mut bytes_by_name: HashMap<&str, u64> = HashMap::new();
        for (name, value) in self.series_by_pair.keys() {
            *values_by_name.entry(name).or_default() += 1;
            *bytes_by_name.entry(name).or_default() += value.len() as u64;
        }
        let pairs = self.series_by_pair.iter().map(|((name, value), n)| (format!("{name}={value}"), *n));
        let metrics = self.series_by_metric.iter().filter(|(name, _)| !name.is_empty());
        json!({
            "headStats": {
                "numSeries": series_count,
                "numLabelPairs": self.series_by_pair.len(),
            },
            "seriesCountByMetricName": top(metrics.map(|(name, n)| (*name, *n)), limit),
            "labelValueCountByLabelName": top(values_by_name.into_iter(), limit),
            "memoryInBytesByLabelName": top(bytes_by_name.into_iter(), limit),
            "seriesCountByLabelValuePair": top(pairs, limit),
        })
    }
}

/// The `limit` largest, ties in the order of their names.
fn top<N: AsRef<str>>(counts: impl Iterator<Item = (N, u64)>, limit: usize) -> Value {
    let mut counts: Vec<(N, u64)> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.as_ref().cmp(b.0.as_ref())));
    counts.iter().take(limit).map(|(name, count)| json!({"name": name.as_ref(), "value": count})).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::labels::METRIC_NAME;
    use crate::query::budget::Limits;

    #[test]
    fn the_largest_come_first() {
        let series: Vec<Labels> = [("up", "a"), ("up", "b"), ("down", "a")]
            .iter()
            .map(|(name, job)| Labels::from_sorted([(METRIC_NAME, *name), ("job", *job)]))
            .collect();
        let limits = Limits { samples_max: 9, series_max: 9, bytes_max: 9_999 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(9), limits);
        let shown = count(series.iter(), &budget).unwrap().show(3, 1);
        assert_eq!(shown["headStats"], json!({"numSeries": 3, "numLabelPairs": 4}));
        assert_eq!(shown["seriesCountByMetricName"], json!([{"name": "up", "value": 2}]));
        assert_eq!(shown["seriesCountByLabelValuePair"], json!([{"name": "__name__=up", "value": 2}]));
        assert_eq!(shown["labelValueCountByLabelName"], json!([{"name": "__name__", "value": 2}]));
    }
}
