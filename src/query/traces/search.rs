//! The search in two phases: storage names candidates, newest first, and each is put together whole and asked exactly,
//! until there are enough.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::conditions::{conditions, named_trace};
use super::evaluate::{Spanset, evaluate};
use super::trace::Trace;
use crate::model::{NanoRange, Nanos, TraceId};
use crate::query::budget::Budget;
use crate::query::traceql::ast::Pipeline;
use crate::query::{Exceeded, QueryError, settled};
use crate::storage::traces::{Candidate, StoredSpan, TracesSnapshot};

/// A trace is in the range if it overlaps it, even where the span that matches does not; but it is looked for only as
/// far from the range as this.
const EDGE_NS: i64 = 10_000_000_000;

/// A trace that matches, with the spansets that the query made of it.
pub struct Found {
    pub trace: Trace,
    pub spansets: Vec<Spanset>,
}

/// The newest traces that match, the newest first; of those that started together, by id.
pub struct Matches {
    pub found: Vec<Found>,
    /// Traces that were put together and asked.
    pub inspected: u64,
}

/// Finds `limit` traces, or all that there are.
pub fn search(
    snapshot: &TracesSnapshot,
    pipeline: &Pipeline,
    range: NanoRange,
    limit: usize,
    budget: &Budget,
) -> Result<Matches, QueryError> {
    let load = |id| settled(snapshot.trace(id), budget);
    if let Some(id) = named_trace(pipeline) {
        let mut named = Some(Candidate { id, start: Nanos::MAX });
        return newest(|| Ok(named.take()), load, pipeline, range, limit, budget);
    }
    let wider =
        NanoRange { after: range.after.saturating_sub(EDGE_NS), until: range.until.saturating_add(EDGE_NS) };
    let any_of = conditions(pipeline);
    let mut candidates = snapshot.candidates(wider, &any_of);
    newest(|| candidates.next(|| budget.check()), load, pipeline, range, limit, budget)
}

/// Asks the candidates. Each starts, as far as storage knows, at its `start` or before it; so once there are enough,
/// those that can still be newer than the oldest found must be asked as well, and no others.
fn newest(
    mut next: impl FnMut() -> Result<Option<Candidate>, Exceeded>,
    load: impl Fn(TraceId) -> Result<Vec<StoredSpan>, QueryError>,
    pipeline: &Pipeline,
    range: NanoRange,
    limit: usize,
    budget: &Budget,
) -> Result<Matches, QueryError> {
    // By what they are sorted by in the answer.
    let mut found: BTreeMap<(Reverse<Nanos>, TraceId), Found> = BTreeMap::new();
    let mut inspected = 0;
    while let Some(candidate) = next()? {
        let oldest = found.last_key_value().map(|((start, _), _)| start.0);
        if found.len() >= limit && oldest.is_none_or(|oldest| candidate.start < oldest) {
            break;
        }
        budget.check()?;
        let Some(trace) = Trace::new(candidate.id, load(candidate.id)?) else { continue };
        inspected += 1;
        if !overlaps(&trace, range) {
            continue;
        }
        let spansets = evaluate(pipeline, &trace, budget)?;
        if spansets.is_empty() {
            continue;
        }
        // Held until the answer is written; what is dropped before that is given back.
        budget.take_bytes(held_bytes(&trace))?;
        found.insert((Reverse(trace.start), trace.id), Found { trace, spansets });
        if found.len() > limit
            && let Some((_, dropped)) = found.pop_last()
        {
            budget.give_bytes(held_bytes(&dropped.trace));
        }
    }
    // Candidates may have ended because the query did.
    budget.check()?;
    Ok(Matches { found: found.into_values().collect(), inspected })
}

/// A trace that only touches the range with its last instant is in it.
fn overlaps(trace: &Trace, range: NanoRange) -> bool {
    trace.start <= range.until && trace.end > range.after
}

/// What a span takes in memory beside its texts, which are half of that on average.
const SPAN_BYTES: u64 = 1_024;

fn held_bytes(trace: &Trace) -> u64 {
    trace.spans.len() as u64 * SPAN_BYTES
}

#[cfg(test)]
mod tests;
