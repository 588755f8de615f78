//! Sealing, merging, searching and damage, against a plain list of spans.

use std::collections::BTreeSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;

use super::span::{duration_ns, nanos};
use super::test_spans::{START, all, any_span, rows};
use super::view::SpanView;
use super::*;
use crate::model::regex::LabelRegex;
use crate::model::{Lookout, NanoRange, StopSign, TimeRange, TraceId};
use crate::storage::fs::Mapped;
use crate::storage::segment::Segment;

const SERVICES: [&str; 3] = ["cart", "checkout", "ünï"];

pub(super) fn open(file: Vec<u8>) -> TracesSegment {
    TracesSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap())
}

pub(super) fn head_of(spans: &[(Span, usize)]) -> Arc<SpanHead> {
    let head = Arc::new(SpanHead::new());
    let mut writer = SpansWriter::new(head.clone());
    for (span, service) in spans {
        writer.append(rows(SERVICES[*service], std::slice::from_ref(span)), &mut Vec::new());
    }
    head
}

pub(super) fn seal(heads: &[Arc<SpanHead>]) -> Vec<u8> {
    write_generation(heads, TimeRange::ALL, (1, 9), Vec::new()).unwrap().unwrap().0
}

fn merge(inputs: &[Arc<TracesSegment>]) -> Vec<u8> {
    merge_segments(inputs, (1, 9), Vec::new(), || false).unwrap().unwrap().0
}

/// A span and its service, as something to compare.
type Known = (Vec<u8>, Option<String>);

fn found(snapshot: &TracesSnapshot, id: u8) -> Vec<Known> {
    let spans = snapshot.trace(TraceId([id; 16])).unwrap();
    assert!(spans.is_sorted_by_key(|s| s.span.start_time_unix_nano));
    let mut found: Vec<_> =
        spans.iter().map(|s| (s.span.encode_to_vec(), s.origin.service_name().map(str::to_owned))).collect();
    found.sort();
    found
}

/// Each span of the trace once.
fn sent(spans: &[(Span, usize)], id: u8) -> Vec<Known> {
    let of_trace = spans.iter().filter(|(span, _)| span.trace_id == [id; 16]);
    let known: BTreeSet<Known> =
        of_trace.map(|(span, service)| (span.encode_to_vec(), Some(SERVICES[*service].to_owned()))).collect();
    known.into_iter().collect()
}

/// Some spans in a head, the others in segments, some of which are merged.
fn spread(spans: &[(Span, usize)], parts: usize) -> TracesSnapshot {
    let part = spans.len().div_ceil(parts).max(1);
    let mut chunks: Vec<_> = spans.chunks(part).collect();
    let head = chunks.pop().map(head_of);
    let mut segments: Vec<_> = chunks
        .iter()
        .map(|spans| {
            let (left, right) = spans.split_at(spans.len() / 2);
            Arc::new(open(seal(&[head_of(left), head_of(right)])))
        })
        .collect();
    if segments.len() > 2 {
        let merged = Arc::new(open(merge(&segments[..2])));
        segments.splice(..2, [merged]);
    }
    segments.iter().for_each(|segment| segment.verify().unwrap());
    TracesSnapshot::new(head.into_iter().collect(), segments.into_iter().map(Ok))
}

fn any_spans(max: usize) -> impl Strategy<Value = Vec<(Span, usize)>> {
    vec((any_span(), 0..SERVICES.len()), 1..max)
}

fn any_condition() -> impl Strategy<Value = SpanCondition> {
    let scope = prop::sample::select(vec![
        AttributeScope::Span,
        AttributeScope::Resource,
        AttributeScope::Instrumentation,
        AttributeScope::Any,
    ]);
    let key = prop::sample::select(vec!["http.method", "user.id", "", "service.name", "host.name", "build"]);
    let field = prop_oneof![
        Just(SpanField::Name),
        Just(SpanField::Duration),
        Just(SpanField::Status),
        Just(SpanField::StatusMessage),
        Just(SpanField::Kind),
        (scope, key).prop_map(|(scope, key)| SpanField::Attribute { scope, key: key.to_owned() }),
    ];
    let value = prop_oneof![
        prop::sample::select(vec!["GET /api", "cart", "", "db.select", "7"])
            .prop_map(|text| FieldValue::Text(text.to_owned())),
        prop_oneof![Just(2i64), Just(200), Just(2_500_000_000)].prop_map(FieldValue::Integer),
        (-5.0..5.0f64).prop_map(FieldValue::Float),
        any::<bool>().prop_map(FieldValue::Bool),
    ];
    let test = (0..9, value).prop_map(|(kind, value)| match kind {
        0 => Test::Exists,
        1 | 2 => Test::Equals(value),
        3 => Test::NotEquals(value),
        4 => Test::Less(value),
        5 => Test::LessOrEqual(value),
        6 => Test::Greater(value),
        7 => Test::Matches(Arc::new(LabelRegex::new("GET.*|cart|node-.").unwrap())),
        _ => Test::NotMatches(Arc::new(LabelRegex::new("db.+").unwrap())),
    });
    (field, test).prop_map(|(field, test)| SpanCondition { field, test })
}

