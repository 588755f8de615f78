//! OTLP over gRPC, for all signals. A message is not decoded here: the receivers read it as they read HTTP's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response as HttpResponse;
use axum::routing::{MethodRouter, post};
use bytes::{Buf, Bytes};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status};

use super::Api;
use super::error::ApiError;
use super::otlp::{ExportResponse, RpcAny, RpcDuration, RpcRetryInfo, RpcStatus, answer, refusal_name};
use super::write::durable;
use crate::ingest::{BodyFormat, Encoding};
use crate::storage::Signal;

/// The services, as routes beside all others. Services that are not here answer UNIMPLEMENTED.
pub fn routes(api: &Arc<Api>) -> Router {
    let bounds = (api.clone(), Arc::new(Semaphore::new(MESSAGES_MAX)));
    Router::new()
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", receiver(Signal::Metrics))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", receiver(Signal::Logs))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", receiver(Signal::Traces))
        .with_state(api.clone())
        .layer(axum::middleware::from_fn_with_state(bounds, in_bounds))
}

fn receiver(signal: Signal) -> MethodRouter<Arc<Api>> {
    post(move |State(api): State<Arc<Api>>, request: axum::extract::Request| async move {
        let mut grpc = Grpc::new(AsItCame)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(api.options.decoded_bytes_max);
        let export = tower::service_fn(move |request: Request<Bytes>| {
            let api = api.clone();
            async move { export(&api, signal, request.into_inner()).await }
        });
        grpc.unary(export, request).await.map(Body::new)
    })
}

async fn export(api: &Arc<Api>, signal: Signal, message: Bytes) -> Result<Response<ExportResponse>, Status> {
    let (worker, now) = (api.clone(), api.clock.now_ms());
    // What was compressed, the transport has decompressed.
    let (encoding, format) = (Encoding::Identity, BodyFormat::Protobuf);
    durable(api, move |done| worker.ingest.otlp(signal, &message, encoding, format, now, done))
        .await
        .and_then(|outcome| answer(api, signal, outcome))
        .map(Response::new)
        .map_err(|error| {
            api.refusals.tell(refusal_name(signal), &error);
            Status::from(&error)
        })
}

/// Messages as their bytes, and answers as they are on the wire for every signal.
struct AsItCame;

impl Codec for AsItCame {
    type Encode = ExportResponse;
    type Decode = Bytes;
    type Encoder = AsItCame;
    type Decoder = AsItCame;

    fn encoder(&mut self) -> AsItCame {
        AsItCame
    }

    fn decoder(&mut self) -> AsItCame {
        AsItCame
    }
}

impl Encoder for AsItCame {
    type Item = ExportResponse;
    type Error = Status;

    fn encode(&mut self, answer: ExportResponse, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(to).expect("the buffer grows");
        Ok(())
    }
}

impl Decoder for AsItCame {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// As many messages are received at once; each may be as long as `limits.max-decoded-bytes`.
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
    Status::unimplemented("no such service: OTLP's metrics, logs and traces are received here").into_http()
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
