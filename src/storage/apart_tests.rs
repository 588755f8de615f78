//! Where a seal knows the index of most of its series, the others go to a segment of their own, and those that are missing are
//! named by an index alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Store;
use super::fs::Fs;
use super::fs::faulty::{Faults, FaultyFs};
use super::live::{LiveSegment, View};
use super::manifest::SegmentEntry;
use super::partition::partition_of;
use super::seal::MaintenanceError;
use super::store_tests::{Contents, NOON, append_and_wait, contents, note, open};
use super::tier_dirs::temporary_name;
use crate::model::{Lookout, StopSign, TimeRange, time::DAY};

/// One sample of so many series.
fn append_round(store: &Store, model: &mut Contents, series: u32, round: i64) {
    let samples: Vec<_> = (0..series).map(|n| (n, NOON + round, u64::from(n))).collect();
    append_and_wait(store, &samples);
    note(model, &samples);
}

#[test]
fn eight_seals_are_merged_whether_they_wrote_one_segment_or_two() {
    let disk: Arc<dyn Fs> = Arc::new(FaultyFs::default());
    let (store, mut model) = (open(disk.clone(), Path::new("/d")), Contents::new());
    append_round(&store, &mut model, 10, 0);
    store.seal(NOON).unwrap();
    for round in 1..7 {
        append_round(&store, &mut model, 12, round);
        store.seal(NOON).unwrap();
    }
    assert_eq!(store.stats().segments, 13);
    assert!(!store.compact_step(NOON).unwrap(), "seven seals");
    assert!(contents(&store) == model);
    let later = store.metrics().select(&[], TimeRange::closed(NOON + 1, NOON + 6)).unwrap();
    assert_eq!(later.len(), 12, "each once, whatever segment it is in");
    append_round(&store, &mut model, 12, 7);
    store.seal(NOON).unwrap();
    assert_eq!(store.stats().segments, 15);
    assert!(store.compact_step(NOON).unwrap());
    assert_eq!(store.stats().segments, 1);
    assert!(contents(&store) == model);
    drop(store);
    assert!(contents(&open(disk, Path::new("/d"))) == model);
}

#[test]
fn nothing_is_told_of_a_series_where_it_is_named_by_an_index_alone() {
    let disk: Arc<dyn Fs> = Arc::new(FaultyFs::default());
    let (store, mut model) = (open(disk.clone(), Path::new("/d")), Contents::new());
    append_round(&store, &mut model, 10, 0);
    store.seal(NOON).unwrap();
    for round in 1..8 {
        append_round(&store, &mut model, 9, round);
        store.seal(NOON).unwrap();
    }
    drop(store);
    // The registries know nothing now.
    let store = open(disk, Path::new("/d"));
    let series: Vec<u64> = store.sealed_samples().iter().map(|segment| segment.series).collect();
    assert_eq!(series, [10, 9, 9, 9, 9, 9, 9, 9]);
    let (never, view) = (StopSign::never(), store.view.load_full());
    let sealed_later = view.segments.last().unwrap().metrics().unwrap();
    assert_eq!(sealed_later.index().label_values("n", &Lookout::new(&never)).unwrap().len(), 10);
    let assert_all_is_told = || {
        for (first, count) in [(0, 10), (1, 9)] {
            let (snapshot, range) = (store.metrics(), TimeRange::closed(NOON + first, NOON + 7));
            assert_eq!(snapshot.select(&[], range).unwrap().len(), count);
            assert_eq!(snapshot.label_values("n", &[], range).unwrap().len(), count);
            assert_eq!(snapshot.label_names(&[], range).unwrap(), ["__name__", "n"]);
        }
        assert!(contents(&store) == model);
    };
    assert_all_is_told();
    assert!(store.compact_step(NOON).unwrap());
    assert_eq!(store.stats().segments, 1);
    assert!(contents(&store) == model);
}

