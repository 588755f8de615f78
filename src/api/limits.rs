//! Reading a request's body within its limits: length, time, encoding.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::error::ApiError;
use super::{Api, Options};
use crate::ingest::Encoding;

/// The whole body, as it came.
pub async fn read_body(api: &Api, body: Body) -> Result<Bytes, ApiError> {
    let timeout = api.options.body_timeout;
    tokio::time::timeout(timeout, collect(&api.options, body))
        .await
        .map_err(|_| ApiError::BodyTooSlow { seconds: timeout.as_secs() })?
}

async fn collect(options: &Options, mut body: Body) -> Result<Bytes, ApiError> {
    let max = options.body_bytes_max;
    let too_large = ApiError::BodyTooLarge { max };
    if body.size_hint().lower() > max as u64 {
        return Err(too_large);
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ApiError::BodyBroken(e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > max {
            return Err(too_large);
        }
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
