//! What a seal knows from those before: the order of the series they met, and the indexes that they wrote. Mostly the next
//! generation has hardly any others, and only these are sorted. Series that an index was written of have it again, without a
//! look at their labels; where there are many of them, a few may be missing, and a few others go to a segment of their own.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::head::Head;
use super::kept_order::{KeptOrder, Moved};
use super::label_order::{InOrder, Place};
use super::registry::{Reading, SharedRegistry};
use super::segment_reader::MetricsSegment;
use super::written_index::WrittenIndex;
use crate::model::TimeRange;

/// A generation that was sealed early has not all series, and the one after it has them again.
const WRITTEN_MAX: usize = 2;

/// A segment is held for so many seals that had other series; merged away, it takes room on disk.
const PASSED_BY_MAX: u32 = 4;

/// To write the index of so many series anew takes some tenths of a second for each million: fewer are worth no second
/// segment, which each query would have to look into, and no series that are not there.
const MANY: u64 = if cfg!(test) { 3 } else { 1 << 17 };

/// Of so many series one may be missing in an index, and one that is in it may be absent.
const ONE_ODD_OF: u64 = if cfg!(test) { 3 } else { 16 };

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
    /// One of these series, and few others.
    index: Option<WrittenIndex>,
    /// Not those beside an index, nor a few that have something at other times: just these will hardly come again.
    may_come_again: bool,
}

struct Written {
    index: WrittenIndex,
    /// Seals since, of other series.
    passed_by: u32,
}

impl SealedSeries {
    /// What these heads hold in this range, by the segments that it should go to: one, or two that share no series; none if
    /// that is nothing.
    pub fn parts(
        &mut self,
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
    ) -> Vec<Part> {
        self.ask_for(heads, registries);
        let times = TimeRange::around(heads.iter().map(|head| head.time_range()));
        let held = self.asked.len();
        if range.intersect(&times) != times {
            self.ask_for_those_in(range, heads);
        }
        let are_most = (held - self.asked.len()) * ONE_ODD_OF <= held;
        let known = self.written.iter().map(|written| &written.index).filter(|index| self.fits(index));
        let known = known.min_by_key(|index| (index.series() ^ &self.asked).len()).cloned();
        let (others, known_part) = match known {
            Some(index) => {
                let (others, series) = (&self.asked - index.series(), &self.asked & index.series());
                (others, Some(Part { series, index: Some(index), may_come_again: are_most }))
            }
            None => (self.asked.clone(), None),
        };
        let may_come_again = are_most && known_part.is_none();
        let others = Some(others).filter(|others| !others.is_empty());
        let others = others.map(|series| Part { series, index: None, may_come_again });
        known_part.into_iter().chain(others).collect()
    }

    /// Whether what is asked for may have this index.
    fn fits(&self, index: &WrittenIndex) -> bool {
        let known = index.series().intersection_len(&self.asked);
        let (others, absent) = (self.asked.len() - known, index.series_count() - known);
        let are_few = |odd: u64| odd * ONE_ODD_OF <= self.asked.len();
        others + absent == 0 || self.asked.len() >= MANY && are_few(others) && are_few(absent)
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
        // By id. Places are in another order, and a bit of each head lies closer together than its slots.
        let mut rest: Vec<Vec<bool>> = heads.iter().map(|head| held_by(head)).collect();
        let mut is_held =
            |place: &Place| rest[place.shard as usize].get_mut(place.id as usize).is_some_and(std::mem::take);
        let held = (0..).zip(self.order.places()).filter(|(_, place)| is_held(place)).map(|(at, _)| at);
        self.asked = RoaringBitmap::from_sorted_iter(held).expect("places increase");
        let new = places_of(&rest);
        if !new.is_empty() {
            let series_count = self.asked.len() + new.len() as u64;
            self.insert(new, registries);
            assert_eq!(self.asked.len(), series_count, "what a generation holds is registered");
        }
    }

    /// Leaves those out that have nothing in the range.
    fn ask_for_those_in(&mut self, range: TimeRange, heads: &[Arc<Head>]) {
        let held_in = |at: &u32| {
            let place = self.order.places()[*at as usize];
            heads[place.shard as usize].holds_in(place.id, range)
        };
        self.asked = self.asked.iter().filter(held_in).collect();
    }

    /// Forgets what the registries let go of.
    fn forget(&mut self, let_go: &[RoaringBitmap]) {
        let moved = self.order.let_go(let_go);
        self.follow(&moved);
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
        self.asked = moved.follow(&self.asked);
        self.written.iter_mut().for_each(|written| written.index.follow(moved));
    }

    /// This segment is what became of a part.
    pub fn sealed_into(&mut self, part: Part, segment: &Arc<MetricsSegment>) {
        if !part.may_come_again {
            return;
        }
        let index = match part.index {
            Some(index) if index.series_count() == u64::from(segment.series_count()) => {
                index.copied_to(segment.clone())
            }
            // It was damaged.
            _ => WrittenIndex::new(part.series, segment.clone()),
        };
        self.written.iter_mut().for_each(|written| written.passed_by += 1);
        self.written
            .retain(|written| written.index.series() != index.series() && written.passed_by <= PASSED_BY_MAX);
        self.written.push(Written { index, passed_by: 0 });
        let too_many = self.written.len().saturating_sub(WRITTEN_MAX);
        self.written.drain(..too_many);
    }
}

