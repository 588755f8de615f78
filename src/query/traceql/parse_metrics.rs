//! Metrics stages and hints: their grammar is read in full, so that a typo is told apart from what does not run yet.

use super::lexer::TokenKind;
use super::parser::{Parser, comparison};
use super::position::ParseError;

/// What stands between the parentheses of a first stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    Nothing,
    Attribute,
    AttributeAndQuantiles,
    Comparison,
}

const FIRST_STAGES: [(&str, Arguments); 9] = [
    ("rate", Arguments::Nothing),
    ("count_over_time", Arguments::Nothing),
    ("min_over_time", Arguments::Attribute),
    ("max_over_time", Arguments::Attribute),
    ("sum_over_time", Arguments::Attribute),
    ("avg_over_time", Arguments::Attribute),
    ("histogram_over_time", Arguments::Attribute),
    ("quantile_over_time", Arguments::AttributeAndQuantiles),
    ("compare", Arguments::Comparison),
];

/// The name, if it is that of a metrics function.
pub(super) fn is_metrics_word(word: &str) -> Option<&'static str> {
    FIRST_STAGES.iter().find(|(name, _)| *name == word).map(|(name, _)| *name)
}

impl Parser<'_> {
    /// From the function on to the end of the metrics pipeline.
    pub(super) fn metrics_stages(&mut self, function: &'static str) -> Result<(), ParseError> {
        self.advance();
        self.expect(&TokenKind::LeftParen, &format!("'(' after {function}"))?;
        let known = FIRST_STAGES.iter().find(|(name, _)| *name == function);
        match known.map_or(Arguments::Nothing, |(_, arguments)| *arguments) {
            Arguments::Nothing => {}
            Arguments::Attribute => drop(self.field_expr()?),
            Arguments::AttributeAndQuantiles => {
                self.field_expr()?;
                self.expect(&TokenKind::Comma, "',' and a quantile")?;
                self.numbers("a quantile between 0 and 1")?;
            }
            Arguments::Comparison => {
                self.spanset_filter()?;
                if self.accept(&TokenKind::Comma) {
                    self.numbers("a number")?;
                }
            }
        }
        self.expect(&TokenKind::RightParen, &format!("')' at the end of {function}"))?;
        if self.accept_word("by") {
            self.field_list("by")?;
        }
        self.metrics_second_stages()
    }

    /// `| topk(5)`, `> 10`.
    pub(super) fn metrics_second_stages(&mut self) -> Result<(), ParseError> {
        loop {
            if comparison(self.peek()).is_some() {
                self.advance();
                self.static_number("a number or duration to compare with")?;
            } else if self.accept(&TokenKind::Pipe) {
                if !(self.accept_word("topk") || self.accept_word("bottomk")) {
                    return Err(self.unexpected("topk or bottomk after a metrics function"));
                }
                self.expect(&TokenKind::LeftParen, "'('")?;
                self.static_number("how many")?;
                self.expect(&TokenKind::RightParen, "')'")?;
            } else {
                return Ok(());
            }
        }
    }

    /// One number or more, with commas between.
    fn numbers(&mut self, what: &str) -> Result<(), ParseError> {
        loop {
            self.static_number(what)?;
            if !self.accept(&TokenKind::Comma) {
                return Ok(());
            }
        }
    }

    fn static_number(&mut self, what: &str) -> Result<(), ParseError> {
        self.accept(&TokenKind::Subtract);
        match self.peek() {
            TokenKind::Int(_) | TokenKind::Float(_) | TokenKind::Duration(_) => {
                self.advance();
                Ok(())
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// `with(name=value, …)`. Hints trade exactness for time, or ask for the most recent traces; here answers are exact
    /// and the most recent come first anyway.
    pub(super) fn hints(&mut self) -> Result<(), ParseError> {
        if !self.accept_word("with") {
            return Ok(());
        }
        self.expect(&TokenKind::LeftParen, "'(' after with")?;
        loop {
            match self.peek() {
                TokenKind::Word(_) => self.advance(),
                _ => return Err(self.unexpected("the name of a hint")),
            };
            self.expect(&TokenKind::Equal, "'=' after the name of a hint")?;
            match self.peek() {
                TokenKind::Word(word) if word == "true" || word == "false" => drop(self.advance()),
                TokenKind::Text(_) => drop(self.advance()),
                _ => self.static_number("true, false, a number or a string")?,
            }
            if !self.accept(&TokenKind::Comma) {
                return self.expect(&TokenKind::RightParen, "',' or ')'");
            }
        }
    }
}
