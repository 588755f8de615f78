//! The whole room against a plain list of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::IntCounter;
use proptest::prelude::*;

use super::writer::LogCounters;
use super::{
    LogAsk, LogHead, LogRows, LogRowsBuffer, LogsReplay, LogsSegment, LogsSnapshot, LogsWriter, StreamRows,
    TailHub, merge_segments, write_generation,
};
use crate::model::nanos::to_millis;
use crate::model::{Labels, LineFilter, Lookout, MatchOp, Matcher, NanoRange, Nanos, StopSign};
use crate::storage::fs::Mapped;
use crate::storage::fs::faulty::FaultyFs;
use crate::storage::live::LiveSegment;
use crate::storage::manifest::SegmentEntry;
use crate::storage::partition::{partition_of, partition_range};
use crate::storage::segment::{Segment, SegmentMeta};
use crate::storage::signal::Signal;

fn counters() -> LogCounters {
    let counter = |name: &str| IntCounter::new(name, name).unwrap();
    LogCounters { entries: counter("entries"), bytes: counter("bytes"), duplicates: counter("duplicates") }
}

/// A head that took these batches, one after the other; the label `pod` is soft.
pub(super) fn head_of(batches: &[Vec<StreamRows>]) -> Arc<LogHead> {
    let head = Arc::new(LogHead::default());
    let mut writer =
        LogsWriter::new(head.clone(), ["pod".to_owned()].into(), Arc::new(TailHub::default()), counters());
    for batch in batches {
        writer.append(LogRows { streams: batch.clone() }, &mut Vec::new());
    }
    head
}

type Pairs = Vec<(String, String)>;

/// One entry as a test writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    labels: Labels,
    timestamp: Nanos,
    line: String,
    metadata: Pairs,
}

fn any_line() -> impl Strategy<Value = Line> {
    let labels =
        ("[ab]", "[xyz]").prop_map(|(app, pod)| Labels::from_sorted([("app", &*app), ("pod", &*pod)]));
    let metadata = prop::collection::btree_map("user|trace[._]id|n[1-3]", "[01]{1,2}", 0..4);
    let line = prop_oneof!["[ab]{0,3}", "error [a-c]=[0-9]{1,4} took [0-9]{1,3}ms", "é[ü\\n]{0,2}"];
    // Few instants, so that many entries share one.
    (labels, -20i64..20, line, metadata).prop_map(|(labels, timestamp, line, metadata)| Line {
        labels,
        timestamp: timestamp * 1_000_000_007,
        line,
        metadata: metadata.into_iter().collect(),
    })
}

/// The entries as batches of one entry each, so that the order of arrival is that of the list.
fn batches(lines: &[Line]) -> Vec<Vec<StreamRows>> {
    let batch = |line: &Line| {
        let mut rows = StreamRows::new(line.labels.clone());
        rows.push(line.timestamp, &line.line, line.metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        vec![rows]
    };
    lines.iter().map(batch).collect()
}

/// What a selection reads, by stream; entries in order of time, those of one instant as parts and rows gave them.
fn read_all(snapshot: &LogsSnapshot, matchers: &[Matcher], ask: &LogAsk<'_>) -> BTreeMap<Labels, Vec<Line>> {
    let selection = snapshot.select(matchers, ask.range).unwrap();
    let mut found: BTreeMap<Labels, Vec<Line>> = BTreeMap::new();
    let mut rows = LogRowsBuffer::default();
    for part in &selection.parts {
        snapshot.read(&selection, part, ask, &mut rows).unwrap();
        assert!(rows.timestamps.is_sorted(), "rows of a part are in order");
        assert!(rows.len() as u64 <= part.rows, "rows are estimated from above");
        for row in 0..rows.len() {
            let labels = &selection.streams[rows.streams[row] as usize];
            let metadata = rows.metadata.of(row).map(|(n, v)| (n.to_owned(), v.to_owned()));
            let mut metadata: Pairs = metadata.collect();
            metadata.sort();
            assert_eq!(rows.line_lens[row] as usize, rows.lines.get(row).len());
            found.entry(labels.clone()).or_default().push(Line {
                labels: labels.clone(),
                timestamp: rows.timestamps[row],
                line: rows.lines.get(row).to_owned(),
                metadata,
            });
        }
    }
    found.values_mut().for_each(|lines| lines.sort_by_key(|line| line.timestamp));
    found
}

/// The same of the plain list.
fn expect_all(lines: &[Line], matchers: &[Matcher], ask: &LogAsk<'_>) -> BTreeMap<Labels, Vec<Line>> {
    let mut found: BTreeMap<Labels, Vec<Line>> = BTreeMap::new();
    for line in lines {
        let has = |(name, value): &(String, String)| {
            let named = line.metadata.iter().filter(|(n, _)| n == name || n.replace('.', "_") == *name);
            named.min_by_key(|(n, _)| (n != name, n)).is_some_and(|(_, v)| v == value)
        };
        let is_wanted = ask.range.contains(line.timestamp)
            && matchers.iter().all(|m| m.matches(line.labels.get(&m.name)))
            && ask
                .line_filters
                .iter()
                .all(|filter| filter.matches(&line.line, &Lookout::new(&StopSign::never())))
            && ask.metadata_equals.iter().all(has);
        let stream = found.entry(line.labels.clone()).or_default();
        if is_wanted {
            stream.push(line.clone());
        }
    }
    found.retain(|_, lines| !lines.is_empty());
    found.values_mut().for_each(|lines| lines.sort_by_key(|line| line.timestamp));
    if let Some(names) = ask.metadata_names {
        let is_asked = |name: &String| names.iter().any(|n| n == name || *n == name.replace('.', "_"));
        found.values_mut().flatten().for_each(|line| line.metadata.retain(|(name, _)| is_asked(name)));
    }
    found
}

fn any_matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let matcher = ("app|pod|other", op, "[abxyz]|a\\|x")
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap());
    prop::collection::vec(matcher, 0..3)
}

