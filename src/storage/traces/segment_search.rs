//! Looking through the blocks of segments, on as many threads as pay.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::block_search::{BlockSearch, OriginCache};
use super::condition::{AttributeScope, SpanCondition, SpanField};
use super::first_values::FirstValues;
use super::segment_reader::TracesSegment;
use crate::model::{NanoRange, Nanos, TraceId};
use crate::storage::segment::SegmentError;

/// A thread costs some ten microseconds, as a block does.
const BLOCKS_PER_THREAD_MIN: usize = 16;
const THREADS_MAX: usize = 8;

/// What was found, and what could not be read: that is left out.
pub(super) struct Found<T> {
    pub found: Vec<T>,
    pub damage: Vec<SegmentError>,
}

/// Traces with a span that overlaps `range` and meets all conditions of one of the lists, perhaps more than once.
pub(super) fn candidates(
    segments: &[Arc<TracesSegment>],
    range: NanoRange,
    any_of: &[Vec<SpanCondition>],
) -> Found<Vec<(TraceId, Nanos)>> {
    for_each_block(segments, range, Vec::new, |search, origins, found| {
        search.candidates(range, any_of, origins, found)
    })
}

pub(super) fn keys(
    segments: &[Arc<TracesSegment>],
    range: NanoRange,
    scope: AttributeScope,
) -> Found<BTreeSet<String>> {
    for_each_block(segments, range, BTreeSet::new, |search, origins, found| {
        search.keys(scope, origins, found)
    })
}

/// The first `limit` values that each thread met of a field on spans that overlap `range` and meet all conditions.
pub(super) fn values(
    segments: &[Arc<TracesSegment>],
    range: NanoRange,
    field: &SpanField,
    conditions: &[SpanCondition],
    limit: usize,
) -> Found<FirstValues> {
    let new = || FirstValues::new(limit);
    for_each_block(segments, range, new, |search, origins, found| {
        let rows = search.rows(range, conditions, origins)?;
        search.values(field, &rows, origins, found)
    })
}

/// Calls `visit` for all blocks that may hold spans of `range`; each thread fills a `new` value of its own.
fn for_each_block<T: Send>(
    segments: &[Arc<TracesSegment>],
    range: NanoRange,
    new: impl Fn() -> T + Sync,
    visit: impl Fn(&BlockSearch<'_>, &mut OriginCache, &mut T) -> Result<(), SegmentError> + Sync,
) -> Found<T> {
    let mut damage = Vec::new();
    let mut blocks = Vec::new();
    for segment in segments {
        match segment.block_count() {
            Ok(count) => blocks.extend((0..count).map(|block| (segment, block))),
            Err(error) => damage.push(error),
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut found, mut damage, mut origins) = (new(), Vec::new(), OriginCache::default());
        while let Some((segment, block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let visited = in_block(segment, *block, range, |search| visit(search, &mut origins, &mut found));
            damage.extend(visited.err());
        }
        (found, damage)
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let helpers = cores.min(blocks.len() / BLOCKS_PER_THREAD_MIN).saturating_sub(1);
    let parts = std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut parts = vec![work()];
        parts.extend(helpers.into_iter().map(|helper| helper.join().expect("a search does not panic")));
        parts
    });
    let mut all = Found { found: Vec::new(), damage };
    for (found, mut damage) in parts {
        all.found.push(found);
        all.damage.append(&mut damage);
    }
    all
}

fn in_block(
    segment: &TracesSegment,
    block: u64,
    range: NanoRange,
    visit: impl FnOnce(&BlockSearch<'_>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let (chunk, at) = segment.entry(block)?;
    let block = segment.block(&chunk, at)?;
    if block.entry.range().overlaps(&range) { visit(&BlockSearch::new(block)) } else { Ok(()) }
}
