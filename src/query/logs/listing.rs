//! Labels and streams: what the index knows.

use super::{DetectedLabel, SelectionStats};
use crate::model::{Labels, Matcher, NanoRange};
use crate::query::listing::{sorted_once, take_listed};
use crate::query::logql::ast::Expr;
use crate::query::logql::parse_selector;
use crate::query::metrics::QueryKind;
use crate::query::{Budget, Listing, Querier, QueryError, settled};
use crate::storage::logs::{LogPart, LogSelection, LogsSnapshot};

impl Querier {
    /// The matchers of a selector, which may let every stream through; what follows it is ignored.
    pub(super) fn log_matchers(&self, text: &str) -> Result<Vec<Matcher>, QueryError> {
        if let Ok(matchers) = parse_selector(text, &self.log_parsing) {
            return Ok(matchers);
        }
        match self.parse_logs(text)? {
            Expr::Log(expr) => Ok(expr.matchers),
            Expr::Metric(_) => Err(QueryError::BadData(
                "a selector of streams is wanted here, and this is a metric expression".into(),
            )),
        }
    }

    fn optional_matchers(&self, expr: Option<&str>) -> Result<Vec<Matcher>, QueryError> {
        expr.map_or(Ok(Vec::new()), |text| self.log_matchers(text))
    }

    /// `expr`: a selector that streams have to match, or all streams.
    pub fn log_label_names(
        &self,
        expr: Option<&str>,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        self.metrics.observe(QueryKind::LogLabels, budget, || {
            let matchers = self.optional_matchers(expr)?;
            let snapshot = self.logs_until_over(budget);
            let items = settled(snapshot.label_names(&matchers, range), budget)?;
            take_listed(budget, &items)?;
            Ok(whole(items, &snapshot))
        })
    }

    pub fn log_label_values(
        &self,
        name: &str,
        expr: Option<&str>,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        self.metrics.observe(QueryKind::LogLabels, budget, || {
            let matchers = self.optional_matchers(expr)?;
            let snapshot = self.logs_until_over(budget);
            let items = settled(snapshot.label_values(name, &matchers, range), budget)?;
            take_listed(budget, &items)?;
            Ok(whole(items, &snapshot))
        })
    }

    /// Streams that any of the selectors lets through, sorted; no selector stands for all.
    pub fn log_series(
        &self,
        selectors: &[String],
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Listing<Labels>, QueryError> {
        self.metrics.observe(QueryKind::LogSeries, budget, || {
            let mut parsed: Vec<Vec<Matcher>> =
                selectors.iter().map(|text| self.log_matchers(text)).collect::<Result<_, _>>()?;
            if parsed.is_empty() {
                parsed.push(Vec::new());
            }
            let snapshot = self.logs_until_over(budget);
            let mut items: Vec<Labels> = Vec::new();
            for matchers in parsed {
                items.extend(select(&snapshot, &matchers, range, budget)?.streams);
            }
            Ok(whole(sorted_once(budget, items)?, &snapshot))
        })
    }

    pub fn log_stats(
        &self,
        expr: &str,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<SelectionStats, QueryError> {
        self.metrics.observe(QueryKind::LogVolume, budget, || {
            let snapshot = self.logs_until_over(budget);
            let selection = select(&snapshot, &self.log_matchers(expr)?, range, budget)?;
            let size = snapshot.size(&selection);
            Ok(SelectionStats {
                streams: size.streams,
                chunks: size.chunks,
                bytes: size.bytes,
                entries: size.entries,
            })
        })
    }

    /// Labels that part the streams, and how many values each has.
    pub fn detected_labels(
        &self,
        expr: Option<&str>,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Vec<DetectedLabel>, QueryError> {
        self.metrics.observe(QueryKind::LogLabels, budget, || {
            let matchers = self.optional_matchers(expr)?;
            let snapshot = self.logs_until_over(budget);
            let names = settled(snapshot.label_names(&matchers, range), budget)?;
            take_listed(budget, &names)?;
            let mut found = Vec::with_capacity(names.len());
            for label in names {
                let values = settled(snapshot.label_values(&label, &matchers, range), budget)?;
                found.push(DetectedLabel { label, cardinality: values.len() as u64 });
            }
            Ok(found)
        })
    }
}

/// The streams that a query selects are held until its answer is written.
pub(in crate::query) fn select(
    snapshot: &LogsSnapshot,
    matchers: &[Matcher],
    range: NanoRange,
    budget: &Budget,
) -> Result<LogSelection, QueryError> {
    budget.check()?;
    let selection = settled(snapshot.select(matchers, range), budget)?;
    budget.take_series(selection.streams.len() as u64)?;
    take_listed(budget, &selection.streams)?;
    let parts = selection.parts.len() * size_of::<LogPart>();
    budget.take_bytes(parts as u64)?;
    Ok(selection)
}

pub(super) fn internal(error: impl std::fmt::Display) -> QueryError {
    QueryError::Internal(error.to_string())
}

fn whole<T>(items: Vec<T>, snapshot: &LogsSnapshot) -> Listing<T> {
    Listing { items, truncated: false, warnings: snapshot.warnings() }
}
