//! `labels`, `label/<name>/values` and `series`: what the label browser asks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};

use super::Answer;
use super::params::{Bounds, LABELS_SINCE_MS, optional_query};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::json::push_labels;
use crate::api::prometheus::read_form;
use crate::api::run_query::run_query;

/// `/loki/api/v1/labels`.
pub async fn labels(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let range = Bounds::of(&form, api.clock.now_ns(), LABELS_SINCE_MS)?.closed();
    let expr = optional_query(&form);
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.log_label_names(expr.as_deref(), range, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.strings(&found.items)?;
        Ok(json.finish(&found.warnings, &[]))
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/label/<name>/values`.
pub async fn values(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let range = Bounds::of(&form, api.clock.now_ns(), LABELS_SINCE_MS)?.closed();
    let expr = optional_query(&form);
    let answer = run_query(&api, &form, move |api, budget| {
        let found =
            api.querier.log_label_values(&name, expr.as_deref(), range, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.strings(&found.items)?;
        Ok(json.finish(&found.warnings, &[]))
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/series`; the selectors stand in `match[]`, or in `match`.
pub async fn series(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let range = Bounds::of(&form, api.clock.now_ns(), LABELS_SINCE_MS)?.closed();
    let selectors = [form.all("match[]"), form.all("match")].concat();
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.log_series(&selectors, range, budget).map_err(ApiError::Query)?;
        let mut json = api.json().within(budget);
        json.list(&found.items, |json, labels| {
            push_labels(json.text(), labels);
            Ok(())
        })?;
        Ok(json.finish(&found.warnings, &[]))
    });
    Ok(answer.await?)
}
