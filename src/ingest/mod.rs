//! From the bytes of a request to an admitted batch in the store's queues; synchronous, knows no HTTP.

mod admission;
mod decompress;
mod intake;
mod json;
mod logs;
mod loki;
mod options;
mod otlp;
mod outcome;
mod protobuf;
mod refusals;
mod remote_write;
mod series_cache;
mod spans;
mod stats;
#[cfg(test)]
mod tests;
mod zipkin;

use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;

use crate::model::time::MINUTE;
use crate::model::{Labels, Timestamp};
use crate::storage::{Busy, Completion, Signal, Store};

pub use logs::service::TOLD_BY as SERVICE_NAME_LABELS;
pub use options::{BodyFormat, Encoding, Options, Reach, RemoteWriteVersion};
pub use otlp::{Options as OtlpOptions, TranslationStrategy};
pub use outcome::{IngestError, Outcome};

use decompress::BufferPool;
use intake::Intake;
use logs::LogIntake;
use loki::{StreamCache, StreamResolver};
use refusals::Refusals;
use series_cache::{SeriesCache, SpellingHash};
use spans::SpanIntake;
use stats::{Protocol, Stats};

/// One sample of our own metrics on its way into our own store.
pub struct OwnSample {
    pub labels: Labels,
    pub value: f64,
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
    /// Of pushed streams.
    streams: StreamCache,
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
            streams: StreamCache::default(),
            stats: Stats::new(registry),
        }
    }

    /// Prometheus remote write; `body` as it came, compressed with snappy's block format.
    pub fn remote_write(
        &self,
        body: &[u8],
        version: RemoteWriteVersion,
        reach: Reach,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        let protocol = match version {
            RemoteWriteVersion::V1 => Protocol::RemoteWriteV1,
            RemoteWriteVersion::V2 => Protocol::RemoteWriteV2,
        };
        self.decompressed(protocol, body, Encoding::Snappy, now, |body| {
            self.admit(protocol, reach, now, done, |intake| match version {
                RemoteWriteVersion::V1 => Ok(remote_write::v1::read(body, &self.spelling_hash, intake)?),
                RemoteWriteVersion::V2 => remote_write::v2::read(body, &self.spelling_hash, intake),
            })
        })
    }

    /// OTLP of any signal; `body` as it came.
    pub fn otlp(
        &self,
        signal: Signal,
        body: &[u8],
        encoding: Encoding,
        format: BodyFormat,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        let protocol = Protocol::otlp(signal);
        self.decompressed(protocol, body, encoding, now, |body| match signal {
            Signal::Metrics => {
                let request = otlp::encoded_metrics(body, format)?;
                self.admit(protocol, Reach::Live, now, done, |intake| {
                    otlp::read_metrics(&request, &self.spelling_hash, intake).map_err(|e| format.refusal(e))
                })
            }
            Signal::Logs => {
                let shard_of = |labels: &Labels| self.store.shard_of_stream(labels);
                self.admit_logs(protocol, now, done, |intake| {
                    let request = otlp::encoded_logs(body, format, &mut intake.refusals)?;
                    otlp::read_logs(&request, now, &shard_of, intake).map_err(|e| format.refusal(e))
                })
            }
            Signal::Traces => self.admit_spans(protocol, now, done, |intake| {
                let request = otlp::encoded_spans(body, format, &mut intake.refusals)?;
                otlp::read_spans(&request, intake).map_err(|e| format.refusal(e))
            }),
        })
    }

    /// Loki's push API; `body` as it came.
    pub fn loki_push(
        &self,
        body: &[u8],
        encoding: Encoding,
        format: BodyFormat,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        let shard_of = |labels: &Labels| self.store.shard_of_stream(labels);
        let resolver = StreamResolver {
            cache: &self.streams,
            hash: &self.spelling_hash,
            options: &self.options,
            shard_of: &shard_of,
        };
        self.decompressed(Protocol::LokiPush, body, encoding, now, |body| {
            self.admit_logs(Protocol::LokiPush, now, done, |intake| {
                loki::read(body, format, &resolver, intake)
            })
        })
    }

    /// Zipkin's spans in JSON; `body` as it came.
    pub fn zipkin(
        &self,
        body: &[u8],
        encoding: Encoding,
        now: Timestamp,
        done: Completion,
    ) -> Result<Outcome, IngestError> {
        self.decompressed(Protocol::Zipkin, body, encoding, now, |body| {
            self.admit_spans(Protocol::Zipkin, now, done, |intake| {
                let request = zipkin::decode(body, &mut intake.refusals)?;
                let request = request.encode_to_vec();
                otlp::read_spans(&request, intake).map_err(|e| BodyFormat::Json.refusal(e))
            })
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
            self.admit(Protocol::OwnMetrics, Reach::Live, now, done, |intake| {
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

    fn intake(&self, reach: Reach, now: Timestamp) -> Intake<'_> {
        let series = self.series.lookup(|| self.store.series_epoch());
        // The store may forget metadata with the segments that held it, so it is told again now and then.
        let retell = now.div_euclid(METADATA_RETOLD_EVERY_MS) as u64;
        let families = self.families.lookup(|| self.store.series_epoch() << 32 ^ retell);
        Intake::new(&self.options, &self.store, series, families, reach, now)
    }

    /// Reads a request and queues what of it is admitted; once more, if the store retired series meanwhile.
    fn admit(
        &self,
        protocol: Protocol,
        reach: Reach,
        now: Timestamp,
        done: Completion,
        read: impl Fn(&mut Intake<'_>) -> Result<(), IngestError>,
    ) -> Result<Outcome, IngestError> {
        // The store drops the completion of a batch that it does not take, and the next try needs it.
        let done = Arc::new(Mutex::new(Some(done)));
        let mut tries_left = TRIES_MAX;
        loop {
            let mut intake = self.intake(reach, now);
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
            self.stats.refusals(&intake.refusals, now);
            self.stats.series_cache(intake.series.hit_count, intake.series.miss_count, self.series.len());
            appended?;
            self.stats.accepted(protocol, &intake.outcome);
            return Ok(intake.outcome);
        }
    }

    /// Reads a request of log entries and queues what of it is admitted.
    fn admit_logs(
        &self,
        protocol: Protocol,
        now: Timestamp,
        done: Completion,
        read: impl FnOnce(&mut LogIntake<'_>) -> Result<(), IngestError>,
    ) -> Result<Outcome, IngestError> {
        let mut intake = LogIntake::new(&self.options, self.store.shard_count(), now);
        read(&mut intake)?;
        let (batch, outcome, refusals) = intake.finish();
        self.queued(protocol, now, outcome, &refusals, || self.store.append_logs(batch, done))
    }

    /// As `admit_logs`, of spans.
    fn admit_spans(
        &self,
        protocol: Protocol,
        now: Timestamp,
        done: Completion,
        read: impl FnOnce(&mut SpanIntake<'_>) -> Result<(), IngestError>,
    ) -> Result<Outcome, IngestError> {
        let mut intake = SpanIntake::new(&self.options, self.store.shard_count(), now);
        read(&mut intake)?;
        let (batch, outcome, refusals) = intake.finish();
        self.queued(protocol, now, outcome, &refusals, || self.store.append_spans(batch, done))
    }

    fn queued(
        &self,
        protocol: Protocol,
        now: Timestamp,
        mut outcome: Outcome,
        refusals: &Refusals,
        append: impl FnOnce() -> Result<(), Busy>,
    ) -> Result<Outcome, IngestError> {
        self.stats.refusals(refusals, now);
        refusals.tell(&mut outcome);
        append()?;
        self.stats.accepted(protocol, &outcome);
        Ok(outcome)
    }

    /// Decompresses a body for who reads it, and counts it and what becomes of it.
    fn decompressed(
        &self,
        protocol: Protocol,
        body: &[u8],
        encoding: Encoding,
        now: Timestamp,
        read: impl FnOnce(&[u8]) -> Result<Outcome, IngestError>,
    ) -> Result<Outcome, IngestError> {
        self.stats.received(protocol, body.len());
        self.counting_refusals(now, || {
            let body = self.buffers.decompress(body, encoding, self.options.decoded_bytes_max)?;
            self.stats.decoded(protocol, body.len());
            read(&body)
        })
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
