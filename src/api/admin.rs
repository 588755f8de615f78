//! The operator's endpoints: health, readiness, our own metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;

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
