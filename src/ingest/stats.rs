//! What the receivers count, for `/metrics`.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::admission::Reason;
use super::refusals::Refusals;
use super::{IngestError, Outcome};
use crate::model::Timestamp;
use crate::model::time::SECOND;
use crate::storage::{Busy, Signal};

/// How a request came in: the label `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    RemoteWriteV1,
    RemoteWriteV2,
    OtlpMetrics,
    OwnMetrics,
    OtlpLogs,
    LokiPush,
    OtlpTraces,
    Zipkin,
}

impl Protocol {
    /// In the order of the declaration, so that `protocol as usize` is the index.
    const ALL: [Protocol; 8] = [
        Protocol::RemoteWriteV1,
        Protocol::RemoteWriteV2,
        Protocol::OtlpMetrics,
        Protocol::OwnMetrics,
        Protocol::OtlpLogs,
        Protocol::LokiPush,
        Protocol::OtlpTraces,
        Protocol::Zipkin,
    ];

    pub fn otlp(signal: Signal) -> Protocol {
        match signal {
            Signal::Metrics => Protocol::OtlpMetrics,
            Signal::Logs => Protocol::OtlpLogs,
            Signal::Traces => Protocol::OtlpTraces,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Protocol::RemoteWriteV1 => "remote_write_1",
            Protocol::RemoteWriteV2 => "remote_write_2",
            Protocol::OtlpMetrics => "otlp_metrics",
            Protocol::OwnMetrics => "own_metrics",
            Protocol::OtlpLogs => "otlp_logs",
            Protocol::LokiPush => "loki_push",
            Protocol::OtlpTraces => "otlp_traces",
            Protocol::Zipkin => "zipkin",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Protocol::RemoteWriteV1
            | Protocol::RemoteWriteV2
            | Protocol::OtlpMetrics
            | Protocol::OwnMetrics => Signal::Metrics,
            Protocol::OtlpLogs | Protocol::LokiPush => Signal::Logs,
            Protocol::OtlpTraces | Protocol::Zipkin => Signal::Traces,
        }
    }
}

struct ProtocolStats {
    requests: IntCounter,
    body_bytes: IntCounter,
    decoded_bytes: IntCounter,
    /// Samples, log entries or spans.
    rows: IntCounter,
    /// Of protocols that carry metrics.
    exemplars: Option<IntCounter>,
}

pub(super) struct Stats {
    /// By `Protocol as usize`.
    protocols: [ProtocolStats; Protocol::ALL.len()],
    /// By `Reason as usize`.
    rejected: [IntCounter; Reason::ALL.len()],
    /// When a refusal for this reason was last logged, by `Reason as usize`.
    logged_at: [AtomicI64; Reason::ALL.len()],
    cache_hits: IntCounter,
    cache_misses: IntCounter,
    cache_entries: IntGauge,
}

impl Stats {
    pub fn new(registry: &Registry) -> Stats {
        let by_protocol = |name, help| vector(registry, name, help, "protocol");
        let requests = by_protocol("icecore_ingest_requests_total", "Requests received.");
        let body_bytes =
            by_protocol("icecore_ingest_body_bytes_total", "Bytes of request bodies, as they came.");
        let decoded_bytes =
            by_protocol("icecore_ingest_decoded_bytes_total", "Bytes of request bodies, decompressed.");
        let samples =
            by_protocol("icecore_ingest_samples_total", "Samples accepted, floats and native histograms.");
        let entries = by_protocol("icecore_ingest_log_entries_total", "Log entries accepted.");
        let spans = by_protocol("icecore_ingest_spans_total", "Spans accepted.");
        let exemplars = by_protocol("icecore_ingest_exemplars_total", "Exemplars accepted.");
        let rejected = vector(
            registry,
            "icecore_ingest_rejected_total",
            "Samples, log entries and spans, or requests as a whole, that were refused.",
            "reason",
        );
        Stats {
            protocols: Protocol::ALL.map(|protocol| {
                let of = |vector: &IntCounterVec| vector.with_label_values(&[protocol.as_str()]);
                let rows = match protocol.signal() {
                    Signal::Metrics => &samples,
                    Signal::Logs => &entries,
                    Signal::Traces => &spans,
                };
                ProtocolStats {
                    requests: of(&requests),
                    body_bytes: of(&body_bytes),
                    decoded_bytes: of(&decoded_bytes),
                    rows: of(rows),
                    exemplars: (protocol.signal() == Signal::Metrics).then(|| of(&exemplars)),
                }
            }),
            rejected: Reason::ALL.map(|reason| rejected.with_label_values(&[reason.as_str()])),
            logged_at: Reason::ALL.map(|_| AtomicI64::new(i64::MIN)),
            cache_hits: counter(
                registry,
                "icecore_ingest_series_cache_hits_total",
                "Series whose labels were known by their bytes.",
            ),
            cache_misses: counter(
                registry,
                "icecore_ingest_series_cache_misses_total",
                "Series whose labels had to be parsed.",
            ),
            cache_entries: gauge(
                registry,
                "icecore_ingest_series_cache_entries",
                "Spellings of series that are known.",
            ),
        }
    }

