//! Which service calls which, counted from the parents of spans.

use std::collections::BTreeMap;

use super::trace::Trace;
use crate::model::NanoRange;
use crate::query::budget::Budget;
use crate::query::metrics::QueryKind;
use crate::query::{Querier, QueryError, settled};
use crate::storage::traces::SpanCondition;

/// Spans of one service right below spans of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub parent: String,
    pub child: String,
    pub calls: u64,
}

/// A list of no conditions, which every span meets.
const EVERYTHING: &[Vec<SpanCondition>] = &[Vec::new()];

impl Querier {
    /// Of all traces in the range, by parent and child.
    pub fn trace_dependencies(
        &self,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Vec<Dependency>, QueryError> {
        self.metrics.observe(QueryKind::TraceSearch, budget, || {
            let snapshot = self.traces_until_over(budget);
            let mut calls = BTreeMap::new();
            let mut candidates = snapshot.candidates(range, EVERYTHING);
            while let Some(candidate) = candidates.next(|| budget.check())? {
                let spans = settled(snapshot.trace(candidate.id), budget)?;
                if let Some(trace) = Trace::new(candidate.id, spans) {
                    count(&trace, &mut calls);
                }
            }
            budget.check()?;
            let dependency = |((parent, child), calls)| Dependency { parent, child, calls };
            Ok(calls.into_iter().map(dependency).collect())
        })
    }
}

fn count(trace: &Trace, calls: &mut BTreeMap<(String, String), u64>) {
    let service = |span: usize| trace.spans[span].origin.service_name().unwrap_or("");
    for span in 0..trace.spans.len() {
        let Some(parent) = trace.tree.parent(span) else { continue };
        let (from, to) = (service(parent), service(span));
        if from != to {
            *calls.entry((from.to_owned(), to.to_owned())).or_insert(0) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::traces::fixture::{origin, span, trace};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    #[test]
    fn calls_within_a_service_are_no_dependency() {
        let mut other = span(3, 2, 2, 3);
        other.origin = origin(&[("service.name", Value::StringValue("db".to_owned()))]);
        let mut calls = BTreeMap::new();
        count(&trace(vec![span(1, 0, 0, 9), span(2, 1, 1, 5), other]), &mut calls);
        assert_eq!(calls, BTreeMap::from([(("svc".to_owned(), "db".to_owned()), 1)]));
    }
}
