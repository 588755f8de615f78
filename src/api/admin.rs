//! The operator's endpoints: health, readiness, our own metrics.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::prometheus::read_form;

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

/// `POST` or `PUT /api/v1/admin/tsdb/…`: refused, as by Prometheus, unless `--web.enable-admin-api` allows it.
pub async fn tsdb(
    State(api): State<Arc<Api>>,
    Path(task): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    match task.as_str() {
        "delete_series" | "clean_tombstones" | "snapshot" if !api.options.admin_api => {
            Err(ApiError::Disabled("admin APIs"))
        }
        "delete_series" => delete_series(&api, &read_form(&api, &uri, &headers, body).await?).await,
        "clean_tombstones" => maintain(&api, |api| api.store.clean_tombstones()).await,
        "snapshot" => Err(ApiError::Disabled("snapshots")),
        _ => Err(super::middleware::no_such_endpoint(&method, &uri)),
    }
}

/// What matches one of `match[]` from `start` to `end`, both included; left out, they are the beginning and the end of time.
async fn delete_series(api: &Arc<Api>, form: &Form) -> Result<StatusCode, ApiError> {
    let texts = form.all("match[]");
    if texts.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let range = form.range()?;
    let selectors = api.querier.selectors(&texts).map_err(|e| ApiError::of_query("match[]", e))?;
    maintain(api, move |api| api.store.delete_series(selectors, range, api.clock.now_ms())).await
}

/// `/api/v1/search/…`, which the feature flag search-api would open in Prometheus.
pub async fn search(Path(what): Path<String>, method: Method, uri: Uri) -> ApiError {
    match what.as_str() {
        "metric_names" | "label_names" | "label_values" => ApiError::Disabled("search API"),
        _ => super::middleware::no_such_endpoint(&method, &uri),
    }
}

async fn maintain<E>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<(), E> + Send + 'static,
) -> Result<StatusCode, ApiError>
where
    E: Send + 'static,
    ApiError: From<E>,
{
    let api = api.clone();
    tokio::task::spawn_blocking(move || work(&api)).await.map_err(|_| ApiError::Panicked)??;
    Ok(StatusCode::NO_CONTENT)
}
