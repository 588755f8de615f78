//! The queries that wait for their turn or run: who asked what and since when, and a way to end each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Budget;
use crate::model::Timestamp;

/// One query as it is listed.
#[derive(Clone, Debug)]
pub struct RunningQuery {
    /// `promql`, `logql`, `traceql`.
    pub kind: &'static str,
    pub text: String,
    /// What was asked, and by whom as far as known.
    pub path: String,
    pub client: Option<IpAddr>,
    pub started_at: Timestamp,
}

/// All queries of a server. An id is given once.
#[derive(Clone, Default)]
pub struct RunningQueries(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    last_id: u64,
    queries: BTreeMap<u64, (RunningQuery, Budget)>,
}

/// A query is listed as long as this lives.
pub struct Listed {
    queries: RunningQueries,
    id: u64,
}

impl RunningQueries {
    pub fn enter(&self, query: RunningQuery, budget: &Budget) -> Listed {
        let mut inner = self.0.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        inner.queries.insert(id, (query, budget.clone()));
        Listed { queries: self.clone(), id }
    }

    /// The oldest first; the budget tells what each has used.
    pub fn list(&self) -> Vec<(u64, RunningQuery, Budget)> {
        let inner = self.0.lock();
        inner.queries.iter().map(|(id, (query, budget))| (*id, query.clone(), budget.clone())).collect()
    }

    /// Ends a query at its next check; false if there is none with this id any more.
    pub fn cancel(&self, id: u64) -> bool {
        let inner = self.0.lock();
        inner.queries.get(&id).map(|(_, budget)| budget.cancel()).is_some()
    }
}

impl Listed {
    /// The query begins anew with this budget: cancelled, if it was.
    pub fn begins_anew(&self, budget: &Budget) {
        if let Some((_, listed)) = self.queries.0.lock().queries.get_mut(&self.id) {
            if listed.is_cancelled() {
                budget.cancel();
            }
            *listed = budget.clone();
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.queries.0.lock().queries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::Exceeded;
    use crate::query::budget::Limits;

    #[test]
    fn a_query_is_listed_while_it_lives_and_only_the_one_named_is_cancelled() {
        let limits = Limits { samples_max: 1, series_max: 1, bytes_max: 1, log_bytes_max: 1 };
        let budget = || Budget::new(Instant::now() + Duration::from_secs(60), limits);
        let queries = RunningQueries::default();
        let enter = |text: &str, budget: &Budget| {
            let (text, path) = (text.to_owned(), "/api/v1/query".to_owned());
            queries.enter(RunningQuery { kind: "promql", text, path, client: None, started_at: 7 }, budget)
        };
        let (first, second) = (budget(), budget());
        let listed = [enter("up", &first), enter("down", &second)];
        let texts: Vec<String> = queries.list().into_iter().map(|(_, query, _)| query.text).collect();
        assert_eq!(texts, ["up", "down"]);
        assert!(queries.cancel(queries.list()[1].0));
        assert_eq!((first.check(), second.check()), (Ok(()), Err(Exceeded::Cancelled)));
        let id = queries.list()[0].0;
        drop(listed);
        assert!(queries.list().is_empty() && !queries.cancel(id));
    }
}
