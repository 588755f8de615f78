//! Regular expressions that are searched for in lines: not anchored, `.` stops at a newline, bounded in size.
//!
//! Most that people write are texts with `.*` around them, or a few texts with `|` between; those need no engine,
//! and storage can look for them without putting lines together.

use std::sync::Arc;

use regex_syntax::hir::{Hir, HirKind};

use super::bounded_regex::BoundedRegex;
use super::line_filter::LinePattern;
use super::re2;
use super::regex::{RegexError, flatten, literal_values, parse, text_of};

/// More texts than these are faster as one automaton.
const LITERALS_MAX: usize = 8;

/// Compiles an expression of RE2 whose groups are wanted.
pub fn line_regex(pattern: &str) -> Result<BoundedRegex, RegexError> {
    BoundedRegex::with_groups(&re2::translate(pattern)?)
}

impl LinePattern {
    /// What to look for so that a line holds one of it exactly if the expression of RE2 matches somewhere in the line.
    pub fn of_regex(pattern: &str) -> Result<Vec<LinePattern>, RegexError> {
        let translated = re2::translate(pattern)?;
        let hir = parse(&translated, false)?;
        let core = core(&hir);
        if let Some(texts) = texts(&core) {
            return Ok(texts.into_iter().map(|text| LinePattern::Literal(text.into())).collect());
        }
        let regex = Arc::new(BoundedRegex::new(&translated)?);
        Ok(vec![LinePattern::Regex { regex, required: required(&core).into() }])
    }
}

/// The expression without what may be absent at its ends: a search finds it all the same.
fn core(hir: &Hir) -> Hir {
    let mut parts = flatten(hir);
    let may_be_absent =
        |part: &&Hir| matches!(part.kind(), HirKind::Repetition(repetition) if repetition.min == 0);
    while parts.last().is_some_and(may_be_absent) {
        parts.pop();
    }
    let absent = parts.iter().take_while(|part| may_be_absent(part)).count();
    Hir::concat(parts[absent..].iter().map(|part| (*part).clone()).collect())
}

/// The few texts that the expression stands for.
fn texts(core: &Hir) -> Option<Vec<String>> {
    let mut texts = literal_values(core)?;
    texts.sort_unstable();
    texts.dedup();
    (texts.len() <= LITERALS_MAX).then_some(texts)
}

/// The longest text that is in every match.
fn required(hir: &Hir) -> String {
    let (mut longest, mut joined) = (String::new(), String::new());
    for part in flatten(hir) {
        match part.kind() {
            HirKind::Literal(bytes) => joined.push_str(&text_of(&bytes.0)),
            // Takes no room, so texts on both sides stay together.
            HirKind::Look(_) | HirKind::Empty => {}
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                longest = longer(longest, std::mem::take(&mut joined));
                longest = longer(longest, required(&repetition.sub));
            }
            _ => longest = longer(longest, std::mem::take(&mut joined)),
        }
    }
    longer(longest, joined)
}

fn longer(a: String, b: String) -> String {
    if b.len() > a.len() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lookout, StopSign};
    use proptest::prelude::*;

    fn described(pattern: &str) -> Vec<String> {
        let patterns = LinePattern::of_regex(pattern).unwrap();
        let described = patterns.iter().map(|pattern| match pattern {
            LinePattern::Literal(text) => format!("text {text}"),
            LinePattern::Regex { required, .. } => format!("regex {required}"),
        });
        described.collect()
    }

    #[test]
    fn texts_are_looked_for_as_texts() {
        assert_eq!(described("error"), ["text error"]);
        assert_eq!(described(".*error.*"), ["text error"]);
        assert_eq!(described("warn|error"), ["text error", "text warn"]);
        assert_eq!(described("level=(warn|error)"), ["text level=error", "text level=warn"]);
        assert_eq!(described("a\\.b"), ["text a.b"]);
        assert_eq!(described(".*"), ["text "]);
        assert_eq!(described(""), ["text "]);
    }

    #[test]
    fn other_expressions_say_what_they_require() {
        assert_eq!(described("in [0-9]+ms of"), ["regex ms of"]);
        assert_eq!(described("^(status)=5\\d\\d"), ["regex status=5"]);
        assert_eq!(described("(?:abc)+d"), ["regex abc"]);
        assert_eq!(described("(?i)error"), ["regex "]);
        assert_eq!(described("a.b"), ["regex a"]);
        assert_eq!(described("ab|c.*d"), ["regex "]);
    }

    #[test]
    fn what_cannot_be_compiled_is_refused() {
        assert!(matches!(LinePattern::of_regex("(a"), Err(RegexError::Syntax(_))));
        assert!(matches!(
            LinePattern::of_regex("((a{1000}){1000}){10}"),
            Err(RegexError::TooLarge | RegexError::Syntax(_))
        ));
        assert!(matches!(line_regex(r"(\pL{1000}x){1000}"), Err(RegexError::TooLarge)));
    }

    proptest! {
        #[test]
        fn patterns_agree_with_the_plain_expression(
            pattern in r"(\^|\$|\.\*|\.\+|a|b|ab|\(a\|b\)|a\?|\[ab\]|\(\.\*\)|\||\(ab\)\+|\\b){0,6}",
            line in "[ab \n]{0,6}",
        ) {
            let Ok(patterns) = LinePattern::of_regex(&pattern) else { return Ok(()) };
            let sign = StopSign::never();
            let lookout = Lookout::new(&sign);
            let expected = line_regex(&pattern).unwrap().is_match(&line);
            prop_assert_eq!(patterns.iter().any(|p| p.is_in(&line, &lookout)), expected, "{}", pattern);
            for pattern in &patterns {
                if let LinePattern::Regex { required, .. } = pattern {
                    prop_assert!(!expected || line.contains(&**required));
                }
            }
        }
    }
}
