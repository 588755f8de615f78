//! Bodies of requests within their limits: length, time, encoding, and the memory of all of them together.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tonic::Status;

use super::Api;
use super::error::ApiError;
use super::room::Held;
use crate::ingest::Encoding;

/// Counts each body as it arrives, against its own limit and that of all together.
pub async fn admit_body(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let held = Arc::new(Mutex::new(api.bodies.hold_nothing()));
    let is_grpc = super::otlp_grpc::is_grpc(request.headers());
    let counted = request.map(|inner| {
        let bytes_max = api.options.body_bytes_max;
        Body::new(CountedBody { inner, held: held.clone(), bytes_max, is_grpc })
    });
    next.run(counted).await
}

struct CountedBody {
    inner: Body,
    /// Shared with whoever waits for the answer: the bytes live until then.
    held: Arc<Mutex<Held>>,
    bytes_max: usize,
    is_grpc: bool,
}

impl CountedBody {
    fn count(&self, bytes: usize) -> Result<(), ApiError> {
        let mut held = self.held.lock();
        if held.bytes() + bytes as u64 > self.bytes_max as u64 {
            return Err(ApiError::BodyTooLarge { max: self.bytes_max });
        }
        held.grow(bytes as u64).map_err(|full| ApiError::BodiesTooLarge { max: full.bytes_max })
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(polled.map(|frame| {
            let frame = frame?;
            let counted = self.count(frame.data_ref().map_or(0, Bytes::len));
            // tonic passes on what it knows, which is its own kind of error.
            counted.map_err(|error| match self.is_grpc {
                true => Status::from(&error).into(),
                false => axum::BoxError::from(error),
            })?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The whole body, as it came.
pub async fn read_body(api: &Api, body: Body) -> Result<Bytes, ApiError> {
    let (timeout, max) = (api.options.body_timeout, api.options.body_bytes_max);
    if body.size_hint().lower() > max as u64 {
        return Err(ApiError::BodyTooLarge { max });
    }
    tokio::time::timeout(timeout, collect(body))
        .await
        .map_err(|_| ApiError::BodyTooSlow { seconds: timeout.as_secs_f64() })?
}

async fn collect(mut body: Body) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(refusal)?;
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() && whole.is_empty() {
            // Most bodies are one frame, and are never copied.
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// Our own reason to stop reading, or the connection's.
fn refusal(error: axum::Error) -> ApiError {
    match error.into_inner().downcast::<ApiError>() {
        Ok(ours) => *ours,
        Err(theirs) => ApiError::BodyBroken(theirs.to_string()),
    }
}

/// The media type without its parameters, in lower case, and the parameters.
pub fn media_type(headers: &HeaderMap) -> (String, Vec<(String, String)>) {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    let parameters = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches('"').to_owned()))
        .collect();
    (essence, parameters)
}

/// How the body is compressed; at most one layer.
pub fn content_encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let mut found = Encoding::Identity;
    let texts = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    for text in texts.flat_map(|text| text.split(',')) {
        let encoding = match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => continue,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "deflate" | "zlib" => Encoding::Deflate,
            "zstd" => Encoding::Zstd,
            "snappy" => Encoding::Snappy,
            _ => {
                return Err(ApiError::UnsupportedMedia(format!(
                    "content-encoding {} is not supported: use gzip, deflate, zstd, snappy or none",
                    super::form::quoted(text)
                )));
            }
        };
        if found != Encoding::Identity {
            return Err(ApiError::UnsupportedMedia("only one content-encoding is supported".to_owned()));
        }
        found = encoding;
    }
    Ok(found)
}
