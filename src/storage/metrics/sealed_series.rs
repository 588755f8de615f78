//! What a seal knows from those before: the order of the series they met, and the indexes that they wrote. Mostly the next
//! generation has hardly any others, and only these are sorted. Series that an index was written of have it again, without a
//! look at their labels; where there are many of them, a few others go to a segment of their own.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SampleBuffer;
use super::head::Head;
use super::kept_order::{KeptOrder, Moved};
use super::label_order::{InOrder, Place};
use super::registry::{Reading, SharedRegistry};
use super::segment_reader::MetricsSegment;
use crate::model::TimeRange;

/// A generation that was sealed early has not all series, and the one after it has them again.
const WRITTEN_MAX: usize = 2;

/// A segment is held for so many seals that had other series; merged away, it takes room on disk.
const PASSED_BY_MAX: u32 = 4;

/// To write the index of so many series anew takes some tenths of a second for each million: fewer are worth no second
/// segment, which each query would have to look into.
const APART_MIN: u64 = if cfg!(test) { 3 } else { 1 << 17 };

/// Of so many series one may be apart from those that have an index.
const ONE_APART_OF: u64 = if cfg!(test) { 3 } else { 16 };

/// Of a day that a generation has late samples for, so many series show it.
const LOOKED_AT: usize = 64;

#[derive(Default)]
pub(in crate::storage) struct SealedSeries {
    order: KeptOrder,
    /// Which of them were asked for last, by place in the order.
    asked: RoaringBitmap,
    /// The last one at the end.
    written: Vec<Written>,
}

/// Series of a generation that go to one segment.
pub(in crate::storage) struct Part {
    /// By place in the order, as it was when it was asked for.
    series: RoaringBitmap,
    /// A segment of the same series.
    same: Option<Arc<MetricsSegment>>,
    /// Beside those whose index is known. Just these will hardly come again.
    is_apart: bool,
}

/// A segment of just these series, by place in the order.
struct Written {
    series: RoaringBitmap,
    segment: Arc<MetricsSegment>,
    /// Seals since, of other series.
    passed_by: u32,
}

impl SealedSeries {
    /// What these heads hold, by the segments that what is in `range` should go to: one, or two that share no series.
    pub fn parts(
        &mut self,
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
    ) -> Vec<Part> {
        self.ask_for(heads, registries);
        let known = self.written.iter().filter(|written| written.series.is_subset(&self.asked));
        let Some(known) = known.max_by_key(|written| written.series.len()) else { return self.all_anew() };
        let others = &self.asked - &known.series;
        let (other_count, all_count) = (others.len(), self.asked.len());
        if other_count > 0 && (all_count < APART_MIN || other_count * ONE_APART_OF > all_count) {
            return self.all_anew();
        }
        if other_count > 0 && !self.all_begin_with(&known.series, heads, range) {
            // Late samples of a few series, for which nobody knows an index: not worth two segments either.
            return self.all_anew();
        }
        let (series, same) = (known.series.clone(), Some(known.segment.clone()));
        let mut parts = vec![Part { series, same, is_apart: false }];
        if other_count > 0 {
            parts.push(Part { series: others, same: None, is_apart: true });
        }
        parts
    }

    /// Whether the first ones of these series have samples in `range`, each of them: then so have most likely all.
    fn all_begin_with(&self, series: &RoaringBitmap, heads: &[Arc<Head>], range: TimeRange) -> bool {
        let mut samples = SampleBuffer::default();
        series.iter().take(LOOKED_AT).map(|at| self.order.places()[at as usize]).all(|place| {
            samples.clear();
            heads[place.shard as usize].read(place.id, range, &mut samples);
            !samples.is_empty()
        })
    }

    fn all_anew(&self) -> Vec<Part> {
        vec![Part { series: self.asked.clone(), same: None, is_apart: false }]
    }

