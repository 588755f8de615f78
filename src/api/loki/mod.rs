//! Loki's API, for senders, Grafana's Loki data source, Logs Drilldown and logcli. Here: its routes and its errors.
//!
//! Every endpoint takes its parameters from the query string or a form, and times in each of Loki's ways of writing
//! them (`params`). An error is its text alone, as Loki answers.

mod detected;
mod follow;
mod labels;
mod params;
mod push;
mod query;
mod result;
mod status;
mod tail;
mod volume;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::Api;
use super::error::ApiError;
pub use tail::TAILS_MAX;

pub fn paths() -> Router<Arc<Api>> {
    Router::new()
        .route("/loki/api/v1/push", post(push::push))
        .route("/api/prom/push", post(push::push))
        .route("/loki/api/v1/query", get(query::query).post(query::query))
        .route("/loki/api/v1/query_range", get(query::query_range).post(query::query_range))
        .route("/loki/api/v1/format_query", get(query::format_query).post(query::format_query))
        .route("/loki/api/v1/labels", get(labels::labels).post(labels::labels))
        .route("/loki/api/v1/label", get(labels::labels).post(labels::labels))
        .route("/loki/api/v1/label/{name}/values", get(labels::values).post(labels::values))
        .route("/loki/api/v1/series", get(labels::series).post(labels::series))
        .route("/loki/api/v1/index/stats", get(volume::stats).post(volume::stats))
        .route("/loki/api/v1/index/volume", get(volume::volume).post(volume::volume))
        .route("/loki/api/v1/index/volume_range", get(volume::volume_range).post(volume::volume_range))
        .route("/loki/api/v1/detected_labels", get(detected::labels).post(detected::labels))
        .route("/loki/api/v1/detected_fields", get(detected::fields).post(detected::fields))
        .route("/loki/api/v1/detected_field/{name}/values", get(detected::values).post(detected::values))
        .route("/loki/api/v1/tail", get(tail::tail))
        .route("/loki/api/v1/drilldown-limits", get(status::drilldown_limits))
        .route("/loki/api/v1/status/buildinfo", get(status::buildinfo))
        .route("/ready", get(status::ready))
}

type Answer = Result<Response, LokiError>;

/// What Loki's clients are told: the text of an error, without an envelope. Grafana looks for a `message` in JSON and
/// shows anything else as it comes; logcli prints it.
struct LokiError(ApiError);

impl<E: Into<ApiError>> From<E> for LokiError {
    fn from(error: E) -> LokiError {
        LokiError(error.into())
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response {
        self.0.respond("text/plain; charset=utf-8", self.0.to_string())
    }
}
