//! The list of queries that run or wait, and the end of one of them. Both paths are ours: Prometheus has neither.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::form::{Form, quoted};
use super::origin::Origin;
use super::status::{rfc3339, success};
use crate::query::promql::parser::TEXT_BYTES_MAX;
use crate::query::{Budget, RunningQuery};

/// A query about to be asked, as the list shows it. No text is longer than that of a query may be.
pub fn running_query(api: &Api, mut text: String) -> RunningQuery {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    let origin = Origin::current();
    RunningQuery {
        kind: origin.language(),
        text,
        path: origin.uri.path().to_owned(),
        client: origin.client,
        started_at: api.clock.now_ms(),
    }
}

/// Whatever says what is asked for.
pub fn query_text(form: &Form) -> String {
    let named = ["query", "q", "tags"].into_iter().map(|name| form.get(name)).find(|text| !text.is_empty());
    named.map_or_else(|| form.all("match[]").join(" "), str::to_owned)
}

/// `GET /api/v1/status/active_queries`.
pub async fn list(State(api): State<Arc<Api>>) -> Response {
    let now = api.clock.now_ms();
    let show = |(id, query, budget): (u64, RunningQuery, Budget)| -> Value {
        json!({
            "id": id,
            "kind": query.kind,
            "query": query.text,
            "path": query.path,
            "client": query.client.map_or_else(String::new, |client| client.to_string()),
            "started": rfc3339(query.started_at),
            "seconds": (now - query.started_at).max(0) as f64 / 1_000.0,
            "state": if budget.queue_time().is_some() { "running" } else { "waiting" },
            "samplesRead": budget.samples_used(),
        })
    };
    success(json!({"queries": api.running.list().into_iter().map(show).collect::<Vec<_>>()}))
}

/// `POST /api/v1/admin/queries/{id}/cancel`: its client is told that the query was cancelled.
pub async fn cancel(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    match id.parse() {
        Ok(number) if api.running.cancel(number) => Ok(StatusCode::NO_CONTENT),
        _ => Err(ApiError::NotFound(format!("no query with the id {} is running", quoted(&id)))),
    }
}
