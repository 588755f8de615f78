//! The regular expression of a label matcher: anchored, linear in time, bounded in size, and quick on the shapes
//! that dashboards are made of.
//!
//! Most are no real expressions: `a|b|c`, `foo.*`, `.+`. These are recognised once, when the matcher is made, and
//! never compiled; the index asks for their values or prefix instead of trying every label value.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::bounded_regex::BoundedRegex;
use super::re2::{self, SyntaxError};
use super::stop::Lookout;

/// The transition cache of a running expression; it starts over when full.
pub(super) const DFA_BYTES_MAX: usize = 512 << 10;
/// How many values a class or an optional part may multiply a literal into.
const EXPANDED_VALUES_MAX: usize = 256;
pub(super) const GROUPS_NESTED_MAX: u32 = 128;

/// Why a regular expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Of RE2's syntax, but nothing that we compile.
    #[error("error parsing regexp: {0}")]
    Unsupported(String),
    #[error("regex compiles to more than 1 MiB")]
    TooLarge,
    #[error("regex has {groups} groups, too many for its size")]
    TooManyGroups { groups: usize },
}

impl From<regex::Error> for RegexError {
    fn from(error: regex::Error) -> RegexError {
        match error {
            regex::Error::CompiledTooBig(_) => RegexError::TooLarge,
            other => RegexError::Unsupported(other.to_string()),
        }
    }
}

/// A compiled, fully anchored expression. `.` matches newlines.
#[derive(Debug)]
pub struct LabelRegex {
    pattern: String,
    shape: Shape,
}

/// What an expression amounts to.
#[derive(Debug)]
enum Shape {
    /// `.*`
    Everything,
    /// `.+`
    NotEmpty,
    /// Exactly these values, sorted, each once.
    Values(Vec<String>),
    /// `foo.*`
    Prefix(String),
    /// `foo.+`
    LongerThanPrefix(String),
    /// `.*foo`
    Suffix(String),
    /// `.*foo.*`
    Contains(String),
    /// Anything else, with the text that all its matches begin with.
    Compiled { regex: BoundedRegex, prefix: String },
}

impl Shape {
    /// Roughly.
    fn held_bytes(&self) -> usize {
        match self {
            Shape::Values(values) => values.iter().map(|v| v.len() + size_of::<String>()).sum(),
            Shape::Compiled { regex, .. } => regex.compiled_bytes(),
            _ => 0,
        }
    }
}

impl LabelRegex {
    pub fn new(pattern: &str) -> Result<LabelRegex, RegexError> {
        let translated = re2::translate(pattern)?;
        let hir = without_anchors(parse(&translated, true)?);
        if let Some(shape) = simple_shape(&hir) {
            return Ok(LabelRegex { pattern: pattern.to_owned(), shape });
        }
        let anchored = format!("^(?s:{translated})$");
        let regex = BoundedRegex::new(&anchored)?;
        let shape = Shape::Compiled { regex, prefix: leading_literal(&hir) };
        Ok(LabelRegex { pattern: pattern.to_owned(), shape })
    }

    /// As it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What it takes in memory, roughly.
    pub(super) fn held_bytes(&self) -> usize {
        self.pattern.len().max(self.shape.held_bytes())
    }

    /// For a value that is short by its nature, as those of stored labels are.
    pub fn is_match(&self, value: &str) -> bool {
        self.is_match_by(value, BoundedRegex::is_match)
    }

    /// Whether it matches; false, perhaps, once the lookout has given up.
    pub fn is_match_within(&self, value: &str, lookout: &Lookout<'_>) -> bool {
        self.is_match_by(value, |regex, value| regex.is_match_within(value, lookout))
    }

    fn is_match_by(&self, value: &str, matches: impl Fn(&BoundedRegex, &str) -> bool) -> bool {
        match &self.shape {
            Shape::Everything => true,
            Shape::NotEmpty => !value.is_empty(),
            Shape::Values(values) => values.binary_search_by(|v| v.as_str().cmp(value)).is_ok(),
            Shape::Prefix(prefix) => value.starts_with(prefix),
            Shape::LongerThanPrefix(prefix) => value.len() > prefix.len() && value.starts_with(prefix),
            Shape::Suffix(suffix) => value.ends_with(suffix),
            Shape::Contains(part) => value.contains(part),
            Shape::Compiled { regex, prefix } => value.starts_with(prefix) && matches(regex, value),
        }
    }

