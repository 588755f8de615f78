//! `detected_labels`, `detected_fields` and their values: what Logs Drilldown offers to filter by.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};

use super::Answer;
use super::params::{Bounds, LABELS_SINCE_MS, QUERY_SINCE_MS, optional_query, positive};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::Form;
use crate::api::json::{JsonWriter, push_string};
use crate::api::prometheus::read_form;
use crate::api::run_query::run_query;
use crate::query::logs::{DetectedField, DetectedFieldsQuery};

/// Fields, or values of one, that are told.
const FIELDS_DEFAULT: usize = 1_000;
/// Entries that are looked at to find them.
const LINES_DEFAULT: usize = 1_000;

/// `/loki/api/v1/detected_labels`.
pub async fn labels(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let range = Bounds::of(&form, api.clock.now_ns(), LABELS_SINCE_MS)?.closed();
    let expr = optional_query(&form);
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.detected_labels(expr.as_deref(), range, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""detectedLabels":"#);
        json.list(&found, |json, label| {
            json.raw(r#"{"label":"#);
            push_string(json.text(), &label.label);
            json.raw(&format!(r#","cardinality":{}}}"#, label.cardinality));
            Ok(())
        })?;
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/detected_fields`.
pub async fn fields(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let request = fields_query(&api, &form)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.detected_fields(&request, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""fields":"#);
        json.list(&found, push_field)?;
        json.raw(&format!(r#","limit":{}"#, request.limit));
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/loki/api/v1/detected_field/<name>/values`.
pub async fn values(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = read_form(&api, &uri, &headers, body).await?;
    let request = fields_query(&api, &form)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let found = api.querier.detected_field_values(&name, &request, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""values":"#);
        json.strings(&found)?;
        json.raw(&format!(r#","limit":{}"#, request.limit));
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

fn fields_query(api: &Api, form: &Form) -> Result<DetectedFieldsQuery, ApiError> {
    let bounds = Bounds::of(form, api.clock.now_ns(), QUERY_SINCE_MS)?;
    Ok(DetectedFieldsQuery {
        expr: form.get("query").to_owned(),
        start: bounds.start,
        end: bounds.end,
        line_limit: positive(form, "line_limit", LINES_DEFAULT)?,
        limit: positive(form, "limit", FIELDS_DEFAULT)?,
    })
}

/// Structured metadata needs no parser: `null`, by which Drilldown knows it.
fn push_field(json: &mut JsonWriter, field: &DetectedField) -> Result<(), ApiError> {
    json.raw(r#"{"label":"#);
    push_string(json.text(), &field.label);
    let (type_name, cardinality) = (field.field_type.text(), field.cardinality);
    json.raw(&format!(r#","type":"{type_name}","cardinality":{cardinality},"parsers":"#));
    match field.parsers.is_empty() {
        true => _ = json.raw("null"),
        false => json.strings(&field.parsers)?,
    }
    if !field.json_path.is_empty() {
        json.raw(r#","jsonPath":"#);
        json.strings(&field.json_path)?;
    }
    json.raw("}");
    Ok(())
}
