//! One label matcher: the selector that all query languages share.

use std::sync::Arc;

pub use super::regex::{LabelRegex, RegexError};
pub use super::regex_cache::RegexCache;
use super::stop::Lookout;

/// `=`, `!=`, `=~`, `!~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl MatchOp {
    pub fn text(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }

    fn is_regex(self) -> bool {
        matches!(self, MatchOp::Regex | MatchOp::NotRegex)
    }
}

/// A condition on one label; a label that is not there has the value `""`. Made whole and not changed after:
/// `regex` is there exactly for the two regex operators, and compiled from `value`.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    regex: Option<Arc<LabelRegex>>,
}

impl Matcher {
    /// Compiles the regex of `=~` and `!~`; where queries repeat, [`Matcher::cached`] saves that.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Matcher, RegexError> {
        let value = value.into();
        let regex = if op.is_regex() { Some(Arc::new(LabelRegex::new(&value)?)) } else { None };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    pub fn cached(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
        cache: &RegexCache,
    ) -> Result<Matcher, RegexError> {
        let value = value.into();
        let regex = if op.is_regex() { Some(cache.get(&value)?) } else { None };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    /// `name="value"`, which needs no compiling and cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether the matcher lets this value through, which is short as those of stored labels are.
    pub fn matches(&self, value: &str) -> bool {
        self.matches_by(value, LabelRegex::is_match)
    }

    /// The same for a value of any length; what is said once the lookout has given up means nothing.
    pub fn matches_within(&self, value: &str, lookout: &Lookout<'_>) -> bool {
        self.matches_by(value, |regex, value| regex.is_match_within(value, lookout))
    }

    fn matches_by(&self, value: &str, is_match: impl Fn(&LabelRegex, &str) -> bool) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(regex)) => is_match(regex, value),
            (MatchOp::NotRegex, Some(regex)) => !is_match(regex, value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => unreachable!("a regex matcher has its regex"),
        }
    }

    /// Whether series without the label pass.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// For `=` and for `=~` on a list: exactly the values that pass, sorted.
    pub fn literal_values(&self) -> Option<&[String]> {
        match self.op {
            MatchOp::Equal => Some(std::slice::from_ref(&self.value)),
            MatchOp::Regex => self.regex.as_ref()?.values(),
            MatchOp::NotEqual | MatchOp::NotRegex => None,
        }
    }

    /// For `=~`: what every value that passes begins with, where that is not nothing.
    pub fn prefix(&self) -> Option<&str> {
        match self.op {
            MatchOp::Regex => self.regex.as_ref()?.prefix(),
            MatchOp::Equal | MatchOp::NotEqual | MatchOp::NotRegex => None,
        }
    }

    /// The matcher that lets through exactly what this one does not.
    pub fn inverse(&self) -> Matcher {
        let op = match self.op {
            MatchOp::Equal => MatchOp::NotEqual,
            MatchOp::NotEqual => MatchOp::Equal,
            MatchOp::Regex => MatchOp::NotRegex,
            MatchOp::NotRegex => MatchOp::Regex,
        };
        Matcher { op, ..self.clone() }
    }
}

/// By what was written; the compiled form follows from it.
impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_label_is_an_empty_one() {
        let passes = |op, value: &str| Matcher::new("x", op, value).unwrap().matches_empty();
        assert!(passes(MatchOp::Equal, "") && passes(MatchOp::NotEqual, "v"));
        assert!(passes(MatchOp::Regex, ".*") && passes(MatchOp::NotRegex, ".+"));
        assert!(!passes(MatchOp::Regex, ".+") && !passes(MatchOp::Equal, "v"));
    }

    #[test]
    fn the_inverse_lets_through_the_rest() {
        for (op, value) in [(MatchOp::Equal, "a"), (MatchOp::Regex, "a|b.*"), (MatchOp::NotRegex, "a.+c")] {
            let matcher = Matcher::new("x", op, value).unwrap();
            for text in ["", "a", "b", "abc", "bc"] {
                assert_ne!(matcher.matches(text), matcher.inverse().matches(text), "{op:?} {text}");
            }
        }
    }

    #[test]
    fn the_index_learns_the_values_of_equalities_and_lists() {
        let values =
            |op, value: &str| Matcher::new("x", op, value).unwrap().literal_values().map(<[_]>::to_vec);
        assert_eq!(values(MatchOp::Equal, "a"), Some(vec!["a".to_owned()]));
        assert_eq!(values(MatchOp::Regex, "b|a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(values(MatchOp::NotEqual, "a"), None);
        assert_eq!(values(MatchOp::Regex, "a.*"), None);
    }
}
