//! OTLP over HTTP, for all signals: protobuf and JSON, answered in the language of the request; errors are
//! `google.rpc.Status`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use prost::Message;
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::limits::{content_encoding, media_type, read_body};
use super::write::{durable, rejection};
use crate::ingest::{BodyFormat, Outcome};
use crate::storage::Signal;

/// OTLP's own paths.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/metrics", receiver(Signal::Metrics))
        .route("/v1/logs", receiver(Signal::Logs))
        .route("/v1/traces", receiver(Signal::Traces))
}

/// Receives a signal with `POST`.
pub fn receiver(signal: Signal) -> MethodRouter<Arc<Api>> {
    post(move |State(api): State<Arc<Api>>, headers: HeaderMap, body: Body| async move {
        let format = match format(&headers) {
            Ok(format) => format,
            Err(error) => return error.into_response(),
        };
        match receive(&api, signal, &headers, body, format).await {
            Ok(answer) => success(signal, &answer, format),
            Err(error) => {
                api.refusals.tell(refusal_name(signal), &error);
                failure(&error, format)
            }
        }
    })
}

async fn receive(
    api: &Arc<Api>,
    signal: Signal,
    headers: &HeaderMap,
    body: Body,
    format: BodyFormat,
) -> Result<ExportResponse, ApiError> {
    let encoding = content_encoding(headers)?;
    let body = read_body(api, body).await?;
    let (worker, now) = (api.clone(), api.clock.now_ms());
    let outcome =
        durable(api, move |done| worker.ingest.otlp(signal, &body, encoding, format, now, done)).await?;
    answer(api, signal, outcome)
}

/// Full success, partial success, or an error where nothing at all was taken.
pub fn answer(api: &Api, signal: Signal, outcome: Outcome) -> Result<ExportResponse, ApiError> {
    let partial_success = match rejection(&outcome) {
        None => None,
        Some(error) if outcome.rows() == 0 => return Err(error),
        Some(error) => {
            api.refusals.tell(refusal_name(signal), &error);
            Some(PartialSuccess { rejected: outcome.rejected as i64, error_message: error.to_string() })
        }
    };
    Ok(ExportResponse { partial_success })
}

/// How the log of refusals calls this receiver.
pub fn refusal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "OTLP metrics",
        Signal::Logs => "OTLP logs",
        Signal::Traces => "OTLP traces",
    }
}

fn format(headers: &HeaderMap) -> Result<BodyFormat, ApiError> {
    let (essence, _) = media_type(headers);
    match essence.as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(BodyFormat::Protobuf),
        "application/json" => Ok(BodyFormat::Json),
        other => Err(ApiError::UnsupportedMedia(format!(
            "content-type {} is not supported: use application/x-protobuf or application/json",
            super::form::quoted(other)
        ))),
    }
}

fn content_type(format: BodyFormat) -> &'static str {
    match format {
        BodyFormat::Protobuf => "application/x-protobuf",
        BodyFormat::Json => "application/json",
    }
}

fn success(signal: Signal, answer: &ExportResponse, format: BodyFormat) -> Response {
    let body = match (format, &answer.partial_success) {
        (BodyFormat::Protobuf, _) => answer.encode_to_vec(),
        (BodyFormat::Json, None) => b"{}".to_vec(),
        (BodyFormat::Json, Some(partial)) => {
            let rejected_name = match signal {
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
                Signal::Traces => "rejectedSpans",
            };
            // 64-bit integers are strings in protobuf's JSON.
            let rejected = partial.rejected.to_string();
            let partial = json!({rejected_name: rejected, "errorMessage": partial.error_message});
            json!({"partialSuccess": partial}).to_string().into_bytes()
        }
    };
    ([(header::CONTENT_TYPE, content_type(format))], body).into_response()
}

fn failure(error: &ApiError, format: BodyFormat) -> Response {
    let code = error.grpc_code() as i32;
    let message = error.to_string();
    let body = match format {
        BodyFormat::Protobuf => RpcStatus { code, message, details: Vec::new() }.encode_to_vec(),
        BodyFormat::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    };
    let mut response = error.respond(content_type(format), body);
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        // A client drops what was answered with 500, and sends again after 503.
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// What `ExportMetricsServiceResponse`, `ExportLogsServiceResponse` and `ExportTraceServiceResponse` are on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// Data points, log records or spans.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcAny {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`, whose one field is a `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcRetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<RpcDuration>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcDuration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}