/// The traces that a look at every span finds.
fn scan(spans: &[(Span, usize)], range: NanoRange, any_of: &[Vec<SpanCondition>]) -> BTreeSet<TraceId> {
    let mut found = BTreeSet::new();
    for (span, service) in spans {
        let (start, end) = (nanos(span.start_time_unix_nano), nanos(span.end_time_unix_nano));
        let origin = Origin::decode(&test_spans::origin_bytes(SERVICES[*service])).unwrap();
        let encoded = span.encode_to_vec();
        let view = SpanView::parse(&encoded).unwrap();
        let never = StopSign::never();
        let lookout = Lookout::new(&never);
        let meets =
            |conditions: &Vec<SpanCondition>| conditions.iter().all(|c| view.meets(c, &origin, &lookout));
        if NanoRange::closed(start, end.max(start)).overlaps(&range) && any_of.iter().any(meets) {
            found.insert(view.trace_id);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_trace_comes_back_from_wherever_its_spans_are(spans in any_spans(60), parts in 1..6usize) {
        let snapshot = spread(&spans, parts);
        for id in 1..9 {
            prop_assert_eq!(found(&snapshot, id), sent(&spans, id));
        }
        prop_assert_eq!(snapshot.warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_search_misses_nothing_and_answers_newest_first(
        spans in any_spans(40),
        parts in 1..6usize,
        any_of in vec(vec(any_condition(), 0..3), 1..3),
        after in -10..7_300i64,
        seconds in 0..9_000i64,
    ) {
        let snapshot = spread(&spans, parts);
        let after = START as i64 + after * 1_000_000_000;
        let range = NanoRange { after, until: after.saturating_add(seconds * 1_000_000_000) };
        let candidates = all(snapshot.candidates(range, &any_of));
        prop_assert!(candidates.is_sorted_by(|a, b| a.start > b.start || a.start == b.start && a.id < b.id));
        let ids: BTreeSet<_> = candidates.iter().map(|c| c.id).collect();
        prop_assert_eq!(ids.len(), candidates.len());
        // Sealed or not, storage is as exact as its own tests are, but for spans of which the column of durations does not
        // say whether they end before they start.
        let expected = scan(&spans, range, &any_of);
        prop_assert!(expected.is_subset(&ids), "{expected:?} of {ids:?}");
        let doubtful = |id: &TraceId| spans.iter().any(|(s, _)| {
            s.trace_id == id.0 && s.end_time_unix_nano.wrapping_sub(s.start_time_unix_nano) > i64::MAX as u64
        });
        prop_assert!(ids.difference(&expected).all(doubtful), "{ids:?} but {expected:?}");
    }

    #[test]
    fn of_more_values_than_wanted_the_first_are_told_wherever_they_lie(
        spans in any_spans(40),
        parts in 1..6usize,
        limit in 0..6usize,
    ) {
        let user = SpanField::Attribute { scope: AttributeScope::Any, key: "user.id".to_owned() };
        for field in [SpanField::Name, SpanField::StatusMessage, SpanField::Duration, user] {
            let whole = spread(&spans, 1).values(&field, NanoRange::ALL, usize::MAX).unwrap();
            let cut = spread(&spans, parts).values(&field, NanoRange::ALL, limit).unwrap();
            prop_assert_eq!(&cut[..], &whole[..limit.min(whole.len())]);
        }
    }

    #[test]
    fn values_and_keys_are_those_that_were_sent(spans in any_spans(40), parts in 1..6usize) {
        let snapshot = spread(&spans, parts);
        let all = NanoRange::ALL;
        let names: BTreeSet<_> = spans.iter().map(|(span, _)| FieldValue::Text(span.name.clone())).collect();
        let expected: Vec<_> = names.into_iter().collect();
        prop_assert_eq!(snapshot.values(&SpanField::Name, all, usize::MAX).unwrap(), expected);
        let keys: BTreeSet<_> =
            spans.iter().flat_map(|(span, _)| &span.attributes).map(|a| a.key.clone()).collect();
        let expected: Vec<_> = keys.into_iter().collect();
        prop_assert_eq!(snapshot.attribute_keys(all, AttributeScope::Span).unwrap(), expected);
        for key in ["user.id", ""] {
            let field = SpanField::Attribute { scope: AttributeScope::Span, key: key.to_owned() };
            let sent = spans.iter().flat_map(|(span, _)| &span.attributes).filter(|a| a.key == key);
            let values: BTreeSet<_> = sent.filter_map(ValueRef::of).filter_map(ValueRef::to_owned).collect();
            let expected: Vec<_> = values.into_iter().collect();
            prop_assert_eq!(snapshot.values(&field, all, usize::MAX).unwrap(), expected);
        }
        for (at, service) in SERVICES.into_iter().enumerate() {
            let of_service = spans.iter().filter(|(_, s)| *s == at);
            let names: BTreeSet<_> = of_service.map(|(span, _)| span.name.clone()).collect();
            prop_assert_eq!(snapshot.services(all).unwrap().contains(&service.to_owned()), !names.is_empty());
            prop_assert_eq!(snapshot.operations(service, all).unwrap(), names.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_logged_replays_the_same(
        spans in any_spans(40),
        shards in 1..4usize,
        edit in (any::<Index>(), any::<u8>()),
        cut in any::<Index>(),
    ) {
        let written = Arc::new(SpanHead::new());
        let mut writer = SpansWriter::new(written.clone());
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for batch in spans.chunks(7) {
            let mut frame = Vec::new();
            for (span, service) in batch {
                writer.append(rows(SERVICES[*service], std::slice::from_ref(span)), &mut frame);
            }
            frames.push(frame);
        }
        let heads: Vec<_> = (0..shards).map(|_| Arc::new(SpanHead::new())).collect();
        let mut replay = TracesReplay::new();
        for frame in &frames {
            replay.frame(0, frame, &heads).unwrap();
        }
        prop_assert_eq!(heads.iter().map(|head| head.row_count()).sum::<u64>(), written.row_count());
        let snapshot = TracesSnapshot::new(heads, []);
        for id in 1..9 {
            prop_assert_eq!(found(&snapshot, id), sent(&spans, id));
        }

        let mut bytes = frames.concat();
        let at = edit.0.index(bytes.len());
        bytes[at] = edit.1;
        let cut = cut.index(bytes.len());
        for bytes in [&bytes[..], &bytes[..cut]] {
            let head = [Arc::new(SpanHead::new())];
            let _ = TracesReplay::new().frame(0, bytes, &head);
            head[0].all_rows();
        }
    }

    #[test]
    fn damage_is_found_and_never_a_wrong_answer(spans in any_spans(12), at in any::<Index>(), bit in 0..8u8) {
        let mut file = seal(&[head_of(&spans)]);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        // The header is for people.
        prop_assume!(!(10..16).contains(&at));
        let Ok(segment) = Segment::open(Arc::new(Mapped::Heap(file)), "a.seg") else { return Ok(()) };
        let segment = Arc::new(TracesSegment::open(segment));
        prop_assert!(segment.verify().is_err());
        let snapshot = TracesSnapshot::new(Vec::new(), [Ok(segment)]);
        for id in 1..9 {
            let found = found(&snapshot, id);
            prop_assert!(found == sent(&spans, id) || found.is_empty() && !snapshot.warnings().is_empty());
        }
        let everything = all(snapshot.candidates(NanoRange::ALL, &[Vec::new()]));
        prop_assert!(everything.len() <= 8);
    }
}

pub(super) fn span(trace: [u8; 16], id: u64, start: u64) -> Span {
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        start_time_unix_nano: START + start,
        end_time_unix_nano: START + start + 10,
        name: format!("span {id}"),
        ..Span::default()
    }
}

#[test]
fn a_trace_that_fits_no_block_comes_back_whole() {
    let mut spans: Vec<_> = (1..20_000).map(|id| (span([5; 16], id, id / 3), 0)).collect();
    spans.push((span([4; 16], 1, 0), 1));
    spans.push((span([6; 16], 1, 0), 1));
    let (left, right) = spans.split_at(9_000);
    let sealed = [left, right].map(|spans| Arc::new(open(seal(&[head_of(spans)]))));
    let merged = Arc::new(open(merge(&sealed)));
    merged.verify().unwrap();
    assert!(merged.block_count().unwrap() > 2);
    assert_eq!(merged.meta().series_count, 3);
    let snapshot = TracesSnapshot::new(Vec::new(), [Ok(merged)]);
    for id in [4, 5, 6] {
        assert_eq!(found(&snapshot, id), sent(&spans, id));
    }
}

#[test]
fn keys_beyond_what_a_block_has_columns_for_are_kept_and_found() {
    let attribute = |key: String, value: i64| KeyValue {
        key,
        value: Some(AnyValue { value: Some(Value::IntValue(value)) }),
        key_strindex: 0,
    };
    let mut spans: Vec<_> = (1..400u64).map(|id| (span([(id % 9 + 1) as u8; 16], id, id), 0)).collect();
    for (at, (span, _)) in spans.iter_mut().enumerate() {
        span.attributes = (0..4).map(|n| attribute(format!("key {}", at * 4 + n), n as i64)).collect();
        span.attributes.push(attribute("common".to_owned(), at as i64));
    }
    let (left, right) = spans.split_at(200);
    let sealed = [left, right].map(|spans| Arc::new(open(seal(&[head_of(spans)]))));
    for segments in [sealed.to_vec(), vec![Arc::new(open(merge(&sealed)))]] {
        segments.iter().for_each(|segment| segment.verify().unwrap());
        let snapshot = TracesSnapshot::new(Vec::new(), segments.into_iter().map(Ok));
        for id in 1..10 {
            assert_eq!(found(&snapshot, id), sent(&spans, id));
        }
        assert_eq!(snapshot.attribute_keys(NanoRange::ALL, AttributeScope::Span).unwrap().len(), 399 * 4 + 1);
        let field = SpanField::Attribute { scope: AttributeScope::Any, key: "key 1500".to_owned() };
        assert_eq!(snapshot.values(&field, NanoRange::ALL, 9).unwrap(), [FieldValue::Integer(0)]);
        let condition = SpanCondition { field, test: Test::Equals(FieldValue::Integer(0)) };
        assert_eq!(all(snapshot.candidates(NanoRange::ALL, &[vec![condition]])).len(), 1);
    }
}

#[test]
fn a_segment_holds_the_spans_that_start_in_its_day() {
    let before_midnight = span([1; 16], 1, 0);
    let mut next_day = span([1; 16], 2, 0);
    next_day.start_time_unix_nano += 86_400_000_000_000;
    next_day.end_time_unix_nano = next_day.start_time_unix_nano + 1;
    let head = head_of(&[(before_midnight, 0), (next_day.clone(), 0)]);
    let days: Vec<_> = head.partitions().into_iter().collect();
    assert_eq!(days.len(), 2);
    for (day, id) in days.into_iter().zip([1u64, 2]) {
        let range = TimeRange { after: day - 86_400_000, until: day };
        let (file, meta) =
            write_generation(std::slice::from_ref(&head), range, (3, 4), Vec::new()).unwrap().unwrap();
        assert_eq!((meta.row_count, meta.min_seq, meta.max_seq, meta.signal), (1, 3, 4, 3));
        let snapshot = TracesSnapshot::new(Vec::new(), [Ok(Arc::new(open(file)))]);
        let spans = snapshot.trace(TraceId([1; 16])).unwrap();
        assert_eq!(spans[0].span.span_id, id.to_be_bytes());
        assert!(range.contains(meta.min_time));
    }
    let empty = TimeRange { after: 0, until: 86_400_000 };
    assert!(write_generation(&[head], empty, (3, 4), Vec::new()).unwrap().is_none());
}

#[test]
fn a_merge_stops_when_asked() {
    let inputs = [1u8, 2].map(|id| Arc::new(open(seal(&[head_of(&[(span([id; 16], 1, 0), 0)])]))));
    let stopped = merge_segments(&inputs, (1, 2), Vec::new(), || true);
    assert!(matches!(stopped, Err(crate::storage::errors::MergeError::Stopped)));
}

#[test]
fn the_table_rules_out_blocks_without_reading_them() {
    let mut slow = span([1; 16], 1, 0);
    slow.end_time_unix_nano += 5_000_000_000;
    let segment = Arc::new(open(seal(&[head_of(&[(slow.clone(), 0)])])));
    let (chunk, at) = segment.entry(0).unwrap();
    assert_eq!(
        chunk.blocks[at].duration_max_ns,
        duration_ns(slow.start_time_unix_nano, slow.end_time_unix_nano)
    );
    let snapshot = TracesSnapshot::new(Vec::new(), [Ok(segment)]);
    let longer =
        |ns| SpanCondition { field: SpanField::Duration, test: Test::Greater(FieldValue::Integer(ns)) };
    let count = |condition| all(snapshot.candidates(NanoRange::ALL, &[vec![condition]])).len();
    assert_eq!(count(longer(5_000_000_009)), 1);
    assert_eq!(count(longer(5_000_000_010)), 0);
    assert_eq!(count(SpanCondition::service("cart")), 1);
    assert_eq!(count(SpanCondition::service("payment")), 0);
}
