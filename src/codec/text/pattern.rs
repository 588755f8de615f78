//! A line filter made ready to be tried on many texts.

use memchr::memmem::Finder;

use crate::model::bounded_regex::BoundedRegex;
use crate::model::{LineFilter, LinePattern, Lookout};

pub struct Patterns<'a> {
    pub is_negated: bool,
    pub alternatives: Vec<Pattern<'a>>,
}

pub enum Pattern<'a> {
    Literal(Finder<'a>),
    Regex { regex: &'a BoundedRegex, required: Finder<'a>, lookout: &'a Lookout<'a> },
}

impl<'a> Patterns<'a> {
    pub fn new(filter: &'a LineFilter, lookout: &'a Lookout<'a>) -> Patterns<'a> {
        let alternatives = filter.alternatives.iter().map(|pattern| match pattern {
            LinePattern::Literal(text) => Pattern::Literal(Finder::new(text.as_bytes())),
            LinePattern::Regex { regex, required } => {
                Pattern::Regex { regex, required: Finder::new(required.as_bytes()), lookout }
            }
        });
        Patterns { is_negated: filter.is_negated, alternatives: alternatives.collect() }
    }

    /// What [`LineFilter::matches`] says, if the lookout has not given up.
    pub fn holds_for(&self, text: &str) -> bool {
        self.alternatives.iter().any(|pattern| pattern.is_in(text)) != self.is_negated
    }
}

impl Pattern<'_> {
    pub fn is_in(&self, text: &str) -> bool {
        self.required().find(text.as_bytes()).is_some() && self.is_in_candidate(text)
    }

    /// The same of a text that holds what is required.
    pub fn is_in_candidate(&self, text: &str) -> bool {
        match self {
            Pattern::Literal(_) => true,
            Pattern::Regex { regex, lookout, .. } => {
                !lookout.gives_up_before(text.len()) && regex.is_match_within(text, lookout)
            }
        }
    }

    /// A text that every text this pattern is in holds, perhaps empty.
    pub fn required(&self) -> &Finder<'_> {
        match self {
            Pattern::Literal(finder) | Pattern::Regex { required: finder, .. } => finder,
        }
    }
}
