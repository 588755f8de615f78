//! The operator's endpoints: health, readiness, our own metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;

/// `GET /`: where to go from here.
pub async fn welcome() -> &'static str {
    concat!(
        "Icecore ",
        env!("CARGO_PKG_VERSION"),
        "\n\n\
         Prometheus queries    /api/v1/query?query=up   (Grafana: a Prometheus data source with this address)\n\
         Remote write          POST /api/v1/write\n\
         OTLP metrics          POST /v1/metrics, or gRPC\n\
         Own metrics           /metrics\n\
         Health                /-/healthy   /-/ready\n\
         State                 /api/v1/status/tsdb   /api/v1/status/flags   /api/v1/status/runtimeinfo\n"
    )
}

/// `GET /-/healthy`: the process serves.
pub async fn healthy() -> &'static str {
    "Icecore is healthy.\n"
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