fn any_filters() -> impl Strategy<Value = Vec<LineFilter>> {
    let filter = ("[a-c=1-9]{0,2}|error", any::<bool>())
        .prop_map(|(text, is_negated)| LineFilter { is_negated, ..LineFilter::contains(&text) });
    prop::collection::vec(filter, 0..2)
}

fn any_range() -> impl Strategy<Value = NanoRange> {
    let edge = || (-22i64..22).prop_map(|second| second * 1_000_000_007);
    prop_oneof![Just(NanoRange::ALL), (edge(), edge()).prop_map(|(after, until)| NanoRange { after, until })]
}

/// A segment's file and what it says of itself.
pub(super) type File = (Vec<u8>, SegmentMeta);

pub(super) fn open(file: &File) -> Arc<LogsSegment> {
    let mapped = Arc::new(Mapped::Heap(file.0.clone()));
    Arc::new(LogsSegment::open(Segment::open(mapped, "a.seg").unwrap()))
}

/// What heads hold of each day, as segments.
pub(super) fn seal(heads: &[Arc<LogHead>], seq: u64) -> BTreeMap<i64, File> {
    let days: BTreeSet<i64> = heads.iter().flat_map(|head| head.partitions()).collect();
    let file = |day| write_generation(heads, partition_range(day), (seq, seq), Vec::new()).unwrap();
    days.into_iter().filter_map(|day| Some((day, file(day)?))).collect()
}

pub(super) fn merge(files: &[File]) -> File {
    let inputs: Vec<_> = files.iter().map(open).collect();
    merge_segments(&inputs, (0, 9), Vec::new(), || false).unwrap().expect("the inputs hold something")
}

/// As the manifest lists them.
pub(super) fn live(files: &[File]) -> Vec<Arc<LiveSegment>> {
    let entry = |id: usize, meta: &SegmentMeta| SegmentEntry {
        id: id as u64,
        signal: Signal::Logs.byte(),
        tier: 0,
        level: 0,
        tenant: 0,
        partition: 0,
        min_time: meta.min_time,
        max_time: meta.max_time,
        min_seq: meta.min_seq,
        max_seq: meta.max_seq,
        bytes: 0,
        rows: meta.row_count,
        series: meta.series_count,
        resolution_ms: 0,
        rolled: 0,
    };
    let path = |id: usize| PathBuf::from(format!("/d/hot/logs-{id:012}.seg"));
    let disk = files.iter().enumerate().map(|(id, file)| (path(id), file.0.clone())).collect();
    let fs = Arc::new(FaultyFs::with_files(disk, []));
    let segment =
        |(id, file): (usize, &File)| Arc::new(LiveSegment::new(entry(id, &file.1), path(id), fs.clone()));
    files.iter().enumerate().map(segment).collect()
}

/// What becomes of the entries of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sealed,
    /// With those before it that are sealed.
    Merged,
    /// In memory, after a replay with another count of shards.
    Replayed,
}

/// Entries as a process writes them, and their log in the memory of the next process.
fn replayed(lines: &[Line], shards: usize) -> Vec<Arc<LogHead>> {
    let mut writer = LogsWriter::new(
        Arc::new(LogHead::default()),
        ["pod".to_owned()].into(),
        Arc::new(TailHub::default()),
        counters(),
    );
    let heads: Vec<Arc<LogHead>> = (0..shards).map(|_| Arc::default()).collect();
    let mut replay = LogsReplay::default();
    for streams in batches(lines) {
        let mut payload = Vec::new();
        writer.append(LogRows { streams }, &mut payload);
        replay.frame(7, &payload, &heads).unwrap();
    }
    heads
}

