//! Text to syntax tree to evaluation over a snapshot; synchronous, knows no HTTP and no clock.

pub mod budget;
pub mod promql;

use std::sync::Arc;

use crate::model::{Histogram, Labels, Matcher, MetricMetadata, TimeRange, Timestamp};
use crate::storage::Store;
use crate::storage::metrics::SeriesExemplars;
pub use budget::{Budget, Exceeded};

/// The engine's settings; the server fills them from the configuration. Defaults are Prometheus 3.14's.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far back an instant selector looks, 5 m.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, 1 m.
    pub subquery_step_ms: i64,
    pub regexes_max: usize,
}

#[derive(Clone, Debug)]
pub struct InstantQuery {
    pub expr: String,
    pub time: Timestamp,
    /// In place of the option.
    pub lookback_ms: Option<i64>,
    /// 0: all.
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct RangeQuery {
    pub expr: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub step_ms: i64,
    pub lookback_ms: Option<i64>,
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<Histogram>),
}

#[derive(Clone, Debug)]
pub struct VectorSample {
    pub labels: Labels,
    pub timestamp: Timestamp,
    pub value: SampleValue,
}

/// One series of a matrix; floats and histograms each in time order.
#[derive(Clone, Debug, Default)]
pub struct MatrixSeries {
    pub labels: Labels,
    pub floats: Vec<(Timestamp, f64)>,
    pub histograms: Vec<(Timestamp, Arc<Histogram>)>,
}

#[derive(Clone, Debug)]
pub enum QueryValue {
    Scalar(Timestamp, f64),
    /// PromQL strings are bytes.
    String(Timestamp, Vec<u8>),
    Vector(Vec<VectorSample>),
    Matrix(Vec<MatrixSeries>),
}

/// What the API calls `stats.samples`.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryStats {
    pub samples_read: u64,
    pub samples_peak: u64,
    pub series_selected: u64,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub value: QueryValue,
    /// Complete texts, `PromQL warning: … (1:5)`, each once.
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub stats: QueryStats,
}

/// A list that may have been cut by a limit (then `truncated`).
#[derive(Clone, Debug)]
pub struct Listing<T> {
    pub items: Vec<T>,
    pub truncated: bool,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// Prometheus's `bad_data`, 400; for parse errors the text is `1:6: parse error: …`.
    #[error("{0}")]
    BadData(String),
    /// Prometheus's `execution`, 422.
    #[error("{0}")]
    Execution(String),
    /// Deadline, size limits and cancellation.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// Prometheus's `internal`, 500.
    #[error("{0}")]
    Internal(String),
}

/// Interim: the engine comes with its own body.
pub struct Querier {}

impl Querier {
    pub fn new(_store: Arc<Store>, _options: Options, _registry: &prometheus::Registry) -> Querier {
        Querier {}
    }

    pub fn instant(&self, _request: &InstantQuery, _budget: &Budget) -> Result<Answer, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    pub fn range(&self, _request: &RangeQuery, _budget: &Budget) -> Result<Answer, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    /// Parses `match[]` parameters: `1:6: parse error: …` or the matchers of each.
    pub fn selectors(&self, _texts: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    /// Label sets that any of the selectors lets through, sorted. `limit` 0: all.
    pub fn series(
        &self,
        _selectors: &[Vec<Matcher>],
        _range: TimeRange,
        _limit: usize,
        _budget: &Budget,
    ) -> Result<Listing<Labels>, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    pub fn label_names(
        &self,
        _selectors: &[Vec<Matcher>],
        _range: TimeRange,
        _limit: usize,
        _budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    pub fn label_values(
        &self,
        _name: &str,
        _selectors: &[Vec<Matcher>],
        _range: TimeRange,
        _limit: usize,
        _budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    /// Exemplars of every selector in the expression.
    pub fn exemplars(
        &self,
        _expr: &str,
        _range: TimeRange,
        _budget: &Budget,
    ) -> Result<Vec<SeriesExemplars>, QueryError> {
        Err(QueryError::Internal("the query engine is not built in yet".to_owned()))
    }

    pub fn metadata(&self, _metric: Option<&str>) -> Vec<(String, Vec<MetricMetadata>)> {
        Vec::new()
    }
}
