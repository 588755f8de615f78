//! `/api/v1/status/tsdb`: which metrics, labels and values have the most series, and what is sealed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::run_query::run_in_one_piece;
use super::status::success;
use crate::storage::{Cardinality, SealedSamples, Store};

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: i64 = 10_000;

pub async fn tsdb(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    let limit = limit(form.get("limit")).map_err(ApiError::BadData)?;
    run_in_one_piece(&api, &form, move |api| Ok(success(show(&api.store, limit)))).await
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

/// `/api/v1/status/tsdb/blocks`: our segments of samples, in the form of Prometheus's blocks.
pub async fn blocks(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    run_in_one_piece(&api, &form, |api| {
        Ok(success(json!({"blocks": api.store.sealed_samples().iter().map(block).collect::<Vec<_>>()})))
    })
    .await
}

fn block(segment: &SealedSamples) -> Value {
    json!({
        "ulid": ulid(segment.id.into()),
        "minTime": segment.min_time,
        // Theirs ends before its `maxTime`.
        "maxTime": segment.max_time.saturating_add(1),
        "stats": {"numSamples": segment.samples, "numSeries": segment.series},
        "compaction": {"level": segment.level + 1},
        // Of this description.
        "version": 1,
    })
}

/// A number as readers of blocks expect their ids: 26 digits of five bits.
fn ulid(number: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..26).rev().map(|digit| char::from(DIGITS[(number >> (digit * 5)) as usize & 31])).collect()
}

fn list(counts: &[Cardinality]) -> Value {
    counts.iter().map(|count| json!({"name": count.name, "value": count.value})).collect()
}