    /// The series of a part, in the order of labels. Valid until the next parts are asked for.
    pub(super) fn in_order(&self, part: &Part) -> InOrder<'_> {
        InOrder::new(self.order.places(), part.series.clone())
    }

    /// Makes `asked` the places of what these heads hold.
    fn ask_for(&mut self, heads: &[Arc<Head>], registries: &[SharedRegistry]) {
        let (let_go, shards) = take_let_go(registries);
        drop(shards);
        self.forget(&let_go);
        let is_held = |place: &Place| heads[place.shard as usize].holds(place.id);
        let held = (0..).zip(self.order.places()).filter(|(_, place)| is_held(place)).map(|(at, _)| at);
        self.asked = RoaringBitmap::from_sorted_iter(held).expect("places increase");
        let series_count = heads.iter().map(|head| head.series_ids().count() as u64).sum();
        if self.asked.len() < series_count {
            self.insert(self.unknown(heads), registries);
        }
        assert_eq!(self.asked.len(), series_count, "a series is registered as long as a generation holds it");
    }

    /// Forgets what the registries let go of.
    fn forget(&mut self, let_go: &[RoaringBitmap]) {
        let moved = self.order.let_go(let_go);
        self.follow(&moved);
    }

    /// The series of these heads that have no place in the order.
    fn unknown(&self, heads: &[Arc<Head>]) -> Vec<Place> {
        let mut is_known: Vec<Vec<bool>> = vec![Vec::new(); heads.len()];
        for place in self.order.places() {
            let (of_shard, id) = (&mut is_known[place.shard as usize], place.id as usize);
            if of_shard.len() <= id {
                of_shard.resize(id + 1, false);
            }
            of_shard[id] = true;
        }
        let shards = (0..).zip(heads).zip(&is_known);
        shards
            .flat_map(|((shard, head), is_known)| {
                let unknown =
                    head.series_ids().filter(|&id| !is_known.get(id as usize).is_some_and(|known| *known));
                unknown.map(move |id| Place { shard, id })
            })
            .collect()
    }

    /// Puts new series in the order, all of which are asked for.
    fn insert(&mut self, new: Vec<Place>, registries: &[SharedRegistry]) {
        // Some may have gone meanwhile.
        let (let_go, shards) = take_let_go(registries);
        self.forget(&let_go);
        let moved = self.order.insert(&shards, new);
        drop(shards);
        self.follow(&moved);
        self.asked |= moved.come();
    }

    fn follow(&mut self, moved: &Moved) {
        self.asked = moved.follow(&self.asked).unwrap_or_default();
        self.written.retain_mut(|written| {
            let series = moved.follow(&written.series);
            series.map(|series| written.series = series).is_some()
        });
    }

    /// This segment is what became of a part, of some of its series or all.
    pub fn sealed_into(&mut self, part: Part, segment: &Arc<MetricsSegment>) {
        if !part.is_apart && u64::from(segment.series_count()) == part.series.len() {
            self.written.iter_mut().for_each(|written| written.passed_by += 1);
            self.written
                .retain(|written| written.series != part.series && written.passed_by <= PASSED_BY_MAX);
            self.written.push(Written { series: part.series, segment: segment.clone(), passed_by: 0 });
            let too_many = self.written.len().saturating_sub(WRITTEN_MAX);
            self.written.drain(..too_many);
        }
    }
}

impl Part {
    pub(super) fn same(&self) -> Option<&Arc<MetricsSegment>> {
        self.same.as_ref()
    }
}

