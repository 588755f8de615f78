//! What there is: series, the names of their labels, the values of one.

use super::metrics::QueryKind;
use super::sorting::sort_within;
use super::{Budget, Querier, QueryError, settled};
use crate::model::{Labels, Matcher, TimeRange};
use crate::storage::ReadError;
use crate::storage::metrics::MetricsSnapshot;

/// A list that may have been cut by a limit (then `truncated`).
#[derive(Clone, Debug)]
pub struct Listing<T> {
    pub items: Vec<T>,
    pub truncated: bool,
    pub warnings: Vec<String>,
}

/// What may stand in a listing.
pub(super) trait Listed: Ord {
    /// Memory that it takes, for accounting.
    fn bytes(&self) -> usize;
}

impl Listed for Labels {
    fn bytes(&self) -> usize {
        size_of::<Labels>() + self.text_len()
    }
}

impl Listed for String {
    fn bytes(&self) -> usize {
        size_of::<String>() + self.len()
    }
}

/// Memory of a list, accounted until the budget is dropped: that is when the answer is written.
pub(super) fn take_listed<T: Listed>(budget: &Budget, items: &[T]) -> Result<(), QueryError> {
    Ok(budget.take_bytes(items.iter().map(Listed::bytes).sum::<usize>() as u64)?)
}

/// Sorted, each once.
pub(super) fn sorted_once<T: Listed>(budget: &Budget, items: Vec<T>) -> Result<Vec<T>, QueryError> {
    // Those of one source are.
    if items.is_sorted_by(|a, b| a < b) {
        return Ok(items);
    }
    let mut items = sort_within(budget, items, &T::cmp)?;
    items.dedup();
    Ok(items)
}

impl Querier {
    /// Label sets that any of the selectors lets through, sorted. `limit` 0: all.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &Budget,
    ) -> Result<Listing<Labels>, QueryError> {
        self.metrics.observe(QueryKind::Series, budget, || {
            self.listing(selectors, limit, budget, |snapshot, matchers| {
                snapshot.series_labels(matchers, range)
            })
        })
    }

    pub fn label_names(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        self.metrics.observe(QueryKind::Labels, budget, || {
            self.listing(selectors, limit, budget, |snapshot, matchers| snapshot.label_names(matchers, range))
        })
    }

    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &Budget,
    ) -> Result<Listing<String>, QueryError> {
        self.metrics.observe(QueryKind::Labels, budget, || {
            self.listing(selectors, limit, budget, |snapshot, matchers| {
                snapshot.label_values(name, matchers, range)
            })
        })
    }

    /// The union over the selectors of what `list` finds, sorted, each once; no selector stands for everything.
    fn listing<T: Listed>(
        &self,
        selectors: &[Vec<Matcher>],
        limit: usize,
        budget: &Budget,
        list: impl Fn(&MetricsSnapshot, &[Matcher]) -> Result<Vec<T>, ReadError>,
    ) -> Result<Listing<T>, QueryError> {
        let snapshot = self.metrics_until_over(budget);
        let everything = [Vec::new()];
        let selectors = if selectors.is_empty() { &everything[..] } else { selectors };
        let mut items = Vec::new();
        for matchers in selectors {
            budget.check()?;
            let found = settled(list(&snapshot, matchers), budget)?;
            budget.take_series(found.len() as u64)?;
            take_listed(budget, &found)?;
            items.extend(found);
        }
        let mut items = sorted_once(budget, items)?;
        let truncated = limit > 0 && items.len() > limit;
        if truncated {
            items.truncate(limit);
        }
        Ok(Listing { items, truncated, warnings: snapshot.warnings() })
    }
}
