//! Prometheus remote write, 1.0 and 2.0: decompressed, decoded and admitted by `Ingest`; answered when durable.
//!
//! With `backfill=1` in the query string samples may be as old as any tier keeps them, and not only the hot one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::json::write_error_body;
use super::limits::{content_encoding, media_type, read_body};
use crate::ingest::{Encoding, IngestError, Outcome, Reach, RemoteWriteVersion};
use crate::storage::{Completion, WriteError};

/// `POST /api/v1/write`.
pub async fn write(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let asked = version(&headers).and_then(|version| Ok((version, reach(&uri)?)));
    let (version, reach) = match asked {
        Ok(asked) => asked,
        Err(error) => return failure(&error, &Outcome::default()),
    };
    let (outcome, error) = match receive(&api, body, version, reach).await {
        Ok(outcome) => {
            let error = rejection(&outcome);
            (outcome, error)
        }
        Err(error) => (Outcome::default(), Some(error)),
    };
    let mut response = match error {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(error) => {
            api.refusals.tell("remote write", &error);
            failure(&error, &outcome)
        }
    };
    if version == RemoteWriteVersion::V2 {
        tell_written(response.headers_mut(), &outcome);
    }
    response
}

async fn receive(
    api: &Arc<Api>,
    body: Body,
    version: RemoteWriteVersion,
    reach: Reach,
) -> Result<Outcome, ApiError> {
    let body = read_body(api, body).await?;
    let now = api.clock.now_ms();
    let worker = api.clone();
    durable(api, move |done| worker.ingest.remote_write(&body, version, reach, now, done)).await
}

/// Runs one of the receivers and waits until what it admitted is durable.
pub async fn durable(
    api: &Arc<Api>,
    receiver: impl FnOnce(Completion) -> Result<Outcome, IngestError> + Send + 'static,
) -> Result<Outcome, ApiError> {
    let (tell, durable) = oneshot::channel();
    // A client that has left is not told.
    let done: Completion = Box::new(move |result| drop(tell.send(result)));
    let outcome = api.workers.write(move || receiver(done)).await??;
    // The store keeps its promise to call `done`, unless it dies first.
    durable.await.unwrap_or(Err(WriteError::Closed))?;
    Ok(outcome)
}

/// The error that names the rows refused, if any were.
pub fn rejection(outcome: &Outcome) -> Option<ApiError> {
    (outcome.rejected > 0).then(|| ApiError::Rejected {
        rejected: outcome.rejected,
        stored: stored(outcome),
        reasons: outcome.reasons.join("; "),
        retryable: outcome.retryable,
    })
}

fn stored(outcome: &Outcome) -> u64 {
    outcome.rows() + outcome.exemplars
}

/// Prometheus's envelope with counts; the sender logs the text as it comes.
fn failure(error: &ApiError, outcome: &Outcome) -> Response {
    let (kind, message) = (error.kind().as_str(), error.to_string());
    error.respond("application/json", write_error_body(kind, &message, stored(outcome), outcome.rejected))
}

/// Whether the sender says that it brings history.
fn reach(uri: &Uri) -> Result<Reach, ApiError> {
    let name = "backfill";
    match Form::new(uri, &Bytes::new()).get(name) {
        "" | "0" | "false" => Ok(Reach::Live),
        "1" | "true" => Ok(Reach::Backfill),
        other => {
            let reason = format!("{} is neither 1 nor 0", super::form::quoted(other));
            Err(ApiError::Parameter { name, reason })
        }
    }
}

/// What the content type says; senders older than the types send none, and mean 1.0 in snappy.
fn version(headers: &HeaderMap) -> Result<RemoteWriteVersion, ApiError> {
    let (essence, parameters) = media_type(headers);
    if !matches!(essence.as_str(), "" | "application/x-protobuf") {
        return Err(ApiError::UnsupportedMedia(format!(
            "content-type {} is not supported: use application/x-protobuf",
            super::form::quoted(&essence)
        )));
    }
    let is_named = headers.contains_key("content-encoding");
    if is_named && content_encoding(headers)? != Encoding::Snappy {
        return Err(ApiError::UnsupportedMedia(
            "remote write is compressed with snappy (block format) and nothing else".to_owned(),
        ));
    }
    match parameters.iter().find(|(name, _)| name == "proto").map(|(_, value)| value.as_str()) {
        None | Some("prometheus.WriteRequest") => Ok(RemoteWriteVersion::V1),
        Some("io.prometheus.write.v2.Request") => Ok(RemoteWriteVersion::V2),
        Some(other) => Err(ApiError::UnsupportedMedia(format!(
            "message {} is not supported: use prometheus.WriteRequest or io.prometheus.write.v2.Request",
            super::form::quoted(other)
        ))),
    }
}

fn tell_written(headers: &mut HeaderMap, outcome: &Outcome) {
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", outcome.samples),
        ("x-prometheus-remote-write-histograms-written", outcome.histograms),
        ("x-prometheus-remote-write-exemplars-written", outcome.exemplars),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
    }
}
