//! The operator's endpoints: health, readiness, our own metrics.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use crate::storage::MaintenanceError;

/// `GET /`: where to go from here.
pub async fn welcome() -> &'static str {
    concat!(
        "Icecore ",
        env!("CARGO_PKG_VERSION"),
        "\n\n\
         Metrics     /api/v1/query?query=up          POST /api/v1/write, /v1/metrics\n\
         Logs        /loki/api/v1/labels             POST /loki/api/v1/push, /v1/logs\n\
         Traces      /api/search?q={}                POST /v1/traces, /api/v2/spans\n\
         Grafana     a Prometheus, a Loki and a Tempo data source with this address (grafana/datasources.yaml)\n\
         Own metrics /metrics\n\
         Health      /-/healthy   /-/ready\n\
         State       /api/v1/status/tsdb   /api/v1/status/tiers   /api/v1/status/active_queries\n"
    )
}

/// `GET /-/healthy`: the process serves, and what it acknowledges reaches the disk.
pub async fn healthy(State(api): State<Arc<Api>>) -> Response {
    if api.store.is_log_failing() {
        let text = "Icecore cannot write its log: writes are refused, queries are answered.\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    }
    "Icecore is healthy.\n".into_response()
}

/// `GET /-/ready`: whoever balances load may send requests here.
pub async fn ready(State(api): State<Arc<Api>>) -> Response {
    if api.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Icecore is shutting down.\n").into_response();
    }
    "Icecore is ready.\n".into_response()
}

/// `GET /metrics`, in Prometheus's text format.
pub async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&api.registry.gather())
        .expect("the registry holds only metrics that it checked");
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// `POST /api/v1/admin/flush`: seals what is in memory; returns when it is in files.
pub async fn flush(State(api): State<Arc<Api>>) -> Result<StatusCode, ApiError> {
    maintain(&api, |api| api.store.seal(api.clock.now_ms())).await
}

/// `POST /api/v1/admin/compact`: merges the segments of each day into one, and rolls up days that are over; returns when done.
pub async fn compact(State(api): State<Arc<Api>>) -> Result<StatusCode, ApiError> {
    maintain(&api, |api| api.store.compact(api.clock.now_ms())).await
}

/// `POST /api/v1/admin/tsdb/…`: deleting and copying are not here, as they are not in a Prometheus that was not
/// told to allow them.
pub async fn tsdb(Path(task): Path<String>, method: Method, uri: Uri) -> ApiError {
    match task.as_str() {
        "delete_series" | "clean_tombstones" | "snapshot" => ApiError::Disabled("admin APIs"),
        _ => super::middleware::no_such_endpoint(&method, &uri),
    }
}

/// `/api/v1/search/…`, which the feature flag search-api would open in Prometheus.
pub async fn search(Path(what): Path<String>, method: Method, uri: Uri) -> ApiError {
    match what.as_str() {
        "metric_names" | "label_names" | "label_values" => ApiError::Disabled("search API"),
        _ => super::middleware::no_such_endpoint(&method, &uri),
    }
}

async fn maintain(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<(), MaintenanceError> + Send + 'static,
) -> Result<StatusCode, ApiError> {
    let api = api.clone();
    tokio::task::spawn_blocking(move || work(&api)).await.map_err(|_| ApiError::Panicked)??;
    Ok(StatusCode::NO_CONTENT)
}
