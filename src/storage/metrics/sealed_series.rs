//! What a seal knows from those before: the order of the series they met, and the indexes that they wrote. Mostly the next
//! generation has hardly any others, and only these are sorted. Where it has just the series of an index, no label is looked
//! at either.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::head::Head;
use super::kept_order::{KeptOrder, Moved};
use super::label_order::{InOrder, Place};
use super::registry::{Reading, SharedRegistry};
use super::segment_reader::MetricsSegment;

/// A generation that was sealed early has not all series, and the one after it has them again.
const WRITTEN_MAX: usize = 2;

/// A segment is held for so many seals that had other series; merged away, it takes room on disk.
const PASSED_BY_MAX: u32 = 4;

#[derive(Default)]
pub(in crate::storage) struct SealedSeries {
    order: KeptOrder,
    /// Which of them were asked for last, by place in the order.
    asked: RoaringBitmap,
    /// The last one at the end.
    written: Vec<Written>,
}

/// A segment of just these series, by place in the order.
struct Written {
    series: RoaringBitmap,
    segment: Arc<MetricsSegment>,
    /// Seals since, of other series.
    passed_by: u32,
}

impl SealedSeries {
    /// What these heads hold, in the order of labels, and a segment of the same series if there is one.
    pub(super) fn of(
        &mut self,
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
    ) -> (InOrder<'_>, Option<Arc<MetricsSegment>>) {
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
        let same = self.written.iter().find(|written| written.series == self.asked);
        let same = same.map(|written| written.segment.clone());
        (InOrder::new(self.order.places(), self.asked.clone()), same)
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

    /// What [`SealedSeries::of`] was asked for last was sealed into this segment, some of it or all.
    pub fn sealed_into(&mut self, segment: &Arc<MetricsSegment>) {
        if u64::from(segment.series_count()) == self.asked.len() {
            self.written.iter_mut().for_each(|written| written.passed_by += 1);
            self.written.retain(|written| written.series != self.asked && written.passed_by <= PASSED_BY_MAX);
            let (series, segment) = (self.asked.clone(), segment.clone());
            self.written.push(Written { series, segment, passed_by: 0 });
            let too_many = self.written.len().saturating_sub(WRITTEN_MAX);
            self.written.drain(..too_many);
        }
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
    use crate::model::{Labels, TimeRange};
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

    fn sealed(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
        known: &mut SealedSeries,
    ) -> Option<Vec<u8>> {
        write_generation(heads, registries, range, (1, 2), known, Vec::new()).unwrap().map(|(bytes, _)| bytes)
    }

    /// The same, of who knows nothing and writes labels as texts.
    fn plainly_sealed(
        heads: &[Arc<Head>],
        registries: &[SharedRegistry],
        range: TimeRange,
    ) -> Option<Vec<u8>> {
        let mut series = BTreeMap::new();
        for (head, registry) in heads.iter().zip(registries) {
            let ids: Vec<u32> = head.series_ids().collect();
            registry.with_labels(&ids, |id, labels| {
                let mut samples = SampleBuffer::default();
                head.read(id, range, &mut samples);
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

    #[test]
    fn what_has_the_series_of_before_has_its_index() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let all = BTreeSet::from_iter(0..20);
        let first = heads(&registries, &all, 1000);
        let segment = opened(sealed(&first, &registries, TimeRange::ALL, &mut known).unwrap());
        known.sealed_into(&segment);
        let again = |known: &mut SealedSeries, series| {
            let heads = heads(&registries, series, 2000);
            known.of(&heads, &registries).1.is_some_and(|same| Arc::ptr_eq(&same, &segment))
        };
        assert!(again(&mut known, &all));
        let few = BTreeSet::from([3, 4]);
        assert!(!again(&mut known, &few));
        let small = sealed(&heads(&registries, &few, 2000), &registries, TimeRange::ALL, &mut known).unwrap();
        known.sealed_into(&opened(small));
        assert!(again(&mut known, &all), "few series are no reason to forget all");
        for _ in 0..PASSED_BY_MAX {
            let small =
                sealed(&heads(&registries, &few, 2000), &registries, TimeRange::ALL, &mut known).unwrap();
            known.sealed_into(&opened(small));
        }
        assert!(!again(&mut known, &all), "nobody needed it for long");
        assert!(!again(&mut known, &(0..21).collect()));
    }

    #[test]
    fn an_index_that_changed_after_it_was_read_is_not_copied() {
        let (registries, mut known) = (registries(), SealedSeries::default());
        let all = BTreeSet::from_iter(0..20);
        let bytes = sealed(&heads(&registries, &all, 1000), &registries, TimeRange::ALL, &mut known).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        std::fs::write(&path, &bytes).unwrap();
        let mapped = Mapped::map(&File::open(&path).unwrap()).unwrap();
        let segment = Segment::open(Arc::new(mapped), &path).unwrap();
        segment.verify().unwrap();
        let dictionary = segment.section(DICTIONARY).unwrap().raw().to_vec();
        known.sealed_into(&Arc::new(MetricsSegment::open(segment)));
        let at = bytes.windows(dictionary.len()).position(|window| window == dictionary).unwrap();
        let changed = [bytes[at] ^ 1];
        File::options().write(true).open(&path).unwrap().write_all_at(&changed, at as u64).unwrap();
        let heads = heads(&registries, &all, 2000);
        let plain = plainly_sealed(&heads, &registries, TimeRange::ALL);
        assert!(known.of(&heads, &registries).1.is_some());
        assert_eq!(sealed(&heads, &registries, TimeRange::ALL, &mut known), plain);
    }

    proptest! {
        #[test]
        fn whatever_is_known_a_generation_is_sealed_into_the_same_bytes(
            generations in prop::collection::vec((prop::collection::btree_set(0..12u32, 0..12), 0..4u32), 1..8),
        ) {
            let (registries, mut known) = (registries(), SealedSeries::default());
            for (number, (series, kind)) in (1i64..).zip(generations) {
                let time = number * 1000;
                let heads = heads(&registries, &series, time);
                let ranges = [TimeRange { after: 0, until: time + 20 }, TimeRange { after: time + 20, until: i64::MAX }];
                for range in if kind == 0 { &ranges[..] } else { &[TimeRange::ALL][..] } {
                    let plain = plainly_sealed(&heads, &registries, *range);
                    let bytes = sealed(&heads, &registries, *range, &mut known);
                    prop_assert_eq!(&bytes, &plain);
                    if let Some(bytes) = bytes.filter(|_| kind != 1) {
                        known.sealed_into(&opened(bytes));
                    }
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