impl Part {
    /// A segment that has an index of these series.
    pub(super) fn index(&self) -> Option<&Arc<MetricsSegment>> {
        self.index.as_ref().map(|index| index.segment())
    }

    /// What in that index is none of them, by ordinal.
    pub(super) fn absent(&self) -> RoaringBitmap {
        self.index.as_ref().map(|index| index.others_than(&self.series)).unwrap_or_default()
    }
}

/// Whether a head holds a series, by id.
fn held_by(head: &Head) -> Vec<bool> {
    let mut is_held = Vec::new();
    for id in head.series_ids() {
        is_held.resize(id as usize + 1, false);
        is_held[id as usize] = true;
    }
    is_held
}

/// The series that are marked, by shard and id.
fn places_of(marked: &[Vec<bool>]) -> Vec<Place> {
    let of_shard = |(shard, marked): (u32, &Vec<bool>)| {
        let marked = (0..).zip(marked).filter(|(_, marked)| **marked);
        marked.map(|(id, _)| Place { shard, id }).collect::<Vec<_>>()
    };
    (0..).zip(marked).flat_map(of_shard).collect()
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
    use super::super::{MetricsSegmentWriter, SampleBuffer, SeriesData, VisibleSegment};
    use super::*;
    use crate::model::{Labels, Lookout, StopSign};
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

    /// What a generation has in this range, by parts, and their segments.
    fn sealed(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
        known: &mut SealedSeries,
    ) -> Vec<(Part, Vec<u8>)> {
        let parts = known.parts(heads, registries, range).into_iter();
        parts
            .map(|part| {
                let seal = (&*known, &part);
                let written = write_generation(heads, registries, range, (1, 2), seal, Vec::new()).unwrap();
                (part, written.0)
            })
            .collect()
    }

    /// Seals a generation, and has it remembered.
    fn seal(heads: &[Arc<Head>], registries: &[SharedRegistry], known: &mut SealedSeries) {
        for (part, bytes) in sealed(heads, registries, TimeRange::ALL, known) {
            known.sealed_into(part, &opened(bytes));
        }
    }

    /// What a part has in the range.
    fn samples_of(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
        (known, part): (&SealedSeries, &Part),
    ) -> BTreeMap<Labels, SampleBuffer> {
        let mut series = BTreeMap::new();
        for place in known.in_order(part).iter() {
            registries[place.shard as usize].with_labels(&[place.id], |id, labels| {
                let mut samples = SampleBuffer::default();
                heads[place.shard as usize].read(id, range, &mut samples);
                assert!(!samples.floats.is_empty(), "a part has what has something");
                series.insert(Labels::from_sorted(labels), samples);
            });
        }
        series
    }

    /// A part, written by who knows nothing and writes labels as texts.
    fn plainly_sealed(samples: &BTreeMap<Labels, SampleBuffer>, part: &Part) -> Vec<u8> {
        let labels_of = |ordinal| (part.index().unwrap().labels(ordinal).unwrap(), SeriesData::default());
        let mut series: BTreeMap<_, _> = part.absent().into_iter().map(labels_of).collect();
        series.extend(samples.iter().map(|(labels, samples)| (labels.clone(), SeriesData::from(samples))));
        assert_eq!(series.len() as u64, samples.len() as u64 + part.absent().len());
        let mut to = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
        series.iter().for_each(|(labels, data)| to.series(labels, data).unwrap());
        to.finish(1, 2).unwrap().0
    }

    /// Whether this is what a segment tells of.
    fn assert_tells_of(segment: &Arc<MetricsSegment>, series: &BTreeMap<Labels, SampleBuffer>) {
        segment.verify().unwrap();
        let (visible, never) = (VisibleSegment::whole(segment.clone()), StopSign::never());
        let lookout = Lookout::new(&never);
        let found = visible.select(&[], &lookout).unwrap().into_iter();
        assert!(found.map(|ordinal| segment.labels(ordinal).unwrap()).eq(series.keys().cloned()));
        let names: BTreeSet<_> =
            series.keys().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
        assert!(visible.label_names(&[], &lookout).unwrap().iter().eq(names.iter()));
        for name in names {
            let values: BTreeSet<_> = series.keys().map(|labels| labels.get(name)).collect();
            assert!(visible.label_values(name, &[], &lookout).unwrap().iter().eq(values.iter()));
        }
    }

    /// How many series each part has, and how many an index that is known has besides.
    fn shape(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        known: &mut SealedSeries,
    ) -> Vec<(u64, Option<u64>)> {
        let parts = known.parts(heads, registries, TimeRange::ALL);
        let held: u64 = heads.iter().map(|head| head.series_ids().count() as u64).sum();
        assert_eq!(parts.iter().map(|part| part.series.len()).sum::<u64>(), held, "each series has one part");
        parts.iter().map(|part| (part.series.len(), part.index().map(|_| part.absent().len()))).collect()
    }

    #[test]
    fn what_has_the_series_of_before_has_its_index() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let of = |series: &BTreeSet<u32>, time| heads(&registries, series, time);
        let all = BTreeSet::from_iter(0..20);
        seal(&of(&all, 1000), &registries, &mut known);
        let again =
            |series: &BTreeSet<u32>, known: &mut SealedSeries| shape(&of(series, 2000), &registries, known);
        assert_eq!(again(&all, &mut known), [(20, Some(0))]);
        let few = BTreeSet::from([3, 4]);
        assert_eq!(again(&few, &mut known), [(2, None)]);
        seal(&of(&few, 2000), &registries, &mut known);
        assert_eq!(again(&all, &mut known), [(20, Some(0))], "few series are no reason to forget all");
        for _ in 0..PASSED_BY_MAX {
            seal(&of(&few, 2000), &registries, &mut known);
        }
        assert_eq!(again(&all, &mut known), [(20, None)], "nobody needed it for long");
    }

    #[test]
    fn a_few_others_are_apart_until_they_are_many() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let of = |count| heads(&registries, &BTreeSet::from_iter(0..count), 1000);
        let shape = |count, known: &mut SealedSeries| shape(&of(count), &registries, known);
        seal(&of(10), &registries, &mut known);
        for count in [11, 15, 11, 15] {
            let others = (u64::from(count) - 10, None);
            assert_eq!(shape(count, &mut known), [(10, Some(0)), others]);
            seal(&of(count), &registries, &mut known);
        }
        assert_eq!(shape(16, &mut known), [(16, None)], "more than a third");
        assert_eq!(shape(9, &mut known), [(9, Some(1))], "one that has gone is in that index");
        seal(&of(16), &registries, &mut known);
        assert_eq!(shape(17, &mut known), [(16, Some(0)), (1, None)]);
        // Few series are worth no second segment.
        let (registries, mut known) = (self::registries(), SealedSeries::default());
        let of = |count| heads(&registries, &BTreeSet::from_iter(0..count), 1000);
        seal(&of(1), &registries, &mut known);
        assert_eq!(self::shape(&of(2), &registries, &mut known), [(2, None)]);
    }

    /// Whether a generation is sealed as plainly as can be, with what its parts have.
    fn assert_sealed_right(heads: &[Arc<Head>], registries: &[SharedRegistry], known: &mut SealedSeries) {
        for (part, bytes) in sealed(heads, registries, TimeRange::ALL, known) {
            let samples = samples_of(heads, registries, TimeRange::ALL, (known, &part));
            assert_eq!(bytes, plainly_sealed(&samples, &part));
            let segment = opened(bytes);
            assert_tells_of(&segment, &samples);
            known.sealed_into(part, &segment);
        }
    }

    #[test]
    fn an_index_serves_although_some_of_its_series_were_let_go() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let mut left = BTreeSet::from_iter(0..20u32);
        seal(&heads(&registries, &left, 1000), &registries, &mut known);
        let let_go = |number: u32| {
            let (registry, id) = (&registries[number as usize % SHARDS], number / SHARDS as u32);
            registry.mark_retiring(&[id]);
            registry.release(&registry.retire(&[id], |_| true));
        };
        // The first one, the last one, and two that are neighbours in the order.
        for (number, absent) in [(0, 1), (19, 2), (6, 3), (11, 4)] {
            let_go(number);
            left.remove(&number);
            let generation = heads(&registries, &left, 2000 + i64::from(number) * 100);
            assert_eq!(shape(&generation, &registries, &mut known), [(20 - absent, Some(absent))]);
            assert_sealed_right(&generation, &registries, &mut known);
        }
        // Others have their ids now, and one that was let go is back.
        left.extend([6, 40, 41]);
        let generation = heads(&registries, &left, 9000);
        assert_eq!(shape(&generation, &registries, &mut known), [(16, Some(4)), (3, None)]);
        assert_sealed_right(&generation, &registries, &mut known);
    }

    #[test]
    fn an_index_that_changed_after_it_was_read_is_not_copied() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let all = BTreeSet::from_iter(0..20);
        let mut parts =
            sealed(&heads(&registries, &all, 1000), &registries, TimeRange::ALL, &mut known).into_iter();
        let (part, bytes) = parts.next().unwrap();
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
        assert!(part.index().is_some());
        let samples = samples_of(&heads, &registries, TimeRange::ALL, (&known, part));
        assert_eq!(bytes, &plainly_sealed(&samples, part));
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
                        let samples = samples_of(&heads, &registries, *range, (&known, &part));
                        held += samples.len();
                        prop_assert_eq!(&bytes, &plainly_sealed(&samples, &part));
                        let segment = opened(bytes);
                        assert_tells_of(&segment, &samples);
                        if kind != 1 {
                            known.sealed_into(part, &segment);
                        }
                    }
                    let is_held = |number: &&u32| range.contains(time + 50) || !number.is_multiple_of(3);
                    prop_assert_eq!(held, series.iter().filter(is_held).count());
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
