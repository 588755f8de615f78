//! From the bytes of a request to an admitted batch in the store's queues; synchronous, knows no HTTP.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use crate::model::{Labels, Timestamp};
use crate::storage::{Busy, Completion, Store};

/// How a body is compressed, by the names of HTTP's Content-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    /// The block format, as remote write uses it.
    Snappy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteWriteVersion {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpFormat {
    Protobuf,
    Json,
}

/// What is refused, with the defaults of the bad-inputs table.
#[derive(Clone, Debug)]
pub struct Options {
    pub decoded_bytes_max: usize,
    pub labels_max: usize,
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    pub histogram_buckets_max: usize,
    /// Samples further ahead of the clock are refused.
    pub ahead_max_ms: i64,
    /// Samples further behind the clock are refused: the retention of the hot tier.
    pub behind_max_ms: i64,
}

/// What became of an admissible request: the good rows are in the queues, the bad ones are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
    pub rejected: u64,
    /// The first few reasons, each naming what, where and the limit.
    pub reasons: Vec<String>,
    /// True if every reason will pass by waiting (a rate or series limit): the sender may retry.
    pub retryable: bool,
}

/// Why a whole request was refused; nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    #[error("decoded size {size} > {max} (--limits.max-decoded-bytes)")]
    TooLarge { size: u64, max: u64 },
    #[error("invalid {what} at byte {offset}: {reason}")]
    Malformed { what: &'static str, offset: usize, reason: String },
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// One sample of our own metrics on its way into our own store.
pub struct OwnSample {
    pub labels: Labels,
    pub value: f64,
}

/// The receivers. Every method: on `Ok`, `done` is called exactly once when the good rows are durable (at once if
/// there are none); on `Err`, never.
pub struct Ingest {}

impl Ingest {
    pub fn new(_store: Arc<Store>, _options: Options, _registry: &prometheus::Registry) -> Ingest {
        todo!()
    }

    /// Prometheus remote write; `body` as it came, compressed with snappy's block format.
    pub fn remote_write(
        &self,
        _body: &[u8],
        _version: RemoteWriteVersion,
        _now: Timestamp,
        _done: Completion,
    ) -> Result<Outcome, IngestError> {
        todo!()
    }

    /// OTLP/HTTP; `body` as it came.
    pub fn otlp_metrics(
        &self,
        _body: &[u8],
        _encoding: Encoding,
        _format: OtlpFormat,
        _now: Timestamp,
        _done: Completion,
    ) -> Result<Outcome, IngestError> {
        todo!()
    }

    /// OTLP/gRPC, where the transport has decoded the message.
    pub fn otlp_metrics_message(
        &self,
        _request: &ExportMetricsServiceRequest,
        _now: Timestamp,
        _done: Completion,
    ) -> Result<Outcome, IngestError> {
        todo!()
    }

    /// Our own metrics, scraped at `now`.
    pub fn own_metrics(
        &self,
        _samples: &[OwnSample],
        _now: Timestamp,
        _done: Completion,
    ) -> Result<Outcome, IngestError> {
        todo!()
    }
}
