//! What the receivers are told: limits, and the forms that bodies come in.

use super::OtlpOptions;
use crate::model::time::{DAY, MINUTE};
use crate::storage::PerSignal;

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

/// How far back a sender may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as samples are kept as they were sent.
    Live,
    /// As far as the last tier goes: somebody brings history in.
    Backfill,
}

/// Of protocols that have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
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
    pub line_bytes_max: usize,
    /// Labels of one stream of log entries, `service_name` not counted.
    pub stream_labels_max: usize,
    /// Of one log entry.
    pub metadata_names_max: usize,
    pub metadata_bytes_max: usize,
    pub span_bytes_max: usize,
    /// What is further ahead of the clock is refused.
    pub ahead_max_ms: i64,
    /// What is further behind the clock is refused: the retention of the signal, for metrics that of the hot tier.
    pub behind_max_ms: PerSignal<i64>,
    /// The same for samples of a backfill: the retention of the last tier.
    pub backfill_age_ms: i64,
    pub otlp: OtlpOptions,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            decoded_bytes_max: 32 << 20,
            labels_max: 64,
            label_name_bytes_max: 1 << 10,
            label_value_bytes_max: 2 << 10,
            histogram_buckets_max: 1_000,
            line_bytes_max: 256 << 10,
            stream_labels_max: 15,
            metadata_names_max: 128,
            metadata_bytes_max: 64 << 10,
            span_bytes_max: 1 << 20,
            ahead_max_ms: 10 * MINUTE,
            behind_max_ms: PerSignal { metrics: 15 * DAY, logs: 30 * DAY, traces: 7 * DAY },
            backfill_age_ms: 15 * DAY,
            otlp: OtlpOptions::default(),
        }
    }
}
