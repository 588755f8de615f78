//! Zipkin's way to send spans: JSON, answered 202 when they are durable.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use super::limits::{content_encoding, media_type, read_body};
use super::write::{durable, rejection};

/// `POST /api/v2/spans`.
pub async fn spans(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    match receive(&api, &headers, body).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            api.refusals.tell("Zipkin", &error);
            error.respond("text/plain; charset=utf-8", error.to_string())
        }
    }
}

async fn receive(api: &Arc<Api>, headers: &HeaderMap, body: Body) -> Result<(), ApiError> {
    let (essence, _) = media_type(headers);
    if !matches!(essence.as_str(), "" | "application/json") {
        return Err(ApiError::UnsupportedMedia(format!(
            "content-type {} is not supported: use application/json",
            super::form::quoted(&essence)
        )));
    }
    let encoding = content_encoding(headers)?;
    let body = read_body(api, body).await?;
    let (worker, now) = (api.clone(), api.clock.now_ms());
    let outcome = durable(api, move |done| worker.ingest.zipkin(&body, encoding, now, done)).await?;
    rejection(&outcome).map_or(Ok(()), Err)
}