/// What the registries let go of since this was asked for last, and the registries, which let go of no more meanwhile.
fn take_let_go(registries: &[SharedRegistry]) -> (Vec<RoaringBitmap>, Vec<Reading<'_>>) {
    registries.iter().map(|registry| registry.take_let_go()).unzip()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::super::flush::write_generation;
    use super::super::head::SeriesWriter;
    use super::super::{MetricsSegmentWriter, SampleBuffer, SeriesData};
    use super::*;
    use crate::model::Labels;
    use crate::storage::fs::Mapped;
    use crate::storage::index::DICTIONARY;
    use crate::storage::segment::Segment;

    const SHARDS: usize = 2;

    fn opened(bytes: Vec<u8>) -> Arc<MetricsSegment> {
        let segment = Segment::open(Arc::new(Mapped::Heap(bytes)), "sealed").unwrap();
        Arc::new(MetricsSegment::open(segment))
    }

    fn registries() -> Vec<SharedRegistry> {
        (0..SHARDS).map(|_| SharedRegistry::default()).collect()
    }

    /// Heads with some samples of the series of these numbers, at this time.
    fn heads(registries: &[SharedRegistry], series: &BTreeSet<u32>, time: i64) -> Vec<Arc<Head>> {
        let heads: Vec<_> = registries.iter().map(|_| Arc::new(Head::new(100))).collect();
        for &number in series {
            // Neither the order of numbers nor that of registration is the one of labels.
            let (name, host) = (format!("m{}", number * 7 % 5), format!("h{number}"));
            let labels = Labels::from_pairs([("__name__", name.as_str()), ("host", &host)]).unwrap();
            let shard = number as usize % SHARDS;
            let (id, _) = registries[shard].find_or_insert(&labels, labels.fingerprint(), 100).unwrap();
            let mut writer = SeriesWriter::new();
            // Some are in the second of two ranges alone.
            for step in u32::from(number % 3 == 0)..2 {
                let at = time + i64::from(step) * 50;
                heads[shard].append_float(&mut writer, id, at, f64::from(number + step));
            }
        }
        heads
    }

    /// The segments of a generation, in the order of their parts; none where a part has nothing in this range.
    fn sealed(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
        known: &mut SealedSeries,
    ) -> Vec<(Part, Option<Vec<u8>>)> {
        let parts = known.parts(heads, registries, range).into_iter();
        parts
            .map(|part| {
                let seal = (&*known, &part);
                let written = write_generation(heads, registries, range, (1, 2), seal, Vec::new()).unwrap();
                (part, written.map(|(bytes, _)| bytes))
            })
            .collect()
    }

    /// Seals a generation, and has it remembered.
    fn seal(heads: &[Arc<Head>], registries: &[SharedRegistry], known: &mut SealedSeries) {
        for (part, bytes) in sealed(heads, registries, TimeRange::ALL, known) {
            known.sealed_into(part, &opened(bytes.unwrap()));
        }
    }

    /// A part, written by who knows nothing and writes labels as texts.
    fn plainly_sealed(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
        (known, part): (&SealedSeries, &Part),
    ) -> Option<Vec<u8>> {
        let mut series = BTreeMap::new();
        for place in known.in_order(part).iter() {
            registries[place.shard as usize].with_labels(&[place.id], |id, labels| {
                let mut samples = SampleBuffer::default();
                heads[place.shard as usize].read(id, range, &mut samples);
                if !samples.floats.is_empty() {
                    series.insert(Labels::from_sorted(labels), samples);
                }
            });
        }
        let mut to = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
        for (labels, samples) in &series {
            to.series(labels, &SeriesData::from(samples)).unwrap();
        }
        (!series.is_empty()).then(|| to.finish(1, 2).unwrap().0)
    }

    /// How many series each part has, and whether an index of them is known.
    fn shape(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        known: &mut SealedSeries,
    ) -> Vec<(u64, bool)> {
        let parts = known.parts(heads, registries, TimeRange::ALL);
        let held: u64 = heads.iter().map(|head| head.series_ids().count() as u64).sum();
        assert_eq!(parts.iter().map(|part| part.series.len()).sum::<u64>(), held, "each series has one part");
        parts.iter().map(|part| (part.series.len(), part.same.is_some())).collect()
    }

    #[test]
    fn what_has_the_series_of_before_has_its_index() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let of = |series: &BTreeSet<u32>, time| heads(&registries, series, time);
        let all = BTreeSet::from_iter(0..20);
        seal(&of(&all, 1000), &registries, &mut known);
        let again =
            |series: &BTreeSet<u32>, known: &mut SealedSeries| shape(&of(series, 2000), &registries, known);
        assert_eq!(again(&all, &mut known), [(20, true)]);
        let few = BTreeSet::from([3, 4]);
        assert_eq!(again(&few, &mut known), [(2, false)]);
        seal(&of(&few, 2000), &registries, &mut known);
        assert_eq!(again(&all, &mut known), [(20, true)], "few series are no reason to forget all");
        for _ in 0..PASSED_BY_MAX {
            seal(&of(&few, 2000), &registries, &mut known);
        }
        assert_eq!(again(&all, &mut known), [(20, false)], "nobody needed it for long");
    }

    #[test]
    fn a_few_others_are_apart_until_they_are_many() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let of = |count| heads(&registries, &BTreeSet::from_iter(0..count), 1000);
        let shape = |count, known: &mut SealedSeries| shape(&of(count), &registries, known);
        seal(&of(10), &registries, &mut known);
        for count in [11, 15, 11, 15] {
            let others = (u64::from(count) - 10, false);
            assert_eq!(shape(count, &mut known), [(10, true), others]);
            seal(&of(count), &registries, &mut known);
        }
        assert_eq!(shape(16, &mut known), [(16, false)], "more than a third");
        assert_eq!(shape(9, &mut known), [(9, false)], "one that has gone is in that index");
        seal(&of(16), &registries, &mut known);
        assert_eq!(shape(17, &mut known), [(16, true), (1, false)]);
        // Few series are worth no second segment.
        let (registries, mut known) = (self::registries(), SealedSeries::default());
        let of = |count| heads(&registries, &BTreeSet::from_iter(0..count), 1000);
        seal(&of(1), &registries, &mut known);
        assert_eq!(self::shape(&of(2), &registries, &mut known), [(2, false)]);
    }

    #[test]
    fn an_index_that_changed_after_it_was_read_is_not_copied() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let all = BTreeSet::from_iter(0..20);
        let mut parts =
            sealed(&heads(&registries, &all, 1000), &registries, TimeRange::ALL, &mut known).into_iter();
        let (part, bytes) = parts.next().unwrap();
        let bytes = bytes.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        std::fs::write(&path, &bytes).unwrap();
        let mapped = Mapped::map(&File::open(&path).unwrap()).unwrap();
        let segment = Segment::open(Arc::new(mapped), &path).unwrap();
        segment.verify().unwrap();
        let dictionary = segment.section(DICTIONARY).unwrap().raw().to_vec();
        known.sealed_into(part, &Arc::new(MetricsSegment::open(segment)));
        let at = bytes.windows(dictionary.len()).position(|window| window == dictionary).unwrap();
        let changed = [bytes[at] ^ 1];
        File::options().write(true).open(&path).unwrap().write_all_at(&changed, at as u64).unwrap();
        let heads = heads(&registries, &all, 2000);
        let sealed = sealed(&heads, &registries, TimeRange::ALL, &mut known);
        let [(part, bytes)] = &sealed[..] else { panic!("{} parts", sealed.len()) };
        assert!(part.same.is_some());
        assert_eq!(bytes, &plainly_sealed(&heads, &registries, TimeRange::ALL, (&known, part)));
    }

    /// Few of them, or all but a few.
    fn any_series() -> impl Strategy<Value = BTreeSet<u32>> {
        let all_but = |few: BTreeSet<u32>| (0..40).filter(|series| !few.contains(series)).collect();
        let few = |at_most| prop::collection::btree_set(0..40u32, 0..at_most);
        prop_oneof![few(12), few(4).prop_map(all_but)]
    }

    proptest! {
        #[test]
        fn whatever_is_known_a_generation_is_sealed_into_the_same_bytes(
            generations in prop::collection::vec((any_series(), 0..4u32), 1..8),
        ) {
            let (registries, mut known) = (registries(), SealedSeries::default());
            for (number, (series, kind)) in (1i64..).zip(generations) {
                let time = number * 1000;
                let heads = heads(&registries, &series, time);
                let ranges = [TimeRange { after: 0, until: time + 20 }, TimeRange { after: time + 20, until: i64::MAX }];
                for range in if kind == 0 { &ranges[..] } else { &[TimeRange::ALL][..] } {
                    let mut held = 0;
                    for (part, bytes) in sealed(&heads, &registries, *range, &mut known) {
                        prop_assert_eq!(&bytes, &plainly_sealed(&heads, &registries, *range, (&known, &part)));
                        held += part.series.len();
                        if let Some(bytes) = bytes.filter(|_| kind != 1) {
                            known.sealed_into(part, &opened(bytes));
                        }
                    }
                    prop_assert_eq!(held, series.len() as u64);
                }
                if kind == 2 {
                    // Some go, and other series will have their ids.
                    for registry in &registries {
                        let gone: Vec<u32> = registry.ids().into_iter().step_by(2).collect();
                        registry.mark_retiring(&gone);
                        registry.release(&registry.retire(&gone, |_| true));
                    }
                }
            }
        }
    }
}
