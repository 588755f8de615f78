//! Groups of four letters, case put aside: where the texts of a column have not all those of a wanted text, none of
//! them holds it, and the column need not be unpacked.
//!
//! `storage-format.md` §1 "grams". Words are few and the same in all blocks but for those that are looked for; numbers
//! and identifiers have all groups of digits there are. So groups without a letter behind `f` are left out, and columns
//! of variables that are numbers are not looked at.

use crate::codec::Malformed;
use crate::codec::fuse::{self, FuseFilter};
use crate::model::{LineFilter, LinePattern};

const LEN: u32 = 4;
const LETTER_BITS: u32 = 5;
const CODE_COUNT: usize = 1 << (LEN * LETTER_BITS);

/// Those of texts that are being written.
pub struct Grams {
    /// A bit for each code.
    seen: Vec<u64>,
}

impl Grams {
    pub fn new() -> Grams {
        Grams { seen: vec![0; CODE_COUNT / 64] }
    }

    pub(super) fn add(&mut self, text: &str) {
        each_holds(text, |code| {
            self.seen[code as usize / 64] |= 1 << (code % 64);
            true
        });
    }

    /// Texts that follow each other and are the same are looked at once.
    pub(super) fn add_all(&mut self, texts: &[&str]) {
        texts.chunk_by(|a, b| a == b).for_each(|same| self.add(same[0]));
    }

    /// Appends a filter of them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut codes = Vec::new();
        for (at, &word) in (0..).zip(&self.seen) {
            let mut left = word;
            while left != 0 {
                codes.push(64 * at + u64::from(left.trailing_zeros()));
                left &= left - 1;
            }
        }
        fuse::encode(&mut codes, out);
    }
}

impl Default for Grams {
    fn default() -> Grams {
        Grams::new()
    }
}

/// Those of a column, and perhaps some others.
pub struct GramFilter<'a>(FuseFilter<'a>);

impl<'a> GramFilter<'a> {
    pub fn open(mut bytes: &'a [u8]) -> Result<GramFilter<'a>, Malformed> {
        let filter = FuseFilter::take(&mut bytes)?;
        if bytes.is_empty() { Ok(GramFilter(filter)) } else { Err(Malformed("bytes after a filter")) }
    }

    /// False only if no text of the column passes.
    pub fn may_pass(&self, filter: &LineFilter) -> bool {
        filter.is_negated
            || filter.alternatives.iter().any(|pattern| match pattern {
                LinePattern::Literal(text) | LinePattern::Regex { required: text, .. } => self.may_hold(text),
            })
    }

    /// False only if no text of the column holds this one.
    pub fn may_hold(&self, text: &str) -> bool {
        each_holds(text, |code| self.0.contains(u64::from(code)))
    }
}

/// Whether `holds` says so of the code of each group in the text, as far as it is asked.
fn each_holds(text: &str, mut holds: impl FnMut(u32) -> bool) -> bool {
    // How many letters there were up to here, and how many of them since the last one behind `f`.
    let (mut code, mut letters, mut hexadecimal) = (0, 0, 0);
    for &byte in text.as_bytes() {
        let letter = byte | 0x20;
        if !letter.is_ascii_lowercase() {
            (letters, hexadecimal) = (0, 0);
            continue;
        }
        code = (code << LETTER_BITS | u32::from(letter & 0x1f)) % CODE_COUNT as u32;
        letters += 1;
        hexadecimal = if letter > b'f' { 0 } else { hexadecimal + 1 };
        if letters >= LEN && hexadecimal < LEN && !holds(code) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Effort;
    use crate::codec::text::{TextBuffer, encode_with_grams};

    fn filter_of(texts: &[String]) -> Vec<u8> {
        let texts: TextBuffer = texts.iter().collect();
        let mut bytes = Vec::new();
        encode_with_grams(&texts, Effort::Fast, &mut Vec::new()).encode(&mut bytes);
        bytes
    }

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("level=info msg=\"took {i}ms\" order=ord-x{i} id={i:08x}")).collect()
    }

    #[test]
    fn words_that_no_text_has_are_told_from_those_that_some_have() {
        let mut lines = lines(2000);
        lines[1234].push_str(" Needle-7f3a9c");
        let bytes = filter_of(&lines);
        assert!(bytes.len() < 100, "{} bytes", bytes.len());
        let filter = GramFilter::open(&bytes).unwrap();
        for held in
            ["level=info", "needle-7f", "NEEDLE", "eedl", "took 12ms", "00abcdef", "ord", "", "-7f3a9c"]
        {
            assert!(filter.may_hold(held), "{held}");
        }
        for strange in ["haystack", "error", "noodle-7f3a9c", "level=warn"] {
            assert!(!filter.may_hold(strange), "{strange}");
        }
    }

    #[test]
    fn a_filter_passes_if_any_alternative_may_and_always_if_it_is_negated() {
        let bytes = filter_of(&lines(100));
        let filter = GramFilter::open(&bytes).unwrap();
        let mut wanted = LineFilter::contains("haystack");
        assert!(!filter.may_pass(&wanted));
        wanted.is_negated = true;
        assert!(filter.may_pass(&wanted));
        wanted.is_negated = false;
        let regex = std::sync::Arc::new(crate::model::bounded_regex::BoundedRegex::new("level=.*").unwrap());
        wanted.alternatives.push(LinePattern::Regex { regex, required: "level=".into() });
        assert!(filter.may_pass(&wanted));
    }

    proptest! {
        #[test]
        fn whatever_a_text_holds_may_be_held(
            kinds in prop::collection::vec("[a-z]{0,6}( |=|-|é|[a-g]{3,6}|[0-9]{1,3}(ms|T[0-9]|xyzw|)|[A-Z]{2,5}|\u{0}){0,6}", 1..8),
            numbers in prop::collection::vec((0usize..8, 0u64..100_000), 1..200),
            is_best: bool,
        ) {
            let texts: Vec<String> = numbers
                .iter()
                .map(|&(kind, n)| {
                    let kind = &kinds[kind % kinds.len()];
                    format!("{kind}{n}ms{kind}x{n}{kind} {kind}{n:x}-{:x}", n * 7919)
                })
                .collect();
            let effort = if is_best { Effort::Best } else { Effort::Fast };
            let buffer: TextBuffer = texts.iter().collect();
            let (mut bytes, mut column) = (Vec::new(), Vec::new());
            encode_with_grams(&buffer, effort, &mut column).encode(&mut bytes);
            let filter = GramFilter::open(&bytes).unwrap();
            prop_assert!(texts.iter().all(|text| filter.may_hold(text)), "{texts:?}");
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_filter(bytes in prop::collection::vec(any::<u8>(), 0..200), text: String) {
            if let Ok(filter) = GramFilter::open(&bytes) {
                filter.may_hold(&text);
            }
        }
    }
}
