//! Two stores with the same samples: one keeps them as sent, one rolls them up and lets them go.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use icecore::model::time::{DAY, HOUR, MINUTE};
use icecore::model::{Histogram, Labels, LabelsBuilder, Timestamp};
use icecore::query::budget::Limits;
use icecore::query::{self, Answer, Budget, Querier, QueryError, QueryValue, RangeQuery};
use icecore::storage::metrics::{HistogramRow, MetricBatch};
use icecore::storage::{self, Store, SyncMode, TierOptions};

use crate::series::{HISTOGRAM_KINDS, KINDS, LAST, floats_among_histograms, histograms, samples};

#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub start: Timestamp,
    pub end: Timestamp,
    pub step_ms: i64,
    pub strict: bool,
}

pub struct Server {
    pub store: Arc<Store>,
    querier: Querier,
    _dir: tempfile::TempDir,
}

/// (resolution in ms, age in days), finest first.
pub fn tiers(tiers: &[(i64, i64)]) -> Vec<TierOptions> {
    let tier = |&(resolution_ms, days)| TierOptions { resolution_ms, retention_ms: days * DAY, dir: None };
    tiers.iter().map(tier).collect()
}

impl Server {
    pub fn open(tiers: Vec<TierOptions>) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options { tiers, sync: SyncMode::Off, ..storage::Options::new(dir.path()) };
        let store = Store::open(options, &prometheus::Registry::new(), LAST).unwrap();
        let options = query::Options { experimental_functions: true, ..query::Options::default() };
        let querier = Querier::new(store.clone(), options, &prometheus::Registry::new());
        Server { store, querier, _dir: dir }
    }

    pub fn append(&self, labels: &Labels, samples: &[(Timestamp, f64)]) {
        let mut batch = MetricBatch::new(self.store.shard_count(), self.store.series_epoch());
        let series = self.store.resolve(labels, 0).unwrap();
        samples.iter().for_each(|&(timestamp, value)| batch.sample(series, timestamp, value));
        self.send(batch);
    }

    fn append_histograms(&self, labels: &Labels, samples: &[(Timestamp, Histogram)]) {
        let mut batch = MetricBatch::new(self.store.shard_count(), self.store.series_epoch());
        let series = self.store.resolve(labels, 0).unwrap();
        let rows = &mut batch.shards[series.shard as usize].histograms;
        rows.extend(samples.iter().map(|(timestamp, histogram)| HistogramRow {
            id: series.id,
            timestamp: *timestamp,
            histogram: Box::new(histogram.clone()),
        }));
        self.send(batch);
    }

    fn send(&self, batch: MetricBatch) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        receiver.recv().unwrap().unwrap();
    }

    pub fn ask(&self, expr: &str, asked: Asked) -> Result<Answer, QueryError> {
        let limits = Limits { samples_max: 1 << 30, series_max: 1_000, bytes_max: 1 << 30, log_bytes_max: 0 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(300), limits);
        let request = RangeQuery {
            expr: expr.to_owned(),
            start: asked.start,
            end: asked.end,
            step_ms: asked.step_ms,
            lookback_ms: None,
            limit: 0,
            per_step_stats: false,
            strict: asked.strict,
        };
        self.querier.range(&request, &budget)
    }
}

pub fn named(name: &str) -> Labels {
    let mut labels = LabelsBuilder::default();
    labels.set("__name__", name);
    labels.build()
}

pub fn numbered(name: &str, number: i64) -> Labels {
    let mut labels = LabelsBuilder::default();
    labels.set("__name__", name).set("number", &number.to_string());
    labels.build()
}

/// The floats of a matrix by series and time.
pub fn points(answer: &Answer) -> BTreeMap<(String, Timestamp), f64> {
    let QueryValue::Matrix(matrix) = &answer.value else { panic!("a range query has a matrix") };
    let of_series = |series: &query::MatrixSeries| {
        let labels = series.labels.to_string();
        series.floats.iter().map(move |&(at, value)| ((labels.clone(), at), value)).collect::<Vec<_>>()
    };
    matrix.iter().flat_map(of_series).collect()
}

/// Its histograms likewise.
pub fn histogram_points(answer: &Answer) -> BTreeMap<(String, Timestamp), Arc<Histogram>> {
    let QueryValue::Matrix(matrix) = &answer.value else { panic!("a range query has a matrix") };
    let of_series = |series: &query::MatrixSeries| {
        let labels = series.labels.to_string();
        series
            .histograms
            .iter()
            .map(move |(at, value)| ((labels.clone(), *at), value.clone()))
            .collect::<Vec<_>>()
    };
    matrix.iter().flat_map(of_series).collect()
}

