//! The whole room against a plain list of entries.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::head_of;
use super::{LogAsk, LogRowsBuffer, LogsSnapshot, StreamRows};
use crate::model::{Labels, LineFilter, MatchOp, Matcher, NanoRange, Nanos};

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
    let metadata = prop::collection::btree_map("user|trace\\.id|n[1-3]", "[01]{1,2}", 0..3);
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

/// The same of the plain list, where a repeated entry counts once.
fn expect_all(lines: &[Line], matchers: &[Matcher], ask: &LogAsk<'_>) -> BTreeMap<Labels, Vec<Line>> {
    let mut found: BTreeMap<Labels, Vec<Line>> = BTreeMap::new();
    for line in lines {
        let has = |(name, value): &(String, String)| {
            line.metadata.iter().any(|(n, v)| (n == name || n.replace('.', "_") == *name) && v == value)
        };
        let is_wanted = ask.range.contains(line.timestamp)
            && matchers.iter().all(|m| m.matches(line.labels.get(&m.name)))
            && ask.line_filters.iter().all(|filter| filter.matches(&line.line))
            && ask.metadata_equals.iter().all(has);
        let stream = found.entry(line.labels.clone()).or_default();
        if is_wanted && !stream.contains(line) {
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
        let snapshot = LogsSnapshot::new(vec![head_of(&batches(&lines))]);
        let ask = LogAsk {
            line_filters: &filters,
            metadata_equals: &metadata,
            metadata_names: names.as_deref(),
            ..LogAsk::all(range)
        };
        prop_assert_eq!(read_all(&snapshot, &matchers, &ask), expect_all(&lines, &matchers, &ask));
    }
}
