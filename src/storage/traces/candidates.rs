//! The traces that a search may be looking for, the newest first, from no more blocks than it takes.
//!
//! Traces lie in segments by their ids, so every block has newer and older ones. But the starts of a block's traces are
//! a small column: it says which of them the block cannot better, and a search that has its newest twenty leaves the
//! other blocks alone. What stays true: nothing is handed out while something unread may be as new.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::condition::SpanCondition;
use super::segment_reader::TracesSegment;
use super::segment_search::{self, BlockAt};
use super::snapshot::TracesSnapshot;
use crate::model::nanos::NANOS_PER_MILLI;
use crate::model::{NanoRange, Nanos, TraceId};

/// A trace that may be what a search looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: TraceId,
    /// The trace began then or earlier: it is the start of what is in one of the places that hold spans of it.
    pub start: Nanos,
}

/// Hands candidates out; each trace once, at the latest start that it has anywhere.
pub struct Candidates<'s> {
    snapshot: &'s TracesSnapshot,
    range: NanoRange,
    any_of: &'s [Vec<SpanCondition>],
    /// By their ends, so that those still unopened are the first `unopened`.
    segments: Vec<Arc<TracesSegment>>,
    unopened: usize,
    /// The unread blocks of opened segments, by the start of their newest trace.
    blocks: BinaryHeap<(Nanos, BlockAt)>,
    found: BinaryHeap<(Nanos, Reverse<TraceId>)>,
    given: HashSet<TraceId, RandomState>,
    /// How many blocks to read together.
    batch: usize,
}

/// Enough for the threads of a small machine, and for the newest twenty of traces of which every other one matches.
const BATCH: usize = 32;
/// Where few traces match all blocks will be read anyway. Between batches the caller may stop: some ten milliseconds.
const BATCH_MAX: usize = 1024;

impl<'s> Candidates<'s> {
    /// `found` is what is not in segments.
    pub(super) fn new(
        snapshot: &'s TracesSnapshot,
        mut segments: Vec<Arc<TracesSegment>>,
        found: Vec<(TraceId, Nanos)>,
        range: NanoRange,
        any_of: &'s [Vec<SpanCondition>],
    ) -> Candidates<'s> {
        segments.sort_by_key(|segment| segment.meta().max_time);
        let mut candidates = Candidates {
            snapshot,
            range,
            any_of,
            unopened: segments.len(),
            segments,
            blocks: BinaryHeap::new(),
            found: BinaryHeap::new(),
            given: HashSet::default(),
            batch: BATCH,
        };
        candidates.add(found);
        candidates
    }

    /// The next one. `may_go_on` is asked before every batch of blocks.
    pub fn next<E>(&mut self, may_go_on: impl Fn() -> Result<(), E>) -> Result<Option<Candidate>, E> {
        loop {
            let newest = self.found.peek().map(|(start, _)| *start);
            let in_blocks = self.blocks.peek().map(|(start, _)| *start);
            let in_segments = self.unopened.checked_sub(1).map(|last| self.newest_in(last));
            if newest > in_blocks.max(in_segments) || in_blocks.max(in_segments).is_none() {
                let Some((start, Reverse(id))) = self.found.pop() else { return Ok(None) };
                if self.given.insert(id) {
                    return Ok(Some(Candidate { id, start }));
                }
                continue;
            }
            may_go_on()?;
            if in_segments >= in_blocks { self.open_segment() } else { self.read_blocks() }
        }
    }

    /// No trace in this segment starts later.
    fn newest_in(&self, segment: usize) -> Nanos {
        self.segments[segment].meta().max_time.saturating_mul(NANOS_PER_MILLI)
    }

    fn open_segment(&mut self) {
        self.unopened -= 1;
        let newest =
            segment_search::newest_starts(&self.segments, self.unopened, self.range, &self.snapshot.stop);
        self.blocks.extend(self.snapshot.with_warnings(newest).into_iter().flatten());
    }

    /// Reads the blocks with the newest traces, as far as they may have newer ones than were found.
    fn read_blocks(&mut self) {
        let newest = self.found.peek().map(|(start, _)| *start);
        let mut batch = Vec::with_capacity(self.batch);
        while batch.len() < self.batch
            && let Some(block) = self.blocks.peek_mut()
            && Some(block.0) >= newest
        {
            batch.push(PeekMut::pop(block).1);
        }
        let stop = &self.snapshot.stop;
        let found = segment_search::candidates(&self.segments, batch, self.range, self.any_of, stop);
        let found_before = self.found.len();
        self.snapshot.with_warnings(found).into_iter().for_each(|found| self.add(found));
        if self.found.len() - found_before < self.batch {
            self.batch = BATCH_MAX;
        }
    }

    fn add(&mut self, found: Vec<(TraceId, Nanos)>) {
        self.found.extend(found.into_iter().map(|(id, start)| (start, Reverse(id))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::traces::segment_tests::{head_of, open, seal, span};
    use crate::storage::traces::test_spans::all;

    /// A segment of 16,000 traces of one span, which start a second apart, in an order that their ids do not tell.
    fn segment(first_second: u64) -> Arc<TracesSegment> {
        let spans = (first_second..first_second + 16_000).map(|second| {
            let id = u128::from(second.wrapping_mul(0x9e37_79b9_7f4a_7c15)) + 1;
            (span(id.to_be_bytes(), 1, second * 1_000_000_000), (second % 2) as usize)
        });
        Arc::new(open(seal(&[head_of(&spans.collect::<Vec<_>>())])))
    }

    fn go_on() -> Result<(), ()> {
        Ok(())
    }

    #[test]
    fn the_newest_are_told_before_all_blocks_are_read() {
        let (old, new) = (segment(0), segment(20_000));
        let block_count = new.block_count().unwrap() as usize;
        assert!(block_count > 6);
        let snapshot = TracesSnapshot::new(Vec::new(), [Ok(new), Ok(old)]);
        let any_of = [vec![SpanCondition::service("cart")]];
        let mut candidates = snapshot.candidates(NanoRange::ALL, &any_of);
        candidates.batch = 1;
        let newest: Vec<_> = (0..2).map(|_| candidates.next(go_on).unwrap().unwrap()).collect();
        assert_eq!(newest[0].start - newest[1].start, 2_000_000_000);
        assert!(candidates.blocks.len() >= block_count / 2 && candidates.unopened == 1);
        let rest = all(candidates);
        assert_eq!(rest.len(), 16_000 - 2);
        assert!(newest.iter().chain(&rest).is_sorted_by(|a, b| a.start > b.start));
    }

    #[test]
    fn a_block_without_a_trace_in_the_range_is_not_read() {
        let segment = segment(0);
        let snapshot = TracesSnapshot::new(Vec::new(), [Ok(segment.clone())]);
        let (chunk, _) = segment.entry(0).unwrap();
        let first = chunk.blocks.iter().map(|block| block.first_start).min().unwrap();
        let range = NanoRange::closed(first, first);
        let mut candidates = snapshot.candidates(range, &[]);
        candidates.open_segment();
        assert_eq!(candidates.blocks.len(), 1);
        assert_eq!(all(snapshot.candidates(range, &[Vec::new()])).len(), 1);
    }

    #[test]
    fn a_search_can_be_stopped_between_batches() {
        let snapshot = TracesSnapshot::new(Vec::new(), [Ok(segment(0))]);
        let mut candidates = snapshot.candidates(NanoRange::ALL, &[]);
        assert_eq!(candidates.next(|| Err("stop")), Err("stop"));
        assert_eq!(candidates.next(go_on), Ok(None));
    }
}