    pub fn received(&self, protocol: Protocol, body_bytes: usize) {
        let stats = &self.protocols[protocol as usize];
        stats.requests.inc();
        stats.body_bytes.inc_by(body_bytes as u64);
    }

    pub fn decoded(&self, protocol: Protocol, bytes: usize) {
        self.protocols[protocol as usize].decoded_bytes.inc_by(bytes as u64);
    }

    /// Of a request that was read to its end, whether or not the store took it.
    pub fn refusals(&self, refusals: &Refusals, now: Timestamp) {
        for (reason, count) in refusals.counts() {
            self.rejected[reason as usize].inc_by(count);
        }
        for rejection in refusals.told() {
            self.log(rejection.reason, refusals.count(rejection.reason), &rejection.message, now);
        }
    }

    pub fn series_cache(&self, hits: u64, misses: u64, entries: usize) {
        self.cache_hits.inc_by(hits);
        self.cache_misses.inc_by(misses);
        self.cache_entries.set(entries as i64);
    }

    /// What the store took.
    pub fn accepted(&self, protocol: Protocol, outcome: &Outcome) {
        let stats = &self.protocols[protocol as usize];
        stats.rows.inc_by(outcome.rows());
        if let Some(exemplars) = &stats.exemplars {
            exemplars.inc_by(outcome.exemplars);
        }
    }

    pub fn refused(&self, error: &IngestError, now: Timestamp) {
        let reason = match error {
            IngestError::TooLarge { .. } | IngestError::DecompressesTooFar { .. } => Reason::DecodedSize,
            IngestError::Malformed { .. } | IngestError::TooMuch { .. } | IngestError::BadField { .. } => {
                Reason::Malformed
            }
            IngestError::NoStreams => Reason::NoStreams,
            IngestError::Busy(Busy::QueueFull { .. }) => Reason::QueueFull,
            IngestError::Busy(Busy::MemoryFull { .. }) => Reason::MemoryFull,
            IngestError::Busy(Busy::DiskFull { .. }) => Reason::DiskFull,
            IngestError::Busy(Busy::LogFailing) => Reason::LogFailing,
            IngestError::Busy(Busy::SeriesRetired) => Reason::SeriesRetired,
            IngestError::Busy(Busy::Closing) => Reason::Closing,
        };
        self.rejected[reason as usize].inc();
        self.log(reason, 1, error, now);
    }

    /// Says why something was refused, unless the same reason was logged a moment ago.
    fn log(&self, reason: Reason, count: u64, message: &dyn std::fmt::Display, now: Timestamp) {
        let logged_at = &self.logged_at[reason as usize];
        let last = logged_at.load(Ordering::Relaxed);
        let is_due = now >= last.saturating_add(LOGGED_EVERY_MS);
        // Of several threads that find it due, one says it.
        if is_due && logged_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(reason = reason.as_str(), count, "refused: {message}");
        }
    }
}

const LOGGED_EVERY_MS: i64 = 10 * SECOND;

const REGISTERED: &str = "the name is valid and registered once";

fn vector(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    let vector = IntCounterVec::new(Opts::new(name, help), &[label]).expect(REGISTERED);
    registry.register(Box::new(vector.clone())).expect(REGISTERED);
    vector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect(REGISTERED);
    registry.register(Box::new(counter.clone())).expect(REGISTERED);
    counter
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(REGISTERED);
    registry.register(Box::new(gauge.clone())).expect(REGISTERED);
    gauge
}
