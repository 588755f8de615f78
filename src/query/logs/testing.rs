//! A store with log entries and a querier over it, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::{Direction, LogAnswer, LogQuery, LogValue, StreamAnswer};
use crate::model::{Labels, Nanos};
use crate::query::budget::Limits;
use crate::query::{Budget, Options, Querier, QueryError, QueryValue, SampleValue};
use crate::storage::logs::{LogBatch, StreamRows};
use crate::storage::{self, Store, SyncMode};

pub const SECOND: Nanos = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct Entry {
    pub labels: Labels,
    pub timestamp: Nanos,
    pub line: String,
    pub metadata: Vec<(String, String)>,
}

pub fn entry(app: &str, seconds: i64, line: &str, metadata: &[(&str, &str)]) -> Entry {
    Entry {
        labels: Labels::from_sorted([("app", app)]),
        timestamp: seconds * SECOND,
        line: line.to_owned(),
        metadata: metadata.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    }
}

pub struct Engine {
    pub store: Arc<Store>,
    pub querier: Querier,
    _dir: tempfile::TempDir,
}

impl Engine {
    pub fn new() -> Engine {
        let dir = tempfile::tempdir().unwrap();
        let options =
            storage::Options { shards: 2, sync: SyncMode::Off, ..storage::Options::new(dir.path()) };
        let store = Store::open(options, &prometheus::Registry::new(), 0).unwrap();
        let querier = Querier::new(store.clone(), Options::default(), &prometheus::Registry::new());
        Engine { store, querier, _dir: dir }
    }

    pub fn of(entries: &[Entry]) -> Engine {
        let engine = Engine::new();
        engine.write(entries);
        engine
    }

    pub fn write(&self, entries: &[Entry]) {
        let mut streams: BTreeMap<&Labels, StreamRows> = BTreeMap::new();
        for entry in entries {
            let rows = streams.entry(&entry.labels).or_insert_with(|| StreamRows::new(entry.labels.clone()));
            let metadata = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            rows.push(entry.timestamp, &entry.line, metadata);
        }
        let mut batch = LogBatch::new(self.store.shard_count());
        for (labels, rows) in streams {
            batch.shards[self.store.shard_of_stream(labels)].streams.push(rows);
        }
        let (sender, done) = mpsc::channel();
        self.store.append_logs(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        done.recv().unwrap().unwrap();
    }

    pub fn seal(&self) {
        self.store.seal(0).unwrap();
    }

    pub fn budget() -> Budget {
        let limits =
            Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max: 1 << 30, log_bytes_max: 1 << 30 };
        Budget::new(Instant::now() + Duration::from_secs(100), limits)
    }

    pub fn ask(&self, request: &LogQuery) -> Result<LogAnswer, QueryError> {
        self.querier.logs(request, &Engine::budget())
    }

    /// Entries in `[0, 1000 s)`.
    pub fn entries(&self, expr: &str, direction: Direction, limit: usize) -> Vec<StreamAnswer> {
        match self.ask(&entries_query(expr, direction, limit)).unwrap().value {
            LogValue::Streams(streams) => streams,
            LogValue::Metric(_) => panic!("{expr} is a metric expression"),
        }
    }

    /// The lines of all streams, in order of time.
    pub fn lines(&self, expr: &str) -> Vec<String> {
        let streams = self.entries(expr, Direction::Forward, 5_000);
        let mut all: Vec<_> = streams.into_iter().flat_map(|stream| stream.entries).collect();
        all.sort_by_key(|entry| entry.timestamp);
        all.into_iter().map(|entry| entry.line).collect()
    }

    /// An instant metric query, as `{labels} value`, sorted unless the expression sorts.
    pub fn vector(&self, expr: &str, seconds: i64) -> Result<Vec<String>, QueryError> {
        let request = LogQuery {
            start: seconds * SECOND,
            end: seconds * SECOND,
            step_ns: 0,
            ..entries_query(expr, Direction::Forward, 0)
        };
        let LogValue::Metric(value) = self.ask(&request)?.value else { panic!("{expr} is a log expression") };
        let mut shown = match value {
            QueryValue::Scalar(_, value) => vec![value.to_string()],
            QueryValue::Vector(samples) => {
                let number = |value: &SampleValue| match value {
                    SampleValue::Float(value) => *value,
                    SampleValue::Histogram(_) => panic!("logs have no histograms"),
                };
                samples.iter().map(|sample| format!("{} {}", sample.labels, number(&sample.value))).collect()
            }
            other => panic!("{other:?}"),
        };
        if !expr.starts_with("sort") {
            shown.sort();
        }
        Ok(shown)
    }
}

pub fn entries_query(expr: &str, direction: Direction, limit: usize) -> LogQuery {
    LogQuery {
        expr: expr.to_owned(),
        start: 0,
        end: 1_000 * SECOND,
        step_ns: SECOND,
        interval_ns: 0,
        direction,
        limit,
        now: 0,
    }
}