    /// The values it matches, sorted, where it is a list of them.
    pub fn values(&self) -> Option<&[String]> {
        match &self.shape {
            Shape::Values(values) => Some(values),
            _ => None,
        }
    }

    /// What every match begins with, where that is not nothing.
    pub fn prefix(&self) -> Option<&str> {
        match &self.shape {
            Shape::Prefix(prefix) | Shape::LongerThanPrefix(prefix) => Some(prefix),
            Shape::Compiled { prefix, .. } if !prefix.is_empty() => Some(prefix),
            _ => None,
        }
    }
}

/// `is_dot_newline`: whether `.` matches a newline, as in label matchers and not in lines.
pub(super) fn parse(translated: &str, is_dot_newline: bool) -> Result<Hir, RegexError> {
    regex_syntax::ParserBuilder::new()
        .dot_matches_new_line(is_dot_newline)
        .nest_limit(GROUPS_NESTED_MAX)
        .build()
        .parse(translated)
        .map_err(|error| {
            RegexError::Unsupported(match error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                other => other.to_string(),
            })
        })
}

/// Without the `^` and `$` that people write although every matcher is anchored.
fn without_anchors(hir: Hir) -> Hir {
    let HirKind::Concat(parts) = hir.kind() else {
        return hir;
    };
    let mut parts = parts.as_slice();
    while let [first, rest @ ..] = parts
        && matches!(first.kind(), HirKind::Look(Look::Start))
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        parts = rest;
    }
    Hir::concat(parts.to_vec())
}

fn simple_shape(hir: &Hir) -> Option<Shape> {
    if let Some(mut values) = literal_values(hir) {
        values.sort_unstable();
        values.dedup();
        return Some(Shape::Values(values));
    }
    let parts = flatten(hir);
    let literal = |hir: &Hir| match hir.kind() {
        HirKind::Literal(bytes) => Some(text_of(&bytes.0)),
        _ => None,
    };
    match parts.as_slice() {
        [any] if is_any(any, 0) => Some(Shape::Everything),
        [any] if is_any(any, 1) => Some(Shape::NotEmpty),
        [first, any] if is_any(any, 0) && literal(first).is_some() => literal(first).map(Shape::Prefix),
        [first, any] if is_any(any, 1) => literal(first).map(Shape::LongerThanPrefix),
        [any, last] if is_any(any, 0) => literal(last).map(Shape::Suffix),
        [any, middle, rest] if is_any(any, 0) && is_any(rest, 0) => literal(middle).map(Shape::Contains),
        _ => None,
    }
}

/// The parts of a concatenation, groups around and inside it opened.
pub(super) fn flatten(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Capture(group) => flatten(&group.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(flatten).collect(),
        _ => vec![hir],
    }
}

/// Whether this is `.*` (`min` 0) or `.+` (`min` 1) with a dot that matches every character.
fn is_any(hir: &Hir, min: u32) -> bool {
    let HirKind::Repetition(repetition) = hir.kind() else {
        return false;
    };
    let mut sub = &*repetition.sub;
    while let HirKind::Capture(group) = sub.kind() {
        sub = &group.sub;
    }
    let HirKind::Class(Class::Unicode(class)) = sub.kind() else {
        return false;
    };
    let is_all = class.ranges().len() == 1
        && class.ranges()[0].start() == '\0'
        && class.ranges()[0].end() == char::MAX;
    repetition.min == min && repetition.max.is_none() && is_all
}

fn leading_literal(hir: &Hir) -> String {
    match flatten(hir).first().map(|first| first.kind()) {
        Some(HirKind::Literal(bytes)) => text_of(&bytes.0),
        _ => String::new(),
    }
}

pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a Unicode expression holds whole characters")
}