/// Whether all parts of two histograms are the same but for this much of the largest.
pub fn is_close(a: &Histogram, b: &Histogram, tolerance: f64) -> bool {
    if tolerance == 0.0 {
        return a.equals(b);
    }
    let (mut difference, largest) = (a.clone(), a.sum.abs().max(a.count.abs()).max(b.sum.abs()));
    if difference.sub(b).is_err() || a.schema != b.schema {
        return false;
    }
    let buckets = difference.positive_buckets.iter().chain(&difference.negative_buckets);
    let mut parts = buckets.chain([&difference.count, &difference.sum, &difference.zero_count]);
    parts.all(|part| part.abs() <= tolerance * largest)
}

pub struct Twins {
    pub rolled: Server,
    pub sent: Server,
}

impl Twins {
    /// Those that nobody changes.
    pub fn rolled_up() -> &'static Twins {
        static TWINS: LazyLock<Twins> = LazyLock::new(Twins::new);
        &TWINS
    }

    /// All samples are in both; of one the first days are kept as 5 m, later ones as 1 m, the last as sent, and of all there
    /// are states of hours.
    pub fn new() -> Twins {
        let rolled = Server::open(tiers(&[(0, 2), (MINUTE, 4), (5 * MINUTE, 400), (HOUR, 400)]));
        let twins = Twins { rolled, sent: Server::open(tiers(&[(0, 400)])) };
        KINDS.iter().for_each(|kind| twins.append(kind, &samples(kind)));
        for kind in HISTOGRAM_KINDS {
            let histograms = histograms(kind);
            [&twins.rolled, &twins.sent].iter().for_each(|s| s.append_histograms(&named(kind), &histograms));
        }
        twins.append("mixed", &floats_among_histograms());
        twins.seal();
        twins.compact();
        twins
    }

    pub fn append(&self, name: &str, samples: &[(Timestamp, f64)]) {
        [&self.rolled, &self.sent].iter().for_each(|server| server.append(&named(name), samples));
    }

    /// An hour ago, so that nobody waits for more.
    pub fn seal(&self) {
        [&self.rolled, &self.sent].iter().for_each(|server| server.store.seal(LAST - HOUR).unwrap());
    }

    /// Merges, rolls up and lets go until nothing is left to do.
    pub fn compact(&self) {
        [&self.rolled, &self.sent].iter().for_each(|server| server.store.tidy(LAST));
    }

    /// The answers of both differ by the tolerance at most, relative to the largest value, and nothing falls short.
    pub fn assert_same(&self, expr: &str, asked: Asked, tolerance: f64) {
        let [rolled, sent] = [&self.rolled, &self.sent].map(|server| server.ask(expr, asked).unwrap());
        assert_eq!((&rolled.warnings, &rolled.infos), (&sent.warnings, &sent.infos), "{expr}");
        assert!(!points(&sent).is_empty() || !histogram_points(&sent).is_empty(), "{expr} has no answer");
        assert_same_histograms(expr, &rolled, &sent, tolerance);
        let (rolled, sent) = (points(&rolled), points(&sent));
        assert_eq!(rolled.keys().collect::<Vec<_>>(), sent.keys().collect::<Vec<_>>(), "{expr}");
        let largest = sent.values().map(|v| v.abs()).fold(0.0, f64::max);
        for (at, expected) in sent {
            let got = rolled[&at];
            let is_same =
                got.to_bits() == expected.to_bits() || (got - expected).abs() <= tolerance * largest;
            assert!(is_same, "{expr} at {at:?}: {got}, of samples {expected}");
        }
    }
}

fn assert_same_histograms(expr: &str, rolled: &Answer, sent: &Answer, tolerance: f64) {
    let (rolled, sent) = (histogram_points(rolled), histogram_points(sent));
    assert_eq!(rolled.keys().collect::<Vec<_>>(), sent.keys().collect::<Vec<_>>(), "{expr}");
    for (at, expected) in sent {
        let got = &rolled[&at];
        assert!(is_close(got, &expected, tolerance), "{expr} at {at:?}: {got:?}, of samples {expected:?}");
    }
}