/// The lines of generations: of each without repetitions, and so of those whose days were merged.
fn without_repetitions(generations: &[(Vec<Line>, Fate)]) -> Vec<Line> {
    let day_of = |line: &Line| partition_of(to_millis(line.timestamp));
    let days: BTreeSet<i64> = generations.iter().flat_map(|(lines, _)| lines).map(day_of).collect();
    let mut all: Vec<Line> = Vec::new();
    for day in days {
        let mut sealed_apart: Vec<Vec<Line>> = Vec::new();
        for (lines, fate) in generations {
            let of_day: Vec<Line> = lines.iter().filter(|line| day_of(line) == day).cloned().collect();
            match fate {
                Fate::Merged if !of_day.is_empty() => {
                    let mut merged = sealed_apart.concat();
                    merged.extend(of_day);
                    sealed_apart = vec![merged];
                }
                _ => sealed_apart.push(of_day),
            }
        }
        for lines in sealed_apart {
            let start = all.len();
            for line in lines {
                if !all[start..].contains(&line) {
                    all.push(line);
                }
            }
        }
    }
    all
}

fn any_generations() -> impl Strategy<Value = Vec<(Vec<Line>, Fate)>> {
    let fate = prop::sample::select(vec![Fate::Sealed, Fate::Merged, Fate::Replayed]);
    prop::collection::vec((prop::collection::vec(any_line(), 0..25), fate), 1..5).prop_map(
        |mut generations| {
            // What is in memory is younger than all that is sealed.
            generations.sort_by_key(|(_, fate)| *fate == Fate::Replayed);
            generations
        },
    )
}

fn snapshot_of(generations: &[(Vec<Line>, Fate)], shards: usize) -> LogsSnapshot {
    let mut heads = Vec::new();
    let mut days: BTreeMap<i64, Vec<File>> = BTreeMap::new();
    for (seq, (lines, fate)) in generations.iter().enumerate() {
        if *fate == Fate::Replayed {
            heads.extend(replayed(lines, shards));
            continue;
        }
        for (day, file) in seal(&[head_of(&batches(lines))], seq as u64) {
            assert!(
                partition_range(day).contains(file.1.min_time)
                    && partition_range(day).contains(file.1.max_time)
            );
            let files = days.entry(day).or_default();
            files.push(file);
            if *fate == Fate::Merged {
                *files = vec![merge(files)];
            }
        }
    }
    let files: Vec<File> = days.into_values().flatten().collect();
    for file in &files {
        let segment = open(file);
        segment.verify().unwrap();
        assert_eq!(segment.meta(), &file.1);
    }
    LogsSnapshot::of(heads, live(&files))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn heads_and_segments_answer_as_a_plain_list_does(
        generations in any_generations(),
        shards in 1usize..4,
        matchers in any_matchers(),
        range in any_range(),
        filters in any_filters(),
        metadata in prop::collection::vec(("user|trace_id|trace\\.id", "[01]"), 0..2),
        names in prop::option::of(prop::collection::vec("user|trace_id|trace\\.id", 0..2)),
    ) {
        let snapshot = snapshot_of(&generations, shards);
        let lines = without_repetitions(&generations);
        let ask = LogAsk {
            line_filters: &filters,
            metadata_equals: &metadata,
            metadata_names: names.as_deref(),
            ..LogAsk::all(range)
        };
        prop_assert_eq!(read_all(&snapshot, &matchers, &ask), expect_all(&lines, &matchers, &ask));
        prop_assert_eq!(snapshot.warnings(), Vec::<String>::new());
        let selected = |line: &&Line| matchers.iter().all(|m| m.matches(line.labels.get(&m.name)));
        let all = snapshot.select(&matchers, NanoRange::ALL).unwrap();
        let size = snapshot.size(&all);
        let expected: Vec<&Line> = lines.iter().filter(selected).collect();
        prop_assert_eq!(size.entries, expected.len() as u64);
        prop_assert_eq!(size.bytes, expected.iter().map(|line| line.line.len() as u64).sum::<u64>());
        let apps: BTreeSet<&str> = expected.iter().map(|line| line.labels.get("app")).collect();
        prop_assert_eq!(snapshot.label_values("app", &matchers, NanoRange::ALL).unwrap(), apps.into_iter().collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn a_head_answers_as_a_plain_list_does(
        lines in prop::collection::vec(any_line(), 0..60),
        matchers in any_matchers(),
        range in any_range(),
        filters in any_filters(),
        metadata in prop::collection::vec(("user|trace_id|trace\\.id", "[01]"), 0..2),
        names in prop::option::of(prop::collection::vec("user|trace_id|trace\\.id", 0..2)),
    ) {
        let snapshot = LogsSnapshot::of(vec![head_of(&batches(&lines))], Vec::new());
        let ask = LogAsk {
            line_filters: &filters,
            metadata_equals: &metadata,
            metadata_names: names.as_deref(),
            ..LogAsk::all(range)
        };
        let lines = without_repetitions(&[(lines, Fate::Sealed)]);
        prop_assert_eq!(read_all(&snapshot, &matchers, &ask), expect_all(&lines, &matchers, &ask));
    }
}
