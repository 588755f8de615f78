use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::bounded_regex::BoundedRegex;
use crate::model::{LinePattern, Lookout, StopSign};

const MAX: usize = 1 << 24;

fn bytes_of<T: AsRef<str>>(texts: &[T], effort: Effort) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&texts.iter().collect(), effort, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8], count: usize) -> Result<TextBuffer, Malformed> {
    let mut out = TextBuffer::default();
    TextColumn::open(bytes, count, MAX)?.decode(&mut out)?;
    Ok(out)
}

/// Everything that can be asked of the column is what the texts themselves say.
fn check(texts: &[String], filters: &[LineFilter]) {
    for effort in [Effort::Fast, Effort::Best] {
        let bytes = bytes_of(texts, effort);
        let buffer: TextBuffer = texts.iter().collect();
        assert_eq!(decoded(&bytes, texts.len()).unwrap(), buffer);
        let column = TextColumn::open(&bytes, texts.len(), buffer.bytes.len()).unwrap();
        let mut odd = RowSet::all(texts.len());
        odd.retain(|row| row % 2 == 1);
        let mut few = RowSet::all(texts.len());
        few.retain(|row| row % 5 == 2);
        for wanted in [&odd, &few] {
            let mut some = TextBuffer::default();
            some.push("before");
            TextColumn::open(&bytes, texts.len(), buffer.bytes.len())
                .unwrap()
                .decode_rows(wanted, &mut some)
                .unwrap();
            let expected = (0..texts.len()).map(|row| if wanted.contains(row) { &texts[row] } else { "" });
            assert!(some.iter().skip(1).eq(expected));
        }
        for filter in filters {
            for from in [RowSet::all(texts.len()), odd.clone()] {
                let (mut rows, mut expected) = (from.clone(), from);
                column.filter(filter, &Lookout::new(&StopSign::never()), &mut rows).unwrap();
                expected.retain(|row| filter.matches(&texts[row], &Lookout::new(&StopSign::never())));
                assert_eq!(rows, expected, "{filter:?} on {texts:?}");
            }
        }
        for value in texts.iter().take(3).map(String::as_str).chain(["", "absent"]) {
            let (mut rows, mut expected) = (RowSet::all(texts.len()), RowSet::all(texts.len()));
            column.equals(value, &mut rows).unwrap();
            expected.retain(|row| texts[row] == value);
            assert_eq!(rows, expected, "{value:?}");
        }
    }
}

fn literal(text: &str) -> LinePattern {
    LinePattern::Literal(text.into())
}

fn filters(alternatives: &[LinePattern]) -> Vec<LineFilter> {
    let one = |pattern: &LinePattern| vec![pattern.clone()];
    let sets = alternatives.iter().map(one).chain([alternatives.to_vec()]);
    sets.flat_map(|alternatives| {
        [false, true].map(|is_negated| LineFilter { is_negated, alternatives: alternatives.clone() })
    })
    .collect()
}

#[test]
fn no_rows_are_no_texts() {
    check(&[], &filters(&[literal("a")]));
}

#[test]
fn one_text_for_all_rows_is_stored_once() {
    let texts = vec!["api-server".to_owned(); 1000];
    assert_eq!(bytes_of(&texts, Effort::Fast).len(), 11);
    check(&texts, &filters(&[literal("api"), literal("x")]));
}

#[test]
fn few_texts_take_bits_a_row() {
    let texts: Vec<String> = (0..1000).map(|i| format!("pod-{}", i * i % 7)).collect();
    assert!(bytes_of(&texts, Effort::Fast).len() < 500);
    check(&texts, &filters(&[literal("pod-4"), literal("-1")]));
}

#[test]
fn what_two_texts_hold_together_is_in_neither() {
    let texts: Vec<String> = ["ab\n", "cd", "bc", "xbcx", ""].map(str::to_owned).to_vec();
    check(&texts, &filters(&[literal("bc"), literal("\nc"), literal("dbc"), literal("")]));
    let separated: Vec<String> = ["ab", "cd", "b", "c", ""].map(str::to_owned).to_vec();
    check(&separated, &filters(&[literal("b\nc"), literal("\nc"), literal("b\n"), literal("\n")]));
    let same_length: Vec<String> = ["abc", "def", "cde"].map(str::to_owned).to_vec();
    check(&same_length, &filters(&[literal("cd"), literal("ef")]));
}

#[test]
fn lines_of_one_shape_take_their_variables() {
    let line = |i: u64| {
        format!(
            "{{\"level\":\"info\",\"trace\":\"{:016x}\",\"ms\":{}}}",
            i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            i * 37 % 1000
        )
    };
    let texts: Vec<String> = (0..4000).map(line).collect();
    let bytes = bytes_of(&texts, Effort::Fast);
    // 8 bytes for the id and 10 bits for the number.
    assert!(bytes.len() < texts.len() * 10, "{}", bytes.len());
    check(
        &texts,
        &filters(&[
            literal("\"ms\":37}"),
            literal("7,"),
            literal(&texts[99][10..50]),
            literal("\"level\":\"info\""),
        ]),
    );
}