#[test]
fn a_few_late_samples_of_another_day_are_one_segment() {
    let (store, mut model) = (open(Arc::new(FaultyFs::default()), Path::new("/d")), Contents::new());
    append_round(&store, &mut model, 10, 0);
    store.seal(NOON).unwrap();
    append_round(&store, &mut model, 11, 1);
    // Of one whose index is known, and of one that is apart from those.
    let late = [(3, NOON - DAY, 1), (10, NOON - DAY, 1)];
    append_and_wait(&store, &late);
    note(&mut model, &late);
    store.seal(NOON).unwrap();
    let days: Vec<_> =
        store.view.load().segments.iter().map(|s| (s.entry.partition, s.entry.series)).collect();
    let [before, day] = [NOON - DAY, NOON].map(partition_of);
    assert_eq!(days, [(day, 10), (before, 2), (day, 10), (day, 1)]);
    assert!(contents(&store) == model);
}

#[test]
fn a_late_sample_in_each_generation_is_no_reason_to_forget_the_index() {
    let (store, mut model) = (open(Arc::new(FaultyFs::default()), Path::new("/d")), Contents::new());
    for round in 0..3 {
        append_round(&store, &mut model, 10, round);
        let late = [(3, NOON - DAY + round, 1)];
        append_and_wait(&store, &late);
        note(&mut model, &late);
        if round == 2 {
            append_round(&store, &mut model, 11, round + 1);
        }
        store.seal(NOON).unwrap();
    }
    let days: Vec<_> =
        store.view.load().segments.iter().map(|s| (s.entry.partition, s.entry.series)).collect();
    let [before, day] = [NOON - DAY, NOON].map(partition_of);
    let known = [(before, 1), (day, 10)];
    assert_eq!(days, [&known[..], &known, &known, &[(day, 1)]].concat(), "the eleventh is apart from those");
    assert!(contents(&store) == model);
}

#[test]
fn a_seal_that_fails_at_its_second_segment_leaves_no_file_and_is_done_again() {
    let disk = FaultyFs::default();
    let (store, mut model) = (open(Arc::new(disk.clone()), Path::new("/d")), Contents::new());
    append_round(&store, &mut model, 10, 0);
    store.seal(NOON).unwrap();
    append_round(&store, &mut model, 11, 1);
    let second = temporary_name(store.next_segment_id.load(Ordering::Relaxed) + 1);
    disk.set_faults(Faults { failing_path: Some(second.leak()), ..Faults::default() });
    assert!(matches!(store.seal(NOON), Err(MaintenanceError::Io { .. })));
    assert_eq!(disk.list(Path::new("/d/hot")).unwrap().len(), 1, "of the first seal");
    assert!(contents(&store) == model);
    disk.set_faults(Faults::default());
    store.seal(NOON).unwrap();
    assert!(contents(&store) == model);
    assert_eq!(disk.list(Path::new("/d/hot")).unwrap().len(), store.stats().segments);
}

/// What was sealed together is what came first, also where damage parts it: the one goes into a merge, the other is written anew
/// later.
#[test]
fn what_is_left_of_a_seal_comes_before_the_merge_that_begins_with_the_rest() {
    let store = open(Arc::new(FaultyFs::default()), Path::new("/d"));
    append_round(&store, &mut Contents::new(), 10, 0);
    store.seal(NOON).unwrap();
    append_round(&store, &mut Contents::new(), 11, 1);
    store.seal(NOON).unwrap();
    let view = store.view.load_full();
    let [_, one, other] = &view.segments[..] else { panic!("{} segments", view.segments.len()) };
    assert_eq!(one.entry.min_seq, other.entry.min_seq);
    let anew = |of: &LiveSegment, id, level| {
        let entry = SegmentEntry { id, level, ..of.entry.clone() };
        Arc::new(LiveSegment::new(entry, Path::new("/d/none").to_owned(), Arc::new(FaultyFs::default())))
    };
    let (merged, written_anew) = (anew(other, 30, 1), anew(one, 40, 0));
    let removed = [one.entry.id, other.entry.id];
    let ids = |view: &View| view.segments.iter().map(|segment| segment.entry.id).collect::<Vec<_>>();
    assert_eq!(ids(&view.with_segments(&[merged, written_anew], &removed))[1..], [40, 30]);
}
