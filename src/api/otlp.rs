//! OTLP over HTTP: protobuf and JSON, answered in the language of the request; errors are `google.rpc.Status`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::limits::{content_encoding, media_type, read_body};
use super::write::{durable, rejection};
use crate::ingest::{Encoding, OtlpFormat, Outcome};

/// `POST /v1/metrics`.
pub async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    let format = match format(&headers) {
        Ok(format) => format,
        Err(error) => return error.into_response(),
    };
    match receive(&api, &headers, body, format).await {
        Ok(answer) => success(&answer, format),
        Err(error) => {
            api.refusals.tell("OTLP", &error);
            failure(&error, format)
        }
    }
}

/// `POST /v1/logs` and `/v1/traces`.
pub async fn not_yet() -> ApiError {
    ApiError::NotFound("this build receives metrics alone: logs and traces are not stored yet".to_owned())
}

async fn receive(
    api: &Arc<Api>,
    headers: &HeaderMap,
    body: Body,
    format: OtlpFormat,
) -> Result<ExportMetricsServiceResponse, ApiError> {
    let encoding: Encoding = content_encoding(headers)?;
    let body = read_body(api, body).await?;
    let (worker, now) = (api.clone(), api.clock.now_ms());
    let outcome =
        durable(api, move |done| worker.ingest.otlp_metrics(&body, encoding, format, now, done)).await?;
    answer(api, outcome)
}

/// Full success, partial success, or an error where nothing at all was taken.
pub fn answer(api: &Api, outcome: Outcome) -> Result<ExportMetricsServiceResponse, ApiError> {
    let taken = outcome.samples + outcome.histograms;
    let partial_success = match rejection(&outcome) {
        None => None,
        Some(error) if taken == 0 => return Err(error),
        Some(error) => {
            api.refusals.tell("OTLP", &error);
            Some(ExportMetricsPartialSuccess {
                rejected_data_points: outcome.rejected as i64,
                error_message: error.to_string(),
            })
        }
    };
    Ok(ExportMetricsServiceResponse { partial_success })
}

fn format(headers: &HeaderMap) -> Result<OtlpFormat, ApiError> {
    let (essence, _) = media_type(headers);
    match essence.as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(OtlpFormat::Protobuf),
        "application/json" => Ok(OtlpFormat::Json),
        other => Err(ApiError::UnsupportedMedia(format!(
            "content-type {} is not supported: use application/x-protobuf or application/json",
            super::form::quoted(other)
        ))),
    }
}

fn content_type(format: OtlpFormat) -> &'static str {
    match format {
        OtlpFormat::Protobuf => "application/x-protobuf",
        OtlpFormat::Json => "application/json",
    }
}

fn success(answer: &ExportMetricsServiceResponse, format: OtlpFormat) -> Response {
    let body = match (format, &answer.partial_success) {
        (OtlpFormat::Protobuf, _) => answer.encode_to_vec(),
        (OtlpFormat::Json, None) => b"{}".to_vec(),
        (OtlpFormat::Json, Some(partial)) => {
            // 64-bit integers are strings in protobuf's JSON.
            let rejected = partial.rejected_data_points.to_string();
            let partial = json!({"rejectedDataPoints": rejected, "errorMessage": partial.error_message});
            json!({"partialSuccess": partial}).to_string().into_bytes()
        }
    };
    ([(header::CONTENT_TYPE, content_type(format))], body).into_response()
}

fn failure(error: &ApiError, format: OtlpFormat) -> Response {
    let code = error.grpc_code() as i32;
    let message = error.to_string();
    let body = match format {
        OtlpFormat::Protobuf => RpcStatus { code, message, details: Vec::new() }.encode_to_vec(),
        OtlpFormat::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    };
    let mut response = error.respond(content_type(format), body);
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        // A client drops what was answered with 500, and sends again after 503.
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
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
