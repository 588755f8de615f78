//! Parts of a selection, read by several threads.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::query::{Budget, QueryError, settled};
use crate::storage::logs::{LogAsk, LogPart, LogRowsBuffer, LogSelection, LogsSnapshot};

/// Fewer entries are read sooner than a thread starts.
const ENTRIES_A_THREAD: u64 = 8 << 10;

static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// What all parts of one query's evaluation share.
#[derive(Clone, Copy)]
pub struct Scan<'q> {
    pub snapshot: &'q LogsSnapshot,
    pub budget: &'q Budget,
}

impl Scan<'_> {
    /// Reads a part within the budget.
    pub fn read(
        &self,
        selection: &LogSelection,
        part: &LogPart,
        ask: &LogAsk<'_>,
        rows: &mut LogRowsBuffer,
    ) -> Result<(), QueryError> {
        self.budget.check()?;
        let looks_at_lines = ask.wants_lines || !ask.line_filters.is_empty();
        self.budget.take_log_lines(part.rows, if looks_at_lines { part.bytes } else { 0 })?;
        settled(self.snapshot.read(selection, part, ask, rows), self.budget)
    }

    /// Gives each part, in this order, to one of several workers, each on a thread of its own, and the workers back,
    /// in no order. `work` returns false when the worker needs no more parts.
    pub fn for_each<W: Send>(
        &self,
        parts: &[&LogPart],
        make_worker: impl Fn() -> W + Sync,
        work: impl Fn(&mut W, &LogPart, usize) -> Result<bool, QueryError> + Sync,
    ) -> Result<Vec<W>, QueryError> {
        let entries: u64 = parts.iter().map(|part| part.rows).sum();
        let worth = (entries / ENTRIES_A_THREAD).min(*CORES as u64).min(parts.len() as u64);
        let threads = if worth > 1 && self.budget.may_use_threads() { worth } else { 1 };
        let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let run = || {
            let mut worker = make_worker();
            while !has_failed.load(Ordering::Relaxed) {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts.get(place) else { break };
                match work(&mut worker, part, place) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        has_failed.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            Ok(worker)
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            let mut workers = vec![run()];
            for other in others {
                workers.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            workers.into_iter().collect()
        })
    }
}
