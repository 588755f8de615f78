//! A compiled regular expression that no text holds up for long: where the two are large, it is matched step by step,
//! and can be told to stop between two steps.
//!
//! Most texts are short, and most expressions small; then the `regex` crate's own engines, which have no door to leave
//! by, are through before anybody could ask. What they take at worst grows with the product of both.

use std::sync::OnceLock;

use parking_lot::Mutex;
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};

use super::regex::{DFA_BYTES_MAX, GROUPS_NESTED_MAX, RegexError};
use super::stop::Lookout;

/// The most a compiled expression may take, as errors and `reference` say it.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Where the search for what an expression takes begins; most take no more.
const COMPILED_BYTES_MIN: usize = 4 << 10;

/// An expression of 128 KiB that no automaton remembers takes up to 80 ms for 4 KiB of text.
const UNINTERRUPTED_COST_MAX: u64 = 1 << 29;
/// Groups are found by engines that cannot be interrupted. What people write takes 16 KiB and has to be found in lines of
/// 128 KiB; at worst that takes half a second.
const GROUPS_COST_MAX: u64 = 1 << 31;
/// What the engines remember for each state and group is their product.
const STATE_GROUPS_MAX: usize = 16 << 20;
/// Each byte may need a new state, which takes up to 0.2 ms.
const BYTES_PER_LOOK: usize = 64;
/// Below this, the states of a step-by-step search would be made over and over.
const STEPPER_CACHE_BYTES_MIN: usize = 32 << 10;

/// Groups of so large an expression are not looked for in so long a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a regex of more than {} KiB is too large to find groups in a text of {text_bytes} bytes", compiled_bytes >> 11)]
pub struct TooLongForGroups {
    compiled_bytes: usize,
    text_bytes: usize,
}

/// Of the `regex` crate's syntax.
#[derive(Debug)]
pub struct BoundedRegex {
    regex: regex::Regex,
    /// A power of two that it compiles to at most.
    compiled_bytes: usize,
    stepper: OnceLock<Option<Box<Stepper>>>,
}

impl BoundedRegex {
    pub fn new(pattern: &str) -> Result<BoundedRegex, RegexError> {
        // A character takes more than four bytes once compiled, so nothing smaller need be tried.
        let expected_bytes = (4 * pattern.len()).next_power_of_two();
        let mut compiled_bytes = expected_bytes.clamp(COMPILED_BYTES_MIN, COMPILED_BYTES_MAX);
        loop {
            match compile(pattern, compiled_bytes) {
                Err(RegexError::TooLarge) if compiled_bytes < COMPILED_BYTES_MAX => compiled_bytes *= 2,
                regex => return Ok(BoundedRegex { regex: regex?, compiled_bytes, stepper: OnceLock::new() }),
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
            Some(stepper) => stepper.is_match(text.as_bytes(), lookout),
            None => self.regex.is_match(text),
        }
    }

    /// The expression, for the groups of its matches in the text.
    pub fn for_groups_in(&self, text: &str) -> Result<&regex::Regex, TooLongForGroups> {
        if self.cost(text) <= GROUPS_COST_MAX {
            return Ok(&self.regex);
        }
        Err(TooLongForGroups { compiled_bytes: self.compiled_bytes, text_bytes: text.len() })
    }

    /// The same; `None`, too, where a text too long has no match or the lookout has given up.
    pub fn for_groups_within(
        &self,
        text: &str,
        lookout: &Lookout<'_>,
    ) -> Result<Option<&regex::Regex>, TooLongForGroups> {
        if self.cost(text) > UNINTERRUPTED_COST_MAX && !self.is_match_within(text, lookout) {
            return Ok(None);
        }
        self.for_groups_in(text).map(Some)
    }

    /// The expression itself, for what it is called and what groups it has.
    pub fn regex(&self) -> &regex::Regex {
        &self.regex
    }

    fn stepper(&self) -> Option<&Stepper> {
        let make = || Stepper::new(self.regex.as_str(), self.compiled_bytes).map(Box::new);
        self.stepper.get_or_init(make).as_deref()
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

/// The automaton of an expression, whose states are made as a text needs them.
#[derive(Debug)]
struct Stepper {
    dfa: DFA,
    /// The states so far, while nobody steps through them; who comes meanwhile makes his own.
    cache: Mutex<Option<Cache>>,
}

impl Stepper {
    /// `None` for an expression that needs more than an automaton; none of RE2's does.
    fn new(pattern: &str, compiled_bytes: usize) -> Option<Stepper> {
        let cache_bytes = (2 * compiled_bytes).clamp(STEPPER_CACHE_BYTES_MIN, DFA_BYTES_MAX);
        let config = DFA::config().cache_capacity(cache_bytes).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build(pattern).ok()?;
        Some(Stepper { dfa, cache: Mutex::new(None) })
    }

    fn is_match(&self, text: &[u8], lookout: &Lookout<'_>) -> bool {
        let cache = self.cache.lock().take();
        let mut cache = cache.unwrap_or_else(|| self.dfa.create_cache());
        let found = self.step_through(&mut cache, text, lookout);
        *self.cache.lock() = Some(cache);
        found.unwrap_or(false)
    }

    /// `None` where the lookout gives up.
    fn step_through(&self, cache: &mut Cache, text: &[u8], lookout: &Lookout<'_>) -> Option<bool> {
        let mut state = self.dfa.start_state_forward(cache, &Input::new(text)).ok()?;
        for piece in text.chunks(BYTES_PER_LOOK) {
            if lookout.gives_up_now() {
                return None;
            }
            for &byte in piece {
                state = self.dfa.next_state(cache, state, byte).ok()?;
                if state.is_match() || state.is_dead() {
                    return Some(state.is_match());
                }
            }
        }
        // A state is known to match one byte later.
        Some(self.dfa.next_eoi_state(cache, state).ok()?.is_match())
    }
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
            assert_eq!(looks.load(Relaxed), last + 1, "once for {BYTES_PER_LOOK} bytes, and no more then");
        }
    }

    #[test]
    fn a_short_text_is_not_worth_a_look() {
        let sign = StopSign::new(|| panic!("nobody asks"));
        let regex = BoundedRegex::new("x[0-9]+y").unwrap();
        assert!(regex.is_match_within(&format!("{}x12y", letters(64 << 10)), &Lookout::new(&sign)));
    }

    #[test]
    fn groups_are_refused_where_they_would_take_too_long() {
        let regex = BoundedRegex::with_groups("(a|b)*a(a|b){500}").unwrap();
        assert!(regex.for_groups_in(&letters(8 << 10)).is_ok());
        let refused = regex.for_groups_in(&letters(64 << 10)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "a regex of more than 64 KiB is too large to find groups in a text of 65536 bytes"
        );
        let small = BoundedRegex::with_groups("^(?P<a>[^ ]+) (?P<b>[a-z]*) (?P<rest>.*)$").unwrap();
        assert!(small.for_groups_in(&letters(256 << 10)).is_ok());
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
                let found = stepper.is_match(text.as_bytes(), &Lookout::new(&sign));
                prop_assert_eq!(found, regex.is_match(text), "{} {:?}", pattern, text);
            }
        }
    }
}
