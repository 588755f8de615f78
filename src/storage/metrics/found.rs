//! The series that a selection finds as it goes through its sources: each once, with all its parts.
//!
//! What segments know of many series is looked up by several threads; the answer does not depend on how many.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::thread;

use foldhash::fast::RandomState;

use super::parts::{Part, Parts};
use super::segment_layout::spread_evenly;
use super::segment_reader::LookUp;
use super::snapshot::{MetricsSnapshot, Series};
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
    /// Of each series.
    fingerprints: Vec<u128>,
    /// Where they stand: of those of all sources but the last one. Often there is but one, which has each once.
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
        if ordinals.is_empty() {
            return Ok(());
        }
        self.index_all();
        let (counted, others) = ranges;
        // What lies in a range as a whole needs no look at times.
        let others = (!others.iter().any(|range| segment.lies_in(*range))).then_some(others);
        let worth = thread_count().min(ordinals.len() / SERIES_PER_THREAD_MIN);
        let threads = if worth > 1 && lookout.may_use_threads() { worth } else { 1 };
        let pieces = ordinals.chunks(ordinals.len().div_ceil(threads));
        for (sighted, result) in self.look_up(segment, pieces, (counted, others), lookout) {
            let new_count = sighted.iter().filter(|sighted| sighted.labels.is_some()).count();
            self.series.reserve(new_count);
            self.fingerprints.reserve(new_count);
            for Sighted { ordinal, fingerprint, estimate, labels } in sighted {
                let part = Part::Segment { index, ordinal };
                match labels {
                    Some(labels) => self.add_new(fingerprint, labels, part, estimate),
                    None => self.add_part(self.index[&fingerprint], part, estimate),
                }
            }
            result?;
        }
        Ok(())
    }

    /// Looks series up, each piece of them on a thread. Each answers with what came before the first damage.
    fn look_up<'o>(
        &self,
        segment: &VisibleSegment,
        mut pieces: impl Iterator<Item = &'o [u32]>,
        ranges: (&[TimeRange], Option<&[TimeRange]>),
        lookout: &Lookout<'_>,
    ) -> Vec<(Vec<Sighted>, Result<(), ReadError>)> {
        let work = |ordinals: &[u32], lookout: &Lookout<'_>| {
            let mut sighted = Vec::with_capacity(ordinals.len());
            let mut look_up = segment.segment().look_up();
            let looked = ordinals.iter().take_while(|_| !lookout.gives_up_before(0));
            for &ordinal in looked {
                match self.sight(segment, &mut look_up, ordinal, ranges) {
                    Ok(series) => sighted.extend(series),
                    Err(damage) => return (sighted, Err(damage)),
                }
            }
            (sighted, Ok(()))
        };
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
            is_there = is_there || segment.has_samples_in(look_up, ordinal, range)?;
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
            self.index_all();
            registry.select(matchers, lookout, |id, fingerprint, labels| {
                for (generation, heads) in snapshot.view.generations.iter().enumerate() {
                    let head = &heads.metrics[shard];
                    let range = head.time_range();
                    if head.holds(id) && ranges.iter().any(|wanted| wanted.overlaps(&range)) {
                        let part = Part::Head { generation: generation as u32, shard: shard as u32, id };
                        let count = head.count_at_most(id);
                        let estimate = ranges.iter().map(|wanted| spread_evenly(count, range, *wanted)).sum();
                        self.add(fingerprint, part, estimate, labels);
                    }
                }
            });
        }
    }

    /// Adds a part of a series that may be known.
    fn add(&mut self, fingerprint: u128, part: Part, estimate: u64, labels: impl FnOnce() -> Labels) {
        match self.index.get(&fingerprint) {
            Some(&known) => self.add_part(known, part, estimate),
            None => {
                self.index.insert(fingerprint, self.series.len() as u32);
                self.add_new(fingerprint, labels(), part, estimate);
            }
        }
    }

    fn add_part(&mut self, known: u32, part: Part, estimate: u64) {
        let series = &mut self.series[known as usize];
        series.parts.push(part);
        series.sample_count_estimate += estimate;
    }

    fn add_new(&mut self, fingerprint: u128, labels: Labels, part: Part, estimate: u64) {
        self.fingerprints.push(fingerprint);
        self.series.push(Series { labels, sample_count_estimate: estimate, parts: Parts::of(part) });
    }

    /// Before the next source: notes where everything stands that was found.
    fn index_all(&mut self) {
        let new = self.index.len()..self.fingerprints.len();
        self.index.reserve(new.len());
        self.index.extend(new.map(|at| (self.fingerprints[at], at as u32)));
    }
}
