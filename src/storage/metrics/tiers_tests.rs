//! Which days are read in which resolutions.

use std::path::PathBuf;
use std::sync::Arc;

use super::stream::StreamWriter;
use super::tiers::Stretch;
use super::{MetricsSnapshot, SharedMetadata};
use crate::model::time::{DAY, MINUTE};
use crate::model::{TimeRange, Timestamp};
use crate::storage::fs::faulty::FaultyFs;
use crate::storage::generation::Generation;
use crate::storage::live::{LiveSegment, Rollups, View};
use crate::storage::manifest::SegmentEntry;

const M1: i64 = MINUTE;
const M5: i64 = 5 * MINUTE;

/// Days by number: from what is said of segments to what is said of stretches.
#[derive(Default)]
struct Days {
    view: View,
}

impl Days {
    fn new() -> Days {
        Days { view: View { rollups: Rollups::new(vec![M1, M5]), ..View::default() } }
    }

    fn segment(mut self, resolution: i64, (first, last): (i64, i64), rolled: u32) -> Days {
        let entry = SegmentEntry {
            id: self.view.segments.len() as u64,
            signal: 1,
            tier: 0,
            level: 2,
            tenant: 0,
            partition: last * DAY,
            min_time: (first - 1) * DAY + M5,
            max_time: last * DAY,
            min_seq: 1,
            max_seq: 1,
            bytes: 1,
            rows: 1,
            series: 1,
            resolution_ms: resolution as u32,
            rolled,
        };
        let segment = LiveSegment::new(entry, PathBuf::from("/none"), Arc::new(FaultyFs::default()));
        self.view.segments.push(Arc::new(segment));
        self
    }

    fn raw(self, days: std::ops::RangeInclusive<i64>) -> Days {
        days.fold(self, |all, day| all.segment(0, (day, day), 0))
    }

    fn rolled(self, days: std::ops::RangeInclusive<i64>) -> Days {
        let mark = self.view.rollups.mark;
        days.fold(self, |all, day| all.segment(0, (day, day), mark))
    }

    fn rollup(self, resolution: i64, days: std::ops::RangeInclusive<i64>) -> Days {
        self.segment(resolution, (*days.start(), *days.end()), 0)
    }

    fn floor(mut self, resolution: i64, day: i64) -> Days {
        self.view.floors.insert(resolution as u32, day * DAY);
        self
    }

    /// A sample of the day is in memory.
    fn unsealed(mut self, day: i64) -> Days {
        let generation = Generation::new(1, 0, 1, 10);
        generation.metrics[0].append_float(&mut StreamWriter::new(), 0, day * DAY - 1, 1.0);
        self.view.generations.push(Arc::new(generation));
        self
    }

    fn stretches(self, range: TimeRange) -> Vec<Stretch> {
        MetricsSnapshot::new(&Arc::new(self.view), &[], &SharedMetadata::default()).stretches(range)
    }

    /// Stretches of the first ten days: the day each ends with, and its resolutions.
    fn shown(self) -> Vec<(i64, Vec<i64>)> {
        let stretches = self.stretches(TimeRange { after: 0, until: 10 * DAY });
        let mut at: Timestamp = 0;
        for stretch in &stretches {
            assert_eq!(stretch.range.after, at, "no gap and no overlap");
            at = stretch.range.until;
        }
        assert_eq!(at, 10 * DAY);
        stretches.into_iter().map(|s| (s.range.until / DAY, s.resolutions)).collect()
    }
}

#[test]
fn days_are_read_in_the_resolutions_that_say_all_of_them() {
    let all = || vec![0, M1, M5];
    let rollups = |days: Days| days.rollup(M1, 1..=8).rollup(M5, 1..=8);
    for (what, days, expected) in [
        ("nothing at all", Days::new(), vec![(10, vec![0])]),
        ("samples alone", Days::new().raw(1..=10), vec![(10, vec![0])]),
        (
            "all rolled up but the last days",
            rollups(Days::new().rolled(1..=8).raw(9..=10)),
            vec![(8, all()), (10, vec![0])],
        ),
        (
            "late samples that wait",
            rollups(Days::new().rolled(1..=8).raw(4..=4)),
            vec![(3, all()), (4, vec![0]), (10, all())],
        ),
        (
            "late samples in memory",
            rollups(Days::new().rolled(1..=8)).unsealed(4),
            vec![(3, all()), (4, vec![0]), (10, all())],
        ),
        (
            "samples let go",
            rollups(Days::new().rolled(5..=8).raw(9..=9)).floor(0, 4),
            vec![(4, vec![M1, M5]), (8, all()), (10, vec![0])],
        ),
        (
            "the finer rollup let go, too",
            Days::new().rollup(M1, 5..=8).rollup(M5, 1..=8).floor(0, 9).floor(M1, 4),
            vec![(4, vec![M5]), (10, vec![M1, M5])],
        ),
        (
            "history that came after its day had been let go",
            rollups(Days::new().raw(3..=3)).floor(0, 9),
            vec![(2, vec![M1, M5]), (3, vec![M1]), (10, vec![M1, M5])],
        ),
        (
            "history of days of which nothing else is there",
            Days::new().raw(2..=2).rollup(M1, 5..=8).floor(0, 9),
            vec![(4, vec![0]), (10, vec![M1])],
        ),
        (
            "rollups that the options no longer name, beside all samples",
            Days::new().rolled(1..=8).rollup(10 * M1, 1..=8).rollup(M1, 1..=8),
            vec![(10, vec![0, M1])],
        ),
    ] {
        assert_eq!(days.shown(), expected, "{what}");
    }
}

#[test]
fn a_stretch_is_no_longer_than_the_range_that_was_asked_for() {
    let days = Days::new().rolled(1..=2).rollup(M1, 1..=2).raw(3..=3);
    let range = TimeRange { after: DAY + 7, until: 2 * DAY + 9 };
    let expected = [(DAY + 7, 2 * DAY, vec![0, M1]), (2 * DAY, 2 * DAY + 9, vec![0])];
    let expected = expected
        .map(|(after, until, resolutions)| Stretch { range: TimeRange { after, until }, resolutions });
    assert_eq!(days.stretches(range), expected);
}

#[test]
fn all_of_time_is_one_stretch_where_there_are_no_rollups() {
    let whole = vec![Stretch { range: TimeRange::ALL, resolutions: vec![0] }];
    assert_eq!(Days::new().raw(1..=3).stretches(TimeRange::ALL), whole);
}
