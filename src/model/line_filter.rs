//! A condition on the text of a log line: `|= "a" or "b"`, `!~ "x.*"`.
//!
//! Storage evaluates these where the lines lie, often without putting the lines together; so they are plain data,
//! and [`LineFilter::matches`] is what they mean.

use std::sync::Arc;

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
    Regex { regex: Arc<regex::bytes::Regex>, required: Box<str> },
}

impl LineFilter {
    pub fn contains(text: &str) -> LineFilter {
        LineFilter { is_negated: false, alternatives: vec![LinePattern::Literal(text.into())] }
    }

    pub fn matches(&self, line: &str) -> bool {
        self.alternatives.iter().any(|pattern| pattern.is_in(line)) != self.is_negated
    }
}

impl LinePattern {
    pub fn is_in(&self, line: &str) -> bool {
        match self {
            LinePattern::Literal(text) => memchr::memmem::find(line.as_bytes(), text.as_bytes()).is_some(),
            LinePattern::Regex { regex, .. } => regex.is_match(line.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_if_any_alternative_occurs() {
        let mut filter = LineFilter::contains("b");
        filter.alternatives.push(LinePattern::Literal("x".into()));
        assert!(filter.matches("abc") && filter.matches("xyz") && !filter.matches("a"));
        filter.is_negated = true;
        assert!(!filter.matches("abc") && !filter.matches("xyz") && filter.matches("a"));
    }

    #[test]
    fn a_regular_expression_matches_anywhere_in_the_line() {
        let regex = Arc::new(regex::bytes::Regex::new("b+c").unwrap());
        let filter = LineFilter {
            is_negated: false,
            alternatives: vec![LinePattern::Regex { regex, required: "bc".into() }],
        };
        assert!(filter.matches("abbbcd") && !filter.matches("abd"));
    }
}
