//! OTLP over gRPC.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response as HttpResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};

use super::Api;
use super::error::ApiError;
use super::otlp::{RpcAny, RpcDuration, RpcRetryInfo, RpcStatus, answer};
use super::write::durable;

/// The services, as routes beside all others. Services that are not here answer UNIMPLEMENTED.
pub fn routes(api: &Arc<Api>) -> Router {
    let metrics = MetricsServiceServer::new(Metrics(api.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(api.options.decoded_bytes_max);
    tonic::service::Routes::new(metrics)
        .into_axum_router()
        .reset_fallback()
        .layer(axum::middleware::from_fn_with_state(api.clone(), in_time))
}

/// A message that does not arrive in time holds its connection no longer.
async fn in_time(
    State(api): State<Arc<Api>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> HttpResponse {
    let seconds = api.options.body_timeout.as_secs();
    tokio::time::timeout(api.options.body_timeout, next.run(request))
        .await
        .unwrap_or_else(|_| status(&ApiError::BodyTooSlow { seconds }).into_http())
}

pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

pub fn unimplemented() -> HttpResponse {
    Status::unimplemented("no such service: this build receives OTLP metrics alone").into_http()
}

struct Metrics(Arc<Api>);

#[tonic::async_trait]
impl MetricsService for Metrics {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (worker, now) = (self.0.clone(), self.0.clock.now_ms());
        let message = request.into_inner();
        durable(&self.0, move |done| worker.ingest.otlp_metrics_message(&message, now, done))
            .await
            .and_then(answer)
            .map(Response::new)
            .map_err(|error| status(&error))
    }
}

impl ApiError {
    /// The code by which an OTLP client decides whether to send again.
    pub fn grpc_code(&self) -> Code {
        match self.status().as_u16() {
            408 => Code::DeadlineExceeded,
            404 => Code::Unimplemented,
            400..500 if self.retry_after_seconds().is_none() => Code::InvalidArgument,
            // A client drops INTERNAL, and sends again after UNAVAILABLE.
            _ => Code::Unavailable,
        }
    }
}

fn status(error: &ApiError) -> Status {
    let (code, message) = (error.grpc_code(), error.to_string());
    let Some(seconds) = error.retry_after_seconds() else {
        return Status::new(code, message);
    };
    let retry = RpcRetryInfo { retry_delay: Some(RpcDuration { seconds: seconds as i64 }) };
    let details = RpcStatus {
        code: code as i32,
        message: message.clone(),
        details: vec![RpcAny {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: retry.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}
