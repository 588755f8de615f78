//! Looking through the blocks of segments, on as many threads as pay.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use super::block_search::{BlockSearch, OriginCache};
use super::condition::{AttributeScope, SpanCondition, SpanField};
use super::first_values::FirstValues;
use super::segment_reader::TracesSegment;
use crate::model::{Lookout, NanoRange, Nanos, StopSign, TraceId};
use crate::storage::segment::SegmentError;

/// A thread costs some ten microseconds, as a block does.
const BLOCKS_PER_THREAD_MIN: usize = 16;
const THREADS_MAX: usize = 8;

/// Asking takes as long as some blocks, and the answer does not change.
static CORES: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));

/// A block: the place of its segment in a list, and its number there.
pub(super) type BlockAt = (usize, u64);
/// To open a block takes as long as to look at so many bytes at least.
const BLOCK_BYTES: usize = 1 << 12;

/// What was found, and what could not be read: that is left out.
pub(super) struct Found<T> {
    pub found: Vec<T>,
    pub damage: Vec<SegmentError>,
}

/// All blocks of the segment at this place that may hold spans of `range`, and when the newest trace of each began.
pub(super) fn newest_starts(
    segments: &[Arc<TracesSegment>],
    segment: usize,
    range: NanoRange,
    stop: &StopSign,
) -> Found<Vec<(Nanos, BlockAt)>> {
    let blocks = blocks_of(segments, segment..segment + 1);
    for_each_block(segments, blocks, range, stop, Vec::new, |block, search, _, found| {
        found.extend(search.newest_start(range)?.map(|start| (start, block)));
        Ok(())
    })
}

/// Traces of these blocks with a span that overlaps `range` and meets all conditions of one of the lists.
pub(super) fn candidates(
    segments: &[Arc<TracesSegment>],
    blocks: Vec<BlockAt>,
    range: NanoRange,
    any_of: &[Vec<SpanCondition>],
    stop: &StopSign,
) -> Found<Vec<(TraceId, Nanos)>> {
    let blocks = Found { found: blocks, damage: Vec::new() };
    for_each_block(segments, blocks, range, stop, Vec::new, |_, search, origins, found| {
        search.candidates(range, any_of, origins, found)
    })
}

pub(super) fn keys(
    segments: &[Arc<TracesSegment>],
    range: NanoRange,
    scope: AttributeScope,
    stop: &StopSign,
) -> Found<BTreeSet<String>> {
    let blocks = blocks_of(segments, 0..segments.len());
    for_each_block(segments, blocks, range, stop, BTreeSet::new, |_, search, origins, found| {
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
    stop: &StopSign,
) -> Found<FirstValues> {
    let new = || FirstValues::new(limit);
    let blocks = blocks_of(segments, 0..segments.len());
    for_each_block(segments, blocks, range, stop, new, |_, search, origins, found| {
        let rows = search.rows(range, conditions, origins)?;
        search.values(field, &rows, origins, found)
    })
}

/// The blocks of the segments at these places.
fn blocks_of(segments: &[Arc<TracesSegment>], places: Range<usize>) -> Found<BlockAt> {
    let mut blocks = Found { found: Vec::new(), damage: Vec::new() };
    for place in places {
        match segments[place].block_count() {
            Ok(count) => blocks.found.extend((0..count).map(|block| (place, block))),
            Err(error) => blocks.damage.push(error),
        }
    }
    blocks
}

/// Calls `visit` for those of the blocks that may hold spans of `range`; each thread fills a `new` value of its own, and
/// gives up when the sign is up.
fn for_each_block<T: Send>(
    segments: &[Arc<TracesSegment>],
    blocks: Found<BlockAt>,
    range: NanoRange,
    stop: &StopSign,
    new: impl Fn() -> T + Sync,
    visit: impl Fn(BlockAt, &BlockSearch<'_>, &mut OriginCache, &mut T) -> Result<(), SegmentError> + Sync,
) -> Found<T> {
    let Found { found: blocks, damage } = blocks;
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut found, mut damage, mut origins) = (new(), Vec::new(), OriginCache::default());
        let lookout = Lookout::new(stop);
        while let Some(&block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lookout.gives_up_before(BLOCK_BYTES) {
                break;
            }
            let visit = |search: &BlockSearch<'_>| visit(block, search, &mut origins, &mut found);
            let visited = in_block(&segments[block.0], block.1, range, &lookout, visit);
            damage.extend(visited.err());
        }
        (found, damage)
    };
    let worth = CORES.min(THREADS_MAX).min(blocks.len() / BLOCKS_PER_THREAD_MIN);
    let helpers = if worth > 1 && stop.may_use_threads() { worth - 1 } else { 0 };
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
    lookout: &Lookout<'_>,
    visit: impl FnOnce(&BlockSearch<'_>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let (chunk, at) = segment.entry(block)?;
    let block = segment.block(&chunk, at)?;
    if block.entry.range().overlaps(&range) { visit(&BlockSearch::new(block, lookout)) } else { Ok(()) }
}
