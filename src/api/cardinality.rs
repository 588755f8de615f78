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
    on_worker(&api, &form, move |api, _| Ok(success(show(&api.store, limit)))).await
}

fn show(store: &Store, limit: usize) -> Value {
    let (stats, series) = (store.stats(), store.series_stats(limit));
    json!({
        "headStats": {
            "numSeries": stats.active_series,
            "numLabelPairs": series.label_pairs,
            "minTime": stats.time_range.after.saturating_add(1),
            "maxTime": stats.time_range.until,
        },
        "seriesCountByMetricName": list(&series.series_by_metric),
        "labelValueCountByLabelName": list(&series.values_by_label),
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": list(&series.series_by_pair),
    })
}

fn list(counts: &[Cardinality]) -> Value {
    counts.iter().map(|count| json!({"name": count.name, "value": count.value})).collect()
}
