//! A compiled regular expression that no text holds up for long: where the two are large, it is matched step by step,
//! and can be told to stop between two steps.
//!
//! Most texts are short, and most expressions small; then the `regex` crate's own engines, which have no door to leave
//! by, are through before anybody could ask. What they take at worst grows with the product of both.

mod group_walk;
mod groups;
mod stepper;

use std::sync::OnceLock;

use super::regex::{DFA_BYTES_MAX, GROUPS_NESTED_MAX, RegexError};
use super::stop::Lookout;

use group_walk::GroupWalk;
use stepper::Stepper;

pub use groups::Groups;

/// The most a compiled expression may take, as errors and `reference` say it.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Where the search for what an expression takes begins; most take no more.
const COMPILED_BYTES_MIN: usize = 4 << 10;

/// An expression of 128 KiB that no automaton remembers takes up to 80 ms for 4 KiB of text.
const UNINTERRUPTED_COST_MAX: u64 = 1 << 29;
/// Who looks for groups remembers all of them for each state.
const STATE_GROUPS_MAX: usize = 16 << 20;

/// Of the `regex` crate's syntax.
#[derive(Debug)]
pub struct BoundedRegex {
    regex: regex::Regex,
    /// A power of two that it compiles to at most.
    compiled_bytes: usize,
    stepper: OnceLock<Option<Box<Stepper>>>,
    group_walk: OnceLock<Option<Box<GroupWalk>>>,
}

impl BoundedRegex {
    pub fn new(pattern: &str) -> Result<BoundedRegex, RegexError> {
        // A character takes more than four bytes once compiled, so nothing smaller need be tried.
        let expected_bytes = (4 * pattern.len()).next_power_of_two();
        let mut compiled_bytes = expected_bytes.clamp(COMPILED_BYTES_MIN, COMPILED_BYTES_MAX);
        loop {
            match compile(pattern, compiled_bytes) {
                Err(RegexError::TooLarge) if compiled_bytes < COMPILED_BYTES_MAX => compiled_bytes *= 2,
                regex => {
                    return Ok(BoundedRegex {
                        regex: regex?,
                        compiled_bytes,
                        stepper: OnceLock::new(),
                        group_walk: OnceLock::new(),
                    });
                }
            }
        }
    }

    /// The same for an expression whose groups will be asked for.
    pub fn with_groups(pattern: &str) -> Result<BoundedRegex, RegexError> {
        let regex = BoundedRegex::new(pattern)?;
        if regex.regex.captures_len().saturating_mul(regex.compiled_bytes) > STATE_GROUPS_MAX {
            return Err(RegexError::TooManyGroups { groups: regex.regex.captures_len() - 1 });
        }
        Ok(regex)
    }

    /// What it takes, to a factor of two.
    pub fn compiled_bytes(&self) -> usize {
        self.compiled_bytes
    }

    /// For a text that is short by its nature.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Whether it matches somewhere in the text; false once the lookout has given up.
    pub fn is_match_within(&self, text: &str, lookout: &Lookout<'_>) -> bool {
        if self.cost(text) <= UNINTERRUPTED_COST_MAX {
            return self.regex.is_match(text);
        }
        match self.stepper() {
            Some(stepper) => stepper.is_match(text, 0, lookout),
            None => self.regex.is_match(text),
        }
    }

    /// Finds the first match that starts at this byte or behind it, and its groups; false if there is none, or the lookout
    /// has given up.
    pub fn find_groups(&self, text: &str, from: usize, lookout: &Lookout<'_>, groups: &mut Groups) -> bool {
        let group_count = self.regex.captures_len() as u64;
        if self.cost(&text[from..]) * group_count <= UNINTERRUPTED_COST_MAX {
            return self.find_uninterrupted(text, from, groups);
        }
        if self.stepper().is_some_and(|stepper| !stepper.is_match(text, from, lookout)) {
            return false;
        }
        match self.group_walk() {
            Some(group_walk) => group_walk.find(text, from, lookout, &mut groups.walk, &mut groups.spans),
            None => self.find_uninterrupted(text, from, groups),
        }
    }

    fn find_uninterrupted(&self, text: &str, from: usize, groups: &mut Groups) -> bool {
        let found = self.regex.captures_read_at(&mut groups.locations, text, from).is_some();
        if found {
            for (group, span) in groups.spans.iter_mut().enumerate() {
                *span = groups.locations.get(group).map(|(start, end)| start..end);
            }
        }
        found
    }

    /// The expression itself, for what it is called and what groups it has.
    pub fn regex(&self) -> &regex::Regex {
        &self.regex
    }

    fn stepper(&self) -> Option<&Stepper> {
        let make = || Stepper::new(self.regex.as_str(), self.compiled_bytes).map(Box::new);
        self.stepper.get_or_init(make).as_deref()
    }

    fn group_walk(&self) -> Option<&GroupWalk> {
        self.group_walk.get_or_init(|| GroupWalk::new(self.regex.as_str()).map(Box::new)).as_deref()
    }

