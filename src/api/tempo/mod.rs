//! Tempo's read API, for Grafana's Tempo data source and Traces Drilldown. Here: its routes, its parameters, its errors.
//!
//! Grafana reads the answer of a search strictly: a member it does not know is an error. Errors are their text alone.

mod jsonpb;
mod search;
mod tags;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use super::form::{Form, quoted};
use super::status::build;
use crate::model::{NanoRange, Nanos, TraceId};
use crate::query::traceql;

pub use jsonpb::push_any;
pub use trace::{by_id_v1_protobuf, wants_protobuf};

pub fn paths() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/echo", get(echo))
        .route("/api/status/buildinfo", get(buildinfo))
        .route("/api/v2/traces/{id}", get(trace::by_id))
        .route("/api/search", get(search::search))
        .route("/api/search/tags", get(tags::names))
        .route("/api/v2/search/tags", get(tags::names_by_scope))
        .route("/api/search/tag/{name}/values", get(tags::values))
        .route("/api/v2/search/tag/{name}/values", get(tags::typed_values))
        .route("/api/metrics/query_range", get(metrics))
        .route("/api/metrics/query", get(metrics))
}

type Answer = Result<Response, TempoError>;

/// The text of an error, without an envelope: Grafana shows it as it comes.
pub struct TempoError(ApiError);

impl<E: Into<ApiError>> From<E> for TempoError {
    fn from(error: E) -> TempoError {
        TempoError(error.into())
    }
}

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        self.0.respond("text/plain; charset=utf-8", self.0.to_string())
    }
}

/// What "Save & test" asks.
async fn echo() -> &'static str {
    "echo"
}

/// The version of Tempo whose API this is: Grafana decides by it what it may ask.
const API_VERSION: &str = "2.9.0";

async fn buildinfo() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], build(API_VERSION).to_string()).into_response()
}

/// `/api/metrics/query` and `query_range`.
async fn metrics(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let text = if form.get("q").is_empty() { form.get("query") } else { form.get("q") };
    Err(ApiError::Query(api.querier.refuse_trace_metrics(text)).into())
}

/// Short ids are padded, as everywhere.
pub fn trace_id(text: &str) -> Result<TraceId, ApiError> {
    text.parse().map_err(|error| ApiError::BadData(format!("invalid trace ID {}: {error}", quoted(text))))
}

/// `start` and `end`, in seconds; what is left out has no bound.
fn range(form: &Form) -> Result<NanoRange, ApiError> {
    let (start, end) = (form.nanos_or("start", Nanos::MIN)?, form.nanos_or("end", Nanos::MAX)?);
    if end < start {
        let reason = "end must not be before start".to_owned();
        return Err(ApiError::Parameter { name: "end", reason });
    }
    Ok(NanoRange::closed(start, end))
}

/// A whole number, at least `min`.
fn number(form: &Form, name: &'static str, min: usize, otherwise: usize) -> Result<usize, ApiError> {
    let text = form.get(name);
    if text.is_empty() {
        return Ok(otherwise);
    }
    text.parse().ok().filter(|number| *number >= min).ok_or_else(|| ApiError::Parameter {
        name,
        reason: format!("{} is not a whole number of at least {min}", quoted(text)),
    })
}

/// A duration such as `1.5s`, in nanoseconds; may be left out.
pub fn duration(form: &Form, name: &'static str) -> Result<Option<i64>, ApiError> {
    let text = form.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    traceql::duration(text).map(Some).ok_or_else(|| ApiError::Parameter {
        name,
        reason: format!("{} is not a duration such as 1.5s or 100ms", quoted(text)),
    })
}
