//! Whole segments: what is written is read, and damage is an error that costs what it hit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::segment_layout::{BLOCK_ROWS_MAX, BLOCK_TEXT_BYTES, DATA};
use super::tests::{File, head_of, live, merge, open, seal};
use super::{LogAsk, LogRowsBuffer, LogsSegment, LogsSnapshot, StreamRows};
use crate::model::{Labels, LineFilter, MatchOp, Matcher, NanoRange};
use crate::storage::fs::Mapped;
use crate::storage::segment::{Checking, Segment, SegmentError, SegmentWriter};

fn stream(app: &str, pod: &str) -> StreamRows {
    StreamRows::new(Labels::from_sorted([("app", app), ("pod", pod)]))
}

fn trace_id(n: u64) -> String {
    format!("{:032x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A bit of everything, small enough to damage every byte of.
fn sample() -> File {
    let (mut x, mut y, mut db) = (stream("api", "x"), stream("api", "y"), stream("db", "x"));
    for i in 0..40u64 {
        let line = format!("GET /items/{} {} in {}ms", i * 7, 200 + i % 2, i * i % 90);
        let id = trace_id(i + 1);
        x.push((i as i64 + 1) * 1_000_000, &line, [("trace.id", id.as_str()), ("user", "u")]);
        let id = trace_id(i + 90);
        y.push((i as i64 + 1) * 999_999, &line, [("trace.id", id.as_str())]);
        if i % 4 == 0 {
            db.push(i as i64 + 1, "checkpoint", []);
        }
    }
    let file = seal(&[head_of(&[vec![x, y, db]])], 3).into_values().next().unwrap();
    assert!(open(&file).block_summaries().unwrap().len() == 2);
    file
}

type Found = BTreeSet<(String, i64, String, Vec<(String, String)>)>;

/// All entries that a question finds, and whether damage was told.
fn ask(file: &File, matchers: &[Matcher], ask: &LogAsk<'_>) -> (Found, bool) {
    let snapshot = LogsSnapshot::of(Vec::new(), live(std::slice::from_ref(file)));
    let (mut found, mut rows) = (Found::new(), LogRowsBuffer::default());
    let selection = snapshot.select(matchers, ask.range).unwrap();
    for part in &selection.parts {
        snapshot.read(&selection, part, ask, &mut rows).unwrap();
        for row in 0..rows.len() {
            let labels = selection.streams[rows.streams[row] as usize].to_string();
            let metadata = rows.metadata.of(row).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            found.insert((labels, rows.timestamps[row], rows.lines.get(row).to_owned(), metadata));
        }
    }
    (found, !snapshot.warnings().is_empty())
}

/// Asks in several ways; what is found is right, and what is missing is told.
fn ask_everything(file: &File, right: &[Found]) -> usize {
    let mut told = 0;
    for (question, right) in questions().iter().zip(right) {
        let (found, is_told) = question.ask(file);
        assert!(found.is_subset(right), "{:?}", found.difference(right));
        assert!(is_told || found == *right, "lost in silence: {:?}", right.difference(&found));
        told += usize::from(is_told);
    }
    told
}

struct Question {
    matchers: Vec<Matcher>,
    range: NanoRange,
    filters: Vec<LineFilter>,
    metadata: Vec<(String, String)>,
}

impl Question {
    fn ask(&self, file: &File) -> (Found, bool) {
        let wanted = LogAsk {
            line_filters: &self.filters,
            metadata_equals: &self.metadata,
            ..LogAsk::all(self.range)
        };
        ask(file, &self.matchers, &wanted)
    }
}

fn questions() -> Vec<Question> {
    let all = || Question { matchers: vec![], range: NanoRange::ALL, filters: vec![], metadata: vec![] };
    let id = trace_id(7);
    vec![
        all(),
        Question {
            matchers: vec![Matcher::new("pod", MatchOp::Regex, "[y-z]").unwrap()],
            range: NanoRange { after: 5_000_000, until: 20_000_000 },
            filters: vec![LineFilter::contains("in 1")],
            ..all()
        },
        Question { metadata: vec![("trace_id".to_owned(), id)], ..all() },
    ]
}

fn right_answers(file: &File) -> Vec<Found> {
    let right: Vec<Found> = questions().iter().map(|question| question.ask(file).0).collect();
    assert_eq!((right[0].len(), right[2].len()), (90, 1));
    right
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_harmless_and_verify_finds_it() {
    let file = sample();
    let right = right_answers(&file);
    for at in 0..file.0.len() {
        let mut damaged = file.clone();
        damaged.0[at] ^= 1 << (at % 8);
        let told = ask_everything(&damaged, &right);
        let mapped = Arc::new(Mapped::Heap(damaged.0));
        let verified = Segment::open(mapped, "a.seg").and_then(|segment| LogsSegment::open(segment).verify());
        assert!(verified.is_err(), "flipped at {at}: {told} told");
    }
}

#[test]
fn a_cut_anywhere_is_an_error() {
    let (file, _) = sample();
    for len in 0..file.len() {
        assert!(
            Segment::open(Arc::new(Mapped::Heap(file[..len].to_vec())), "a.seg").is_err(),
            "cut at {len}"
        );
    }
}

#[test]
fn a_damaged_block_costs_no_other_block() {
    let file = sample();
    let right = right_answers(&file);
    let mut damaged = file.clone();
    // The first part of the first block, which is the group of the api.
    damaged.0[16] ^= 1;
    let (found, is_told) = questions()[0].ask(&damaged);
    let of_db: Found = right[0].iter().filter(|entry| entry.0.contains("db")).cloned().collect();
    assert!(is_told && !of_db.is_empty());
    assert_eq!(found, of_db);
}

/// What a checksum cannot see: bytes that a broken writer, or a foreign hand, sealed.
#[test]
fn foreign_bytes_behind_right_checksums_never_panic() {
    let file = sample();
    let segment = Segment::open(Arc::new(Mapped::Heap(file.0.clone())), "a.seg").unwrap();
    let sections: Vec<_> = segment.sections().map(|s| (s.id(), s.checking(), s.raw().to_vec())).collect();
    for hit in (0..sections.len()).filter(|&hit| sections[hit].1 == Checking::Paged) {
        for at in (hit % 2..sections[hit].2.len()).step_by(2) {
            let mut writer = SegmentWriter::new(Vec::new()).unwrap();
            for (number, (id, checking, bytes)) in sections.iter().enumerate() {
                let mut bytes = bytes.clone();
                if number == hit {
                    bytes[at] = bytes[at].wrapping_add(1 + (at % 255) as u8);
                }
                writer.begin(*id, *checking);
                writer.write(&bytes).unwrap();
                writer.end().unwrap();
            }
            let foreign = (writer.finish(&file.1).unwrap(), file.1.clone());
            for question in questions() {
                question.ask(&foreign);
            }
            let segment = open(&foreign);
            let _ = segment.verify();
            let _ = segment.block_summaries();
            let _ = segment.may_hold_trace_id("0", NanoRange::ALL);
            let _ = super::merge_segments(&[segment], (0, 0), Vec::new(), || false);
        }
    }
}

/// Lines of one stream with this much text, a nanosecond apart.
fn long_stream(bytes: usize, start: i64) -> StreamRows {
    let mut rows = stream("api", "x");
    let mut random = 1u64;
    while rows.line_bytes() < bytes {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line =
            format!("{random:x} and what is always the same in a line {}", "of some length ".repeat(60));
        rows.push(start + rows.len() as i64, &line, []);
    }
    rows
}

/// The bytes of a block.
fn block_bytes(segment: &LogsSegment, number: u64) -> Result<Vec<u8>, SegmentError> {
    Ok(segment.raw_block(&segment.block(number)?)?.to_vec())
}

#[test]
fn large_blocks_are_copied_and_small_ones_put_together() {
    let file = |bytes, start| {
        let head = head_of(&[vec![long_stream(bytes, start)]]);
        seal(&[head], 1).into_values().next().unwrap()
    };
    let sealed = file(BLOCK_TEXT_BYTES * 5 / 4, 1);
    let first = merge(std::slice::from_ref(&sealed));
    assert_eq!(block_bytes(&open(&sealed), 0).unwrap(), block_bytes(&open(&first), 0).unwrap());
    let summaries = open(&first).block_summaries().unwrap();
    assert_eq!(summaries.len(), 2);
    assert!(summaries[0].line_bytes >= BLOCK_TEXT_BYTES as u64 && summaries[0].last < summaries[1].first);
    let second = merge(&[first.clone(), file(10_000, 1 << 40), file(10_000, 1 << 41)]);
    let (before, after) = (open(&first), open(&second));
    after.verify().unwrap();
    let summaries = after.block_summaries().unwrap();
    assert_eq!(summaries.len(), 2, "the small ones are one");
    assert_eq!(block_bytes(&before, 0).unwrap(), block_bytes(&after, 0).unwrap());
    assert!(summaries.iter().all(|block| block.row_count <= BLOCK_ROWS_MAX));
    assert_eq!(
        after.segment().section(DATA).unwrap().len(),
        summaries.iter().map(|b| b.stored_bytes + b.stored_gram_bytes).sum::<u64>()
    );
    let grams = |segment: &LogsSegment| segment.raw_grams(&segment.block(0).unwrap()).unwrap().to_vec();
    assert!(!grams(&before).is_empty());
    assert_eq!(grams(&before), grams(&after), "they go with the block");
}

/// Two groups, each a block whose lines have words that the other's have not.
fn worded() -> File {
    let (mut api, mut db) = (stream("api", "x"), stream("db", "x"));
    for i in 0..400u64 {
        let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        api.push(i as i64 + 1, &format!("request {n:x} was served by the frontend, {n}"), []);
        db.push(i as i64 + 1, &format!("checkpoint {n:x} written to volume, {n}"), []);
    }
    let file = seal(&[head_of(&[vec![api, db]])], 3).into_values().next().unwrap();
    assert!(open(&file).block_summaries().unwrap().iter().all(|block| block.stored_gram_bytes > 0));
    file
}

fn lines_with(file: &File, text: &str) -> (usize, bool) {
    let filters = [LineFilter::contains(text)];
    let (found, is_told) = ask(file, &[], &LogAsk { line_filters: &filters, ..LogAsk::all(NanoRange::ALL) });
    (found.len(), is_told)
}

#[test]
fn a_block_without_the_words_of_a_filter_is_not_unpacked() {
    let mut file = worded();
    let lines_at = {
        let segment = open(&file);
        let block = segment.block(1).unwrap();
        let parts = segment.raw_block(&block).unwrap();
        memchr::memmem::find(&file.0, parts).unwrap() + (block.header().lens.times + 9) as usize
    };
    assert_eq!(lines_with(&file, "written to VOLUME"), (0, false));
    assert_eq!(lines_with(&file, "written to volume"), (400, false));
    file.0[lines_at] ^= 1;
    assert_eq!(lines_with(&file, "by the frontend"), (400, false));
    assert_eq!(lines_with(&file, "a backend"), (0, false));
    assert_eq!(
        lines_with(&file, "volume"),
        (0, true),
        "what may be in the damaged block is told to be missing"
    );
    assert_eq!(lines_with(&file, " the "), (400, true), "no word is long enough to tell");
}

/// The bytes of the first block's grams, and where they lie in DATA.
fn first_grams(file: &File) -> (Vec<u8>, usize) {
    let segment = open(file);
    let grams = segment.raw_grams(&segment.block(0).unwrap()).unwrap().to_vec();
    let at = memchr::memmem::find(segment.segment().section(DATA).unwrap().raw(), &grams).unwrap();
    (grams, at)
}

#[test]
fn damaged_grams_cost_their_block_and_that_is_told() {
    let file = worded();
    let (grams, at) = first_grams(&file);
    let data_at = memchr::memmem::find(&file.0, &grams).unwrap() - at;
    for byte in 0..grams.len() + 4 {
        let mut damaged = file.clone();
        damaged.0[data_at + at + byte] ^= 1 << (byte % 8);
        assert_eq!(lines_with(&damaged, "frontend"), (0, true), "byte {byte}");
        assert_eq!(lines_with(&damaged, "checkpoint"), (400, true));
        assert!(open(&damaged).verify().is_err());
    }
}

#[test]
fn verify_finds_grams_that_are_not_those_of_the_lines() {
    let file = worded();
    let (mut grams, at) = first_grams(&file);
    let segment = open(&file);
    let mut writer = SegmentWriter::new(Vec::new()).unwrap();
    // The last ones are fingerprints.
    grams.iter_mut().skip(16).for_each(|byte| *byte ^= 0x55);
    for section in segment.segment().sections() {
        writer.begin(section.id(), section.checking());
        if section.id() == DATA {
            writer.write(&section.raw()[..at]).unwrap();
            writer.write_block(&grams).unwrap();
            writer.write(&section.raw()[at + grams.len() + 4..]).unwrap();
        } else {
            writer.write(section.raw()).unwrap();
        }
        writer.end().unwrap();
    }
    let error = open(&(writer.finish(&file.1).unwrap(), file.1.clone())).verify().unwrap_err();
    assert!(error.to_string().contains("gram"), "{error}");
}

#[test]
fn a_segment_knows_which_trace_ids_it_may_hold() {
    let segment = open(&sample());
    assert!((1..41).all(|i| segment.may_hold_trace_id(&trace_id(i), NanoRange::ALL).unwrap()));
    let strays =
        (200..400).filter(|&i| segment.may_hold_trace_id(&trace_id(i), NanoRange::ALL).unwrap()).count();
    assert!(strays < 10, "{strays} of 200");
    let before = NanoRange { after: i64::MIN, until: -1 };
    assert!(!segment.may_hold_trace_id(&trace_id(1), before).unwrap());
}
