//! The layer's own metrics: how many queries of which kind, how long, how much they read, which limits they met.

use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::{Budget, Exceeded, QueryError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKind {
    Instant,
    Range,
    Series,
    Labels,
    Exemplars,
    RemoteRead,
    Federate,
    Trace,
    TraceSearch,
    TraceTags,
    Logs,
    LogLabels,
    LogSeries,
    LogVolume,
    LogFields,
}

pub struct QueryMetrics {
    queries: IntCounterVec,
    seconds: HistogramVec,
    samples: IntCounter,
    limits: IntCounterVec,
}

impl QueryMetrics {
    pub fn new(registry: &Registry) -> QueryMetrics {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the names are valid")
        };
        let seconds = HistogramOpts::new("icecore_query_seconds", "Time that queries took")
            .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let metrics = QueryMetrics {
            queries: counter("icecore_query_total", "Queries answered or refused", &["kind", "outcome"]),
            seconds: HistogramVec::new(seconds, &["kind"]).expect("the names are valid"),
            samples: IntCounter::new("icecore_query_samples_read_total", "Samples that queries read")
                .expect("the name is valid"),
            limits: counter("icecore_query_limits_hit_total", "Queries that a limit stopped", &["limit"]),
        };
        let registered = [
            registry.register(Box::new(metrics.queries.clone())),
            registry.register(Box::new(metrics.seconds.clone())),
            registry.register(Box::new(metrics.samples.clone())),
            registry.register(Box::new(metrics.limits.clone())),
        ];
        registered.into_iter().for_each(|result| result.expect("one query layer a registry"));
        metrics
    }

    /// Runs a query and counts it.
    pub fn observe<T>(
        &self,
        kind: QueryKind,
        budget: &Budget,
        query: impl FnOnce() -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let started = Instant::now();
        let result = query();
        // It is counted when it has begun anew and ended.
        if budget.outran_its_trial() {
            return result;
        }
        self.seconds.with_label_values(&[kind.text()]).observe(started.elapsed().as_secs_f64());
        self.samples.inc_by(budget.samples_used());
        let outcome = match &result {
            Ok(_) => "answered",
            Err(QueryError::BadData(_)) => "bad_data",
            Err(QueryError::Execution(_)) => "failed",
            Err(QueryError::Internal(_)) => "internal",
            Err(QueryError::Exceeded(exceeded)) => {
                self.limits.with_label_values(&[exceeded.limit()]).inc();
                "limited"
            }
        };
        self.queries.with_label_values(&[kind.text(), outcome]).inc();
        result
    }
}

impl QueryKind {
    fn text(self) -> &'static str {
        match self {
            QueryKind::Instant => "instant",
            QueryKind::Range => "range",
            QueryKind::Series => "series",
            QueryKind::Labels => "labels",
            QueryKind::Exemplars => "exemplars",
            QueryKind::RemoteRead => "remote_read",
            QueryKind::Federate => "federate",
            QueryKind::Trace => "trace",
            QueryKind::TraceSearch => "trace_search",
            QueryKind::TraceTags => "trace_tags",
            QueryKind::Logs => "logs",
            QueryKind::LogLabels => "log_labels",
            QueryKind::LogSeries => "log_series",
            QueryKind::LogVolume => "log_volume",
            QueryKind::LogFields => "log_fields",
        }
    }
}

impl Exceeded {
    fn limit(&self) -> &'static str {
        match self {
            Exceeded::Deadline | Exceeded::DeadlineInQueue => "time",
            Exceeded::Cancelled | Exceeded::CancelledInQueue => "cancelled",
            Exceeded::Samples { .. } => "samples",
            Exceeded::Series { .. } => "series",
            Exceeded::Bytes { .. } => "bytes",
            Exceeded::TotalBytes { .. } => "total_bytes",
            Exceeded::LogBytes { .. } => "log_bytes",
        }
    }
}