/// Every text that `hir` matches in full, if these are few and can be told.
pub(super) fn literal_values(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(bytes) => Some(vec![text_of(&bytes.0)]),
        HirKind::Capture(group) => literal_values(&group.sub),
        HirKind::Class(Class::Unicode(class)) => {
            let count: u32 =
                class.ranges().iter().map(|r| u32::from(r.end()) - u32::from(r.start()) + 1).sum();
            let few = count as usize <= EXPANDED_VALUES_MAX;
            few.then(|| class.ranges().iter().flat_map(|r| r.start()..=r.end()).map(String::from).collect())
        }
        HirKind::Repetition(repetition) if repetition.min == 0 && repetition.max == Some(1) => {
            let mut values = literal_values(&repetition.sub)?;
            values.push(String::new());
            Some(values)
        }
        HirKind::Alternation(alternatives) => {
            let mut values = Vec::new();
            for alternative in alternatives {
                values.extend(literal_values(alternative)?);
                // A list may be as long as its text, which has paid for each value; what grows beyond may not.
                if values.len() > alternatives.len() + EXPANDED_VALUES_MAX {
                    return None;
                }
            }
            Some(values)
        }
        HirKind::Concat(parts) => {
            let mut values = vec![String::new()];
            for part in parts {
                values = joined(&values, &literal_values(part)?)?;
            }
            Some(values)
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// Every text of `heads` followed by every text of `tails`.
fn joined(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    let count = heads.len() * tails.len();
    if count > EXPANDED_VALUES_MAX.max(heads.len()).max(tails.len()) {
        return None;
    }
    Some(heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(pattern: &str) -> regex::Regex {
        regex::Regex::new(&format!("^(?s:{pattern})$")).unwrap()
    }

    #[test]
    fn lists_of_literals_become_their_values() {
        for (pattern, values) in [
            ("foo", vec!["foo"]),
            ("", vec![""]),
            ("b|a|b", vec!["a", "b"]),
            ("(?:foo|bar)", vec!["bar", "foo"]),
            ("node-(1|2)x?", vec!["node-1", "node-1x", "node-2", "node-2x"]),
            ("5..|", vec![]),
            ("[45]xx", vec!["4xx", "5xx"]),
            ("(?i)ab", vec!["AB", "Ab", "aB", "ab"]),
            (r"a\.b", vec!["a.b"]),
            ("^(a|b)$", vec!["a", "b"]),
            ("a^b", vec![]),
        ] {
            let regex = LabelRegex::new(pattern).unwrap();
            let expected = (!values.is_empty()).then_some(values);
            assert_eq!(regex.values().map(|v| v.iter().map(String::as_str).collect()), expected, "{pattern}");
        }
    }

    #[test]
    fn a_list_may_be_long() {
        let names: Vec<String> = (0..5000).map(|i| format!("host-{i:05}")).collect();
        let regex = LabelRegex::new(&names.join("|")).unwrap();
        assert_eq!(regex.values().map(<[String]>::len), Some(5000));
        assert!(regex.is_match("host-04711") && !regex.is_match("host-0471"));
    }

    #[test]
    fn prefixes_are_told_to_the_index() {
        for (pattern, prefix) in [
            ("foo.*", Some("foo")),
            ("foo(.+)", Some("foo")),
            ("/api/v[0-9]+/x", Some("/api/v")),
            (".*foo", None),
            (".+", None),
            ("foo|bar.*", None),
            ("^foo.*$", Some("foo")),
        ] {
            assert_eq!(LabelRegex::new(pattern).unwrap().prefix(), prefix, "{pattern}");
        }
    }

    #[test]
    fn what_compiles_too_large_is_refused() {
        let refused = LabelRegex::new(r"(\pL{1000}x){1000}").unwrap_err();
        assert_eq!(refused.to_string(), "regex compiles to more than 1 MiB");
        assert!(matches!(LabelRegex::new(&"(".repeat(2000)), Err(RegexError::Syntax(_))));
        let nested = "(".repeat(2000) + &")".repeat(2000);
        assert!(matches!(LabelRegex::new(&nested), Err(RegexError::Unsupported(_))));
    }

    proptest! {
        #[test]
        fn every_shape_agrees_with_the_plain_regex(
            pattern in r"(\^|\$|\.\*|\.\+|a|b|ab|\(a\|b\)|a\?|\[ab\]|\(\.\*\)|\|){0,5}",
            value in "[ab\n]{0,5}",
        ) {
            let regex = LabelRegex::new(&pattern).unwrap();
            prop_assert_eq!(regex.is_match(&value), plain(&pattern).is_match(&value), "{}", pattern);
            if let Some(prefix) = regex.prefix() {
                prop_assert!(!regex.is_match(&value) || value.starts_with(prefix));
            }
            if let Some(values) = regex.values() {
                prop_assert_eq!(values.contains(&value), regex.is_match(&value));
            }
        }
    }
}
