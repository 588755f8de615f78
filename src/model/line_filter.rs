//! A condition on the text of a log line: `|= "a" or "b"`, `!~ "x.*"`.
//!
//! Storage evaluates these where the lines lie, often without putting the lines together; so they are plain data,
//! and [`LineFilter::matches`] is what they mean.

use std::sync::Arc;

use super::bounded_regex::BoundedRegex;
use super::stop::Lookout;

/// Holds if any of the alternatives is found in the line, or with `is_negated`, if none is.
#[derive(Clone, Debug)]
pub struct LineFilter {
    pub is_negated: bool,
    pub alternatives: Vec<LinePattern>,
}

#[derive(Clone, Debug)]
pub enum LinePattern {
    /// Occurs in the line, byte for byte. An empty one occurs in every line.
    Literal(Box<str>),
    /// Matches somewhere in the line. `required`: a text that every matching line holds, perhaps empty.
    Regex { regex: Arc<BoundedRegex>, required: Box<str> },
}

impl LineFilter {
    pub fn contains(text: &str) -> LineFilter {
        LineFilter { is_negated: false, alternatives: vec![LinePattern::Literal(text.into())] }
    }

    /// What is said once the lookout has given up means nothing.
    pub fn matches(&self, line: &str, lookout: &Lookout<'_>) -> bool {
        self.alternatives.iter().any(|pattern| pattern.is_in(line, lookout)) != self.is_negated
    }
}

impl LinePattern {
    pub fn is_in(&self, line: &str, lookout: &Lookout<'_>) -> bool {
        match self {
            LinePattern::Literal(text) => memchr::memmem::find(line.as_bytes(), text.as_bytes()).is_some(),
            LinePattern::Regex { regex, .. } => regex.is_match_within(line, lookout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StopSign;

    fn matches(filter: &LineFilter, line: &str) -> bool {
        filter.matches(line, &Lookout::new(&StopSign::never()))
    }

    #[test]
    fn a_filter_holds_if_any_alternative_occurs() {
        let mut filter = LineFilter::contains("b");
        filter.alternatives.push(LinePattern::Literal("x".into()));
        assert!(matches(&filter, "abc") && matches(&filter, "xyz") && !matches(&filter, "a"));
        filter.is_negated = true;
        assert!(!matches(&filter, "abc") && !matches(&filter, "xyz") && matches(&filter, "a"));
    }

    #[test]
    fn a_regular_expression_matches_anywhere_in_the_line() {
        let regex = Arc::new(BoundedRegex::new("b+c").unwrap());
        let filter = LineFilter {
            is_negated: false,
            alternatives: vec![LinePattern::Regex { regex, required: "bc".into() }],
        };
        assert!(matches(&filter, "abbbcd") && !matches(&filter, "abd"));
    }
}
