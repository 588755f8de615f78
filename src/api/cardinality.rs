//! `/api/v1/status/tsdb`: which metrics, labels and values have the most series.

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
use crate::storage::{Cardinality, Store};

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: i64 = 10_000;

pub async fn tsdb(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    let limit = limit(form.get("limit")).map_err(ApiError::BadData)?;
    on_worker(&api, &form, move |api, _| Ok(success(show(&api.store, limit)))).await
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse::<i64>() {
        _ if text.is_empty() => Ok(LIMIT_DEFAULT),
        Ok(1..=LIMIT_MAX) => Ok(text.parse().expect("it is a small number")),
        Ok(1..) => Err(format!("limit must not exceed {LIMIT_MAX}")),
        _ => Err("limit must be a positive number".to_owned()),
    }
}

fn show(store: &Store, limit: usize) -> Value {
    let (stats, series) = (store.stats(), store.series_stats(limit));
    json!({
        "headStats": {
            "numSeries": stats.active_series,
            "numLabelPairs": series.label_pairs,
            // Our head is not cut into chunks: each series is one.
            "chunkCount": stats.active_series,
            "minTime": stats.time_range.after.saturating_add(1),
            "maxTime": stats.time_range.until,
        },
        "seriesCountByMetricName": list(&series.series_by_metric),
        "labelValueCountByLabelName": list(&series.values_by_label),
        "memoryInBytesByLabelName": list(&series.bytes_by_label),
        "seriesCountByLabelValuePair": list(&series.series_by_pair),
    })
}

fn list(counts: &[Cardinality]) -> Value {
    counts.iter().map(|count| json!({"name": count.name, "value": count.value})).collect()
}