#[test]
fn more_text_than_allowed_is_refused() {
    for texts in [vec!["abc"; 100], ["abc", "de"].repeat(50), (0..100).map(|_| "a\nb").chain(["c"]).collect()]
    {
        let bytes = bytes_of(&texts, Effort::Fast);
        let len: usize = texts.iter().map(|text| text.len()).sum();
        assert!(TextColumn::open(&bytes, texts.len(), len).is_ok());
        let refused = TextColumn::open(&bytes, texts.len(), len - 1);
        assert!(refused.and_then(|column| column.decode(&mut TextBuffer::default())).is_err());
    }
}

/// Texts that have something of lines: words, numbers, identifiers, anything.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["error", "took ", "ms", " status=", "\"id\":\"", "\n", "é", "-", "."]).prop_map(str::to_owned),
        3 => (0u64..2000).prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => (0u32..1000).prop_map(|n| format!("{n:05}")),
        2 => "[0-9a-f]{1,16}",
        1 => "[0-9A-F]{8}",
        1 => "[0-9A-Za-z]{0,6}",
        1 => ".{0,3}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Texts of which some repeat.
fn any_texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any_text(), 1..12).prop_flat_map(|pool| {
        let again = prop::collection::vec(prop::sample::select(pool.clone()), 0..60);
        (Just(pool), again).prop_map(|(pool, again)| pool.into_iter().chain(again).collect())
    })
}

/// What varies in a line.
fn any_variable() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "count", "padded", "fraction", "hex", "HEX", "word", "few", "id", "large", "mixed",
    ])
}

fn variable(kind: &str, seed: u64) -> String {
    match kind {
        "count" => (seed % 5000).to_string(),
        "padded" => format!("{:03}", seed % 1000),
        "fraction" => format!("{}.{}", seed % 10, seed % 997),
        "hex" => format!("{:08x}", seed as u32),
        "HEX" => format!("x{:05X}", seed % 0xf_ffff),
        "word" => format!("{:x}k{}", seed % 4096, seed % 7),
        "few" => ["GET", "a1", "b2", "é3"][seed as usize % 4].to_owned(),
        "id" => format!("{:04x}-{:04x}", seed % 65536, seed / 65536 % 65536),
        "large" => seed.to_string(),
        _ => variable(["count", "hex", "few", "large"][seed as usize / 7 % 4], seed),
    }
}

/// Texts as programs write them: a few shapes, with variables in them.
fn any_lines() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["", " error ", "\"id\":\"", "a", "ms ", "-", ":", "\0", "\n", "é="]);
    let shape = prop::collection::vec((word, any_variable()), 1..5);
    let rows = prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 0u32..64), 40..150);
    (prop::collection::vec(shape, 1..4), rows).prop_map(|(shapes, rows)| {
        let line = |(shape, seed, shift): (prop::sample::Index, u64, u32)| {
            let shape = &shapes[shape.index(shapes.len())];
            let seeds = (0..).map(|piece| (seed >> shift).wrapping_mul(2 * piece + 1));
            let pieces = shape.iter().zip(seeds);
            pieces.map(|((word, kind), seed)| word.to_string() + &variable(kind, seed)).collect()
        };
        rows.into_iter().map(line).collect()
    })
}

/// A part of `text`, cut where characters begin.
fn part(text: &str, from: prop::sample::Index, to: prop::sample::Index) -> &str {
    let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let (a, b) = (*from.get(&bounds), *to.get(&bounds));
    &text[a.min(b)..a.max(b)]
}

proptest! {
    #[test]
    fn any_texts_come_back_and_are_found(
        texts in prop_oneof![any_texts(), any_lines()],
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        other in any_text(),
    ) {
        let parts: Vec<&str> = cuts.iter().map(|&(row, from, to)| part(&texts[row.index(texts.len())], from, to)).collect();
        let mut patterns: Vec<LinePattern> = parts.iter().map(|part| literal(part)).collect();
        // One byte of a part that occurs is another.
        let mutated = parts[0].char_indices().map(|(at, c)| if at == parts[0].len() / 2 { '7' } else { c });
        patterns.push(literal(&mutated.collect::<String>()));
        patterns.push(literal(&other));
        let regex = format!("{}[0-9]", regex_syntax::escape(parts[0]));
        let regex = Arc::new(BoundedRegex::new(&regex).unwrap());
        patterns.push(LinePattern::Regex { regex, required: parts[0].into() });
        check(&texts, &filters(&patterns));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>, count in 0usize..200) {
        let _ = decoded(&bytes, count);
    }

    #[test]
    fn damaged_columns_never_panic(
        texts in prop_oneof![any_texts(), any_lines()],
        at: prop::sample::Index,
        value: u8,
        is_cut: bool,
        count_off in 0usize..3,
    ) {
        let mut bytes = bytes_of(&texts, Effort::Best);
        let at = at.index(bytes.len());
        if is_cut {
            bytes.truncate(at);
        } else {
            bytes[at] = value;
        }
        let count = texts.len() + count_off - 1;
        if let Ok(column) = TextColumn::open(&bytes, count, MAX) {
            let mut out = TextBuffer::default();
            let _ = column.decode(&mut out);
            prop_assert!(out.bytes.len() <= MAX);
            for filter in filters(&[literal("error"), literal("12"), literal(""), literal("a-1"), literal("7-k")]) {
                let _ = column.filter(&filter, &Lookout::new(&StopSign::never()), &mut RowSet::all(count));
            }
            let _ = column.equals("error", &mut RowSet::all(count));
        }
    }
}
