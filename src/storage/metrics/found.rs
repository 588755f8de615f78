//! The series that a selection finds as it goes through its sources: each once, with all its parts.
//!
//! What segments know of many series is looked up by several threads; the answer does not depend on how many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::resume_unwind;
use std::thread;

use foldhash::fast::RandomState;

use super::segment_layout::spread_evenly;
use super::segment_reader::LookUp;
use super::snapshot::{MetricsSnapshot, Part, Series};
use super::visible::VisibleSegment;
use crate::model::{Labels, Lookout, Matcher, TimeRange, thread_count};
use crate::storage::errors::ReadError;
use crate::storage::live::LiveSegment;

/// To start a thread takes as long as to look up some hundred series.
const SERIES_PER_THREAD_MIN: usize = 2_048;

/// Series by fingerprint, as the sources are gone through.
#[derive(Default)]
pub struct Found {
    pub series: Vec<Series>,
    index: HashMap<u128, u32, RandomState>,
}

/// A series of a segment. Those that were found before have no labels.
struct Sighted {
    ordinal: u32,
    fingerprint: u128,
    estimate: u64,
    labels: Option<Labels>,
}

impl Found {
    /// Adds the series of a segment that have samples, or buckets, in the ranges: those of the first are counted in the
    /// estimate.
    pub fn add_segment(
        &mut self,
        live: &LiveSegment,
        index: u32,
        matchers: &[Matcher],
        ranges: (&[TimeRange], &[TimeRange]),
        lookout: &Lookout<'_>,
    ) -> Result<(), ReadError> {
        let segment = live.visible()?;
        let ordinals: Vec<u32> = segment.select(matchers, lookout)?.into_iter().collect();
        let all = self.look_up(segment, &ordinals, ranges, lookout);
        let is_new = |sighted: &&Sighted| sighted.labels.is_some();
        self.index.reserve(all.iter().flat_map(|(sighted, _)| sighted).filter(is_new).count());
        for (sighted, result) in all {
            for Sighted { ordinal, fingerprint, estimate, labels } in sighted {
                self.add(fingerprint, Part::Segment { index, ordinal }, estimate, || labels);
            }
            result?;
        }
        Ok(())
    }

    /// Looks these series up, some on each thread. Each answers with what came before the first damage.
    fn look_up(
        &self,
        segment: &VisibleSegment,
        ordinals: &[u32],
        ranges: (&[TimeRange], &[TimeRange]),
        lookout: &Lookout<'_>,
    ) -> Vec<(Vec<Sighted>, Result<(), ReadError>)> {
        let (counted, others) = ranges;
        // What lies in a range as a whole needs no look at times.
        let others = (!others.iter().any(|range| segment.lies_in(*range))).then_some(others);
        let work = |ordinals: &[u32], lookout: &Lookout<'_>| {
            let (mut sighted, mut look_up) = (Vec::new(), segment.segment().look_up());
            let looked = ordinals.iter().take_while(|_| !lookout.gives_up_before(0));
            for &ordinal in looked {
                match self.sight(segment, &mut look_up, ordinal, (counted, others)) {
                    Ok(series) => sighted.extend(series),
                    Err(damage) => return (sighted, Err(damage)),
                }
            }
            (sighted, Ok(()))
        };
        let threads = thread_count().min(ordinals.len() / SERIES_PER_THREAD_MIN).max(1);
        let mut pieces = ordinals.chunks(ordinals.len().div_ceil(threads).max(1));
        let first = pieces.next().unwrap_or_default();
        thread::scope(|scope| {
            let start = |piece| {
                let lookout = lookout.another();
                let started = thread::Builder::new().spawn_scoped(scope, move || work(piece, &lookout));
                (piece, started)
            };
            let others: Vec<_> = pieces.map(start).collect();
            let mut all = vec![work(first, lookout)];
            all.extend(others.into_iter().map(|(piece, started)| match started {
                Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The system has no thread for it.
                Err(_) => work(piece, lookout),
            }));
            all
        })
    }

    /// None if it has nothing in the ranges; the second ones may be all of time.
    fn sight(
        &self,
        segment: &VisibleSegment,
        look_up: &mut LookUp<'_>,
        ordinal: u32,
        (counted, others): (&[TimeRange], Option<&[TimeRange]>),
    ) -> Result<Option<Sighted>, ReadError> {
        let mut estimate = 0;
        for &range in counted {
            estimate += segment.sample_count(look_up, ordinal, range)?;
        }
        let mut is_there = estimate > 0 || others.is_none() && look_up.has_samples(ordinal)?;
        for &range in others.unwrap_or_default() {
            is_there = is_there || segment.sample_count(look_up, ordinal, range)? > 0;
        }
        if !is_there {
            return Ok(None);
        }
        if self.index.is_empty() {
            // There is nobody it could be.
            let (labels, fingerprint) = look_up.labels_with_fingerprint(ordinal)?;
            return Ok(Some(Sighted { ordinal, fingerprint, estimate, labels: Some(labels) }));
        }
        let fingerprint = look_up.fingerprint(ordinal)?;
        let labels = match self.index.contains_key(&fingerprint) {
            true => None,
            false => Some(look_up.labels(ordinal)?),
        };
        Ok(Some(Sighted { ordinal, fingerprint, estimate, labels }))
    }

    /// Adds the series that heads hold and that may have samples in the ranges.
    pub fn add_heads(
        &mut self,
        snapshot: &MetricsSnapshot,
        matchers: &[Matcher],
        ranges: &[TimeRange],
        lookout: &Lookout<'_>,
    ) {
        for (shard, registry) in snapshot.registries_in(ranges) {
            registry.select(matchers, lookout, |id, fingerprint, labels| {
                for (generation, heads) in snapshot.view.generations.iter().enumerate() {
                    let head = &heads.metrics[shard];
                    let range = head.time_range();
                    if head.holds(id) && ranges.iter().any(|wanted| wanted.overlaps(&range)) {
                        let part = Part::Head { generation: generation as u32, shard: shard as u32, id };
                        let count = head.count_at_most(id);
                        let estimate = ranges.iter().map(|wanted| spread_evenly(count, range, *wanted)).sum();
                        self.add(fingerprint, part, estimate, || Some(labels()));
                    }
                }
            });
        }
    }

    fn add(&mut self, fingerprint: u128, part: Part, estimate: u64, labels: impl FnOnce() -> Option<Labels>) {
        match self.index.entry(fingerprint) {
            Entry::Occupied(known) => {
                let series = &mut self.series[*known.get() as usize];
                series.parts.push(part);
                series.sample_count_estimate += estimate;
            }
            Entry::Vacant(new) => {
                let labels = labels().expect("series that are new come with their labels");
                new.insert(self.series.len() as u32);
                self.series.push(Series { labels, sample_count_estimate: estimate, parts: vec![part] });
            }
        }
    }
}
