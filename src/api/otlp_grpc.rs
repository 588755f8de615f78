//! OTLP over gRPC.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response as HttpResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use tokio::sync::Semaphore;
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
    let bounds = (api.clone(), Arc::new(Semaphore::new(MESSAGES_MAX)));
    tonic::service::Routes::new(metrics)
        .into_axum_router()
        .reset_fallback()
        .layer(axum::middleware::from_fn_with_state(bounds, in_bounds))
}

/// As many messages are received and decoded at once; each may decode to `limits.max-decoded-bytes`.
const MESSAGES_MAX: usize = 32;

/// A message that does not arrive in time holds its connection no longer, and what cannot be read is its sender's
/// fault.
async fn in_bounds(
    State((api, messages)): State<(Arc<Api>, Arc<Semaphore>)>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> HttpResponse {
    let Ok(_message) = messages.try_acquire() else {
        return Status::from(&ApiError::PoolFull { pool: "write", admitted_max: MESSAGES_MAX }).into_http();
    };
    let timeout = api.options.body_timeout;
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => blaming_the_sender(response),
        Err(_) => Status::from(&ApiError::BodyTooSlow { seconds: timeout.as_secs_f64() }).into_http(),
    }
}

/// tonic says OUT_OF_RANGE of messages that are too long, and clients would send those again; and INTERNAL of
/// messages that are not protobuf. Our own services say neither.
fn blaming_the_sender(mut response: HttpResponse) -> HttpResponse {
    const STATUS: &str = "grpc-status";
    let is = |code: Code, value: &HeaderValue| value.as_bytes() == (code as i32).to_string().as_bytes();
    let code = match response.headers().get(STATUS) {
        Some(value) if is(Code::OutOfRange, value) => Code::ResourceExhausted,
        Some(value) if is(Code::Internal, value) => Code::InvalidArgument,
        _ => return response,
    };
    response.headers_mut().insert(STATUS, HeaderValue::from(code as i32));
    response
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
            .and_then(|outcome| answer(&self.0, outcome))
            .map(Response::new)
            .map_err(|error| {
                self.0.refusals.tell("OTLP", &error);
                Status::from(&error)
            })
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

impl From<&ApiError> for Status {
    /// Where waiting helps the client is told for how long.
    fn from(error: &ApiError) -> Status {
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
}
