//! Loki's push API: 204 when all is durable, 400 in plain words where something was refused; the rest is stored.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::super::Api;
use super::super::error::ApiError;
use super::super::form::quoted;
use super::super::limits::{content_encoding, media_type, read_body};
use super::super::write::{durable, rejection};
use super::LokiError;
use crate::ingest::{BodyFormat, Encoding};

pub async fn push(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, LokiError> {
    receive(&api, &headers, body).await.inspect_err(|error| api.refusals.tell("Loki push", error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn receive(api: &Arc<Api>, headers: &HeaderMap, body: Body) -> Result<(), ApiError> {
    let (format, encoding) = forms(headers)?;
    let body = read_body(api, body).await?;
    let (worker, now) = (api.clone(), api.clock.now_ms());
    let outcome =
        durable(api, move |done| worker.ingest.loki_push(&body, encoding, format, now, done)).await?;
    rejection(&outcome).map_or(Ok(()), Err)
}

/// Protobuf is in snappy's block format, whether or not the headers say so.
fn forms(headers: &HeaderMap) -> Result<(BodyFormat, Encoding), ApiError> {
    let (essence, _) = media_type(headers);
    let encoding = content_encoding(headers)?;
    match essence.as_str() {
        "application/json" => Ok((BodyFormat::Json, encoding)),
        "" | "application/x-protobuf" => match encoding {
            Encoding::Identity | Encoding::Snappy => Ok((BodyFormat::Protobuf, Encoding::Snappy)),
            _ => Err(ApiError::UnsupportedMedia(
                "pushed protobuf is compressed with snappy (block format) and nothing else".to_owned(),
            )),
        },
        other => Err(ApiError::UnsupportedMedia(format!(
            "content-type {} is not supported: use application/x-protobuf or application/json",
            quoted(other)
        ))),
    }
}