    fn cost(&self, text: &str) -> u64 {
        self.compiled_bytes as u64 * text.len() as u64
    }
}

fn compile(pattern: &str, bytes_max: usize) -> Result<regex::Regex, RegexError> {
    regex::RegexBuilder::new(pattern)
        .size_limit(bytes_max)
        .dfa_size_limit(DFA_BYTES_MAX)
        .nest_limit(GROUPS_NESTED_MAX + 2)
        .build()
        .map_err(RegexError::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use proptest::prelude::*;

    use super::*;
    use crate::model::StopSign;

    /// 500 letters behind an `a` that may be any: no automaton remembers all it has seen.
    const DEAR: &str = "(a|b)*a(a|b){500}!";

    fn letters(count: usize) -> String {
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 63 == 0 { 'a' } else { 'b' }
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_long_text_is_left_in_the_middle() {
        let (regex, text) = (BoundedRegex::new(DEAR).unwrap(), letters(64 << 10));
        for last in [0, 3, 40] {
            let looks = Arc::new(AtomicUsize::new(0));
            let counted = looks.clone();
            let sign = StopSign::new(move || counted.fetch_add(1, Relaxed) >= last);
            let lookout = Lookout::new(&sign);
            assert!(!regex.is_match_within(&text, &lookout) && lookout.has_given_up());
            assert_eq!(looks.load(Relaxed), last + 1, "once for some bytes, and no more then");
        }
    }

    #[test]
    fn a_short_text_is_not_worth_a_look() {
        let sign = StopSign::new(|| panic!("nobody asks"));
        let regex = BoundedRegex::new("x[0-9]+y").unwrap();
        assert!(regex.is_match_within(&format!("{}x12y", letters(64 << 10)), &Lookout::new(&sign)));
    }

    #[test]
    fn groups_of_a_long_text_are_left_in_the_middle() {
        let regex = BoundedRegex::with_groups("(a|b)*a(a|b){500}").unwrap();
        let text = letters(64 << 10);
        for last in [0, 3, 300] {
            let looks = Arc::new(AtomicUsize::new(0));
            let counted = looks.clone();
            let sign = StopSign::new(move || counted.fetch_add(1, Relaxed) >= last);
            let lookout = Lookout::new(&sign);
            assert!(
                !regex.find_groups(&text, 0, &lookout, &mut Groups::new(&regex)) && lookout.has_given_up()
            );
            assert_eq!(looks.load(Relaxed), last + 1, "once for some bytes, and no more then");
        }
    }

    #[test]
    fn too_many_groups_are_refused() {
        let refused = BoundedRegex::with_groups(&"(a)".repeat(2_000)).unwrap_err();
        assert_eq!(refused, RegexError::TooManyGroups { groups: 2_000 });
    }

    proptest! {
        #[test]
        fn steps_find_what_the_engines_find(
            pattern in r"(\^|\$|\.\*|\.\+|a|é|ab|\(a\|b\)|a\?|\[ab\]|\(\.\*\)|\||\(ab\)\+|\(\?-u:\\b\)|a\{2,40\}){0,6}",
            text in "[abé \n]{0,80}",
        ) {
            let Ok(regex) = BoundedRegex::new(&pattern) else { return Ok(()) };
            let stepper = Stepper::new(&pattern, regex.compiled_bytes).unwrap();
            let sign = StopSign::never();
            for text in [&text, &text.repeat(3)] {
                let found = stepper.is_match(text, 0, &Lookout::new(&sign));
                prop_assert_eq!(found, regex.is_match(text), "{} {:?}", pattern, text);
            }
        }

        #[test]
        fn a_walk_finds_the_groups_that_the_engines_find(
            pattern in r"(\^|\$|\.\*|\.\+\?|a|é|\(a\|b\)|\(a\|ab\)|\(b\?\)|\[ab\]|\(\.\*\?\)|\||\(a\*\|b\)\*|\(\?-u:\\b\)|a\{2,4\}){0,6}",
            text in "[abé \n]{0,40}",
            skipped in 0..8usize,
        ) {
            let Ok(regex) = BoundedRegex::new(&pattern) else { return Ok(()) };
            let (sign, walk) = (StopSign::never(), GroupWalk::new(&pattern).unwrap());
            let mut groups = [Groups::new(&regex), Groups::new(&regex)];
            // Of two texts, so that nothing is left of the first.
            let from = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
            for (text, from) in [(&text, from), (&text.repeat(2), from)] {
                let [walked, engines] = &mut groups;
                let lookout = Lookout::new(&sign);
                let found = walk.find(text, from, &lookout, &mut walked.walk, &mut walked.spans);
                prop_assert_eq!(found, regex.find_uninterrupted(text, from, engines), "{} {:?}", pattern, text);
                if found {
                    prop_assert_eq!(&walked.spans, &engines.spans, "{} {:?}", pattern, text);
                }
                let stepped = Stepper::new(&pattern, regex.compiled_bytes).unwrap();
                prop_assert_eq!(stepped.is_match(text, from, &lookout), found, "{} {:?}", pattern, text);
            }
        }
    }
}
