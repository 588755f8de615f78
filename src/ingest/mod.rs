//! From the bytes of a request to an admitted batch in the store's queues; synchronous, knows no HTTP.

mod admission;
mod decompress;
mod intake;
mod otlp;
mod protobuf;
mod remote_write;
mod series_cache;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use parking_lot::Mutex;

use crate::model::time::{DAY, MINUTE};
use crate::model::{Labels, Timestamp};
use crate::storage::{Busy, Completion, Store};

pub use otlp::{Options as OtlpOptions, TranslationStrategy};

use decompress::BufferPool;
use intake::Intake;
use protobuf::WireError;
use series_cache::{SeriesCache, SpellingHash};
use stats::{Protocol, Stats};

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
            ahead_max_ms: 10 * MINUTE,
            behind_max_ms: 15 * DAY,
            otlp: OtlpOptions::default(),
        }
    }
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
    /// Of a format that does not declare its size.
    #[error("decompressed more than {} (--limits.max-decoded-bytes)", mebibytes(*max))]
    DecompressesTooFar { max: u64 },
    #[error("invalid {what} at byte {offset}: {reason}")]
    Malformed { what: &'static str, offset: usize, reason: String },
    /// JSON, but not OTLP's.
    #[error("invalid OTLP: {field} is not {expected}")]
    BadField { field: &'static str, expected: &'static str },
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// One sample of our own metrics on its way into our own store.
pub struct OwnSample {
    pub labels: Labels,
    pub value: f64,
}

impl From<WireError> for IngestError {
    fn from(error: WireError) -> IngestError {
        IngestError::Malformed { what: "protobuf", offset: error.offset, reason: error.reason.to_owned() }
    }
}

/// The receivers. Every method: on `Ok`, `done` is called exactly once when the good rows are durable (at once if
/// there are none); on `Err`, never.
pub struct Ingest {
    store: Arc<Store>,
    options: Options,
    buffers: BufferPool,
    spelling_hash: SpellingHash,
    series: SeriesCache,
    /// Of metric families and what was told of them.
    families: SeriesCache,
    stats: Stats,
}

impl Ingest {
    pub fn new(store: Arc<Store>, options: Options, registry: &prometheus::Registry) -> Ingest {
        let epoch = store.series_epoch();
        Ingest {
            store,
            options,
            buffers: BufferPool::new(),
            spelling_hash: SpellingHash::new(),
            series: SeriesCache::new(series_cache::ENTRIES_MAX, epoch),
            families: SeriesCache::new(FAMILIES_MAX, epoch),
            stats: Stats::new(registry),
        }
    }

    /// Prometheus remote write; `body` as it came, compressed with snappy's block format.
    pub fn remote_write(
        &self,
        body: &[u8],
        version: RemoteWriteVersion,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        let protocol = match version {
            RemoteWriteVersion::V1 => Protocol::RemoteWriteV1,
            RemoteWriteVersion::V2 => Protocol::RemoteWriteV2,
        };
        self.stats.received(protocol, body.len());
        self.counting_refusals(now, || {
            let body = self.buffers.decompress(body, Encoding::Snappy, self.options.decoded_bytes_max)?;
            self.stats.decoded(protocol, body.len());
            self.admit(protocol, now, done, |intake| match version {
                RemoteWriteVersion::V1 => Ok(remote_write::v1::read(&body, &self.spelling_hash, intake)?),
                RemoteWriteVersion::V2 => remote_write::v2::read(&body, &self.spelling_hash, intake),
            })
        })
    }

    /// OTLP/HTTP; `body` as it came.
    pub fn otlp_metrics(
        &self,
        body: &[u8],
        encoding: Encoding,
        format: OtlpFormat,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        self.stats.received(Protocol::Otlp, body.len());
        self.counting_refusals(now, || {
            let body = self.buffers.decompress(body, encoding, self.options.decoded_bytes_max)?;
            self.stats.decoded(Protocol::Otlp, body.len());
            let request = otlp::decode(&body, format, self.options.decoded_bytes_max)?;
            self.otlp(&request, now, done)
        })
    }

    /// OTLP/gRPC, where the transport has decoded the message.
    pub fn otlp_metrics_message(
        &self,
        request: &ExportMetricsServiceRequest,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        self.stats.received(Protocol::Otlp, prost::Message::encoded_len(request));
        self.counting_refusals(now, || self.otlp(request, now, done))
    }

    fn otlp(
        &self,
        request: &ExportMetricsServiceRequest,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        self.admit(Protocol::Otlp, now, done, |intake| {
            otlp::read(request, &self.spelling_hash, intake);
            Ok(())
        })
    }

    /// Our own metrics, scraped at `now`.
    pub fn own_metrics(
        &self,
        samples: &[OwnSample],
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        self.stats.received(Protocol::OwnMetrics, 0);
        self.counting_refusals(now, || {
            self.admit(Protocol::OwnMetrics, now, done, |intake| {
                for sample in samples {
                    let spelling = sample.labels.fingerprint();
                    let written = intake
                        .resolve(spelling, |_| Ok(sample.labels.clone()))
                        .and_then(|series| intake.sample(series, now, sample.value));
                    written.unwrap_or_else(|rejection| intake.refuse(rejection, 1));
                }
                Ok(())
            })
        })
    }

    fn intake(&self, now: Timestamp) -> Intake<'_> {
        let series = self.series.lookup(|| self.store.series_epoch());
        // The store may forget metadata with the segments that held it, so it is told again now and then.
        let retell = now.div_euclid(METADATA_RETOLD_EVERY_MS) as u64;
        let families = self.families.lookup(|| self.store.series_epoch() << 32 ^ retell);
        Intake::new(&self.options, &self.store, series, families, now)
    }

    /// Reads a request and queues what of it is admitted; once more, if the store retired series meanwhile.
    fn admit(
        &self,
        protocol: Protocol,
        now: Timestamp,
        done: Completion,
        read: impl Fn(&mut Intake<'_>) -> Result<(), IngestError>,
    ) -> Result<Outcome, IngestError> {
        // The store drops the completion of a batch that it does not take, and the next try needs it.
        let done = Arc::new(Mutex::new(Some(done)));
        let mut tries_left = TRIES_MAX;
        loop {
            let mut intake = self.intake(now);
            read(&mut intake)?;
            let done = done.clone();
            let appended = intake.append(Box::new(move |result| {
                if let Some(done) = done.lock().take() {
                    done(result);
                }
            }));
            tries_left -= 1;
            if appended == Err(Busy::SeriesRetired) && tries_left > 0 {
                continue;
            }
            self.stats.read(&intake, now);
            appended?;
            let outcome = intake.outcome;
            let samples = outcome.samples + outcome.histograms;
            self.stats.accepted(protocol, samples, outcome.exemplars, self.series.len());
            return Ok(outcome);
        }
    }

    fn counting_refusals(
        &self,
        now: Timestamp,
        receive: impl FnOnce() -> Result<Outcome, IngestError>,
    ) -> Result<Outcome, IngestError> {
        receive().inspect_err(|error| self.stats.refused(error, now))
    }
}

// Series are retired in one go once in a while: a second try meets no second time.
const TRIES_MAX: usize = 3;

// A family and all that was ever told of it is one entry; Prometheus servers have a few thousand.
const FAMILIES_MAX: usize = 1 << 18;

const METADATA_RETOLD_EVERY_MS: i64 = 10 * MINUTE;

/// A size as the limits are usually given.
fn mebibytes(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}
