//! Selectors and what modifies them: `name{label="value"}[range] anchored @ at offset by`, and subqueries.

use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher, Timestamp};

use super::ast::{
    At, BinaryOp, Duration, Edges, Expr, ExprKind, MatrixSelector, PositionRange, Subquery, VectorSelector,
};
use super::parser::{Parsed, Parser};
use super::token::{Keyword, TokenKind};
use crate::query::lexical::strings::quote;

const MATCHING: &str = "label matching";

impl Parser<'_> {
    /// `name`, `name{…}` or `{…}`.
    pub(super) fn selector(&mut self) -> Parsed<Expr> {
        let mut position = self.position();
        let name = if self.peek() == &TokenKind::LeftBrace {
            None
        } else {
            let name = self.word().to_owned();
            self.advance();
            Some(name)
        };
        let mut matchers: Vec<Matcher> =
            name.iter().map(|name| Matcher::equal(METRIC_NAME, name.as_str())).collect();
        if self.accept(&TokenKind::LeftBrace).is_some() {
            position = position.to(self.matchers(&mut matchers)?);
        }
        let selector =
            VectorSelector { name, matchers, offset: Duration::ZERO, at: None, edges: Edges::Plain };
        self.node(position, ExprKind::VectorSelector(selector))
    }

    /// What stands between braces, and where they close.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<PositionRange> {
        if let Some(close) = self.accept(&TokenKind::RightBrace) {
            return Ok(close);
        }
        loop {
            let matcher = self.matcher()?;
            matchers.push(matcher);
            if self.accept(&TokenKind::Comma).is_none() && self.peek() != &TokenKind::RightBrace {
                return Err(self.unexpected(MATCHING, "\",\" or \"}\""));
            }
            if let Some(close) = self.accept(&TokenKind::RightBrace) {
                return Ok(close);
            }
        }
    }

    /// `label="value"`, `"label"="value"`, or `"metric name"` alone.
    fn matcher(&mut self) -> Parsed<Matcher> {
        let start = self.position();
        let (name, may_stand_alone) = match self.peek() {
            TokenKind::Identifier => (self.word().to_owned(), false),
            TokenKind::String(name) => (self.utf8(name.clone(), start)?, true),
            _ => return Err(self.unexpected(MATCHING, "identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek() {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::RegexMatch => MatchOp::Regex,
            TokenKind::RegexNoMatch => MatchOp::NotRegex,
            _ if may_stand_alone => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(MATCHING, "label matching operator")),
        };
        self.advance();
        let value_at = self.position();
        let TokenKind::String(value) = self.peek() else {
            return Err(self.unexpected(MATCHING, "string"));
        };
        let value = self.utf8(value.clone(), value_at)?;
        self.advance();
        self.build_matcher(name, op, value, start.to(value_at))
    }

    fn build_matcher(
        &self,
        name: String,
        op: MatchOp,
        value: String,
        position: PositionRange,
    ) -> Parsed<Matcher> {
        let made = match &self.options.regex_cache {
            Some(cache) => Matcher::cached(name, op, value, cache),
            None => Matcher::new(name, op, value),
        };
        made.map_err(|error| self.error(position, error.to_string()))
    }

    /// Strings are bytes, names and values of labels are text: no stored series could have other ones.
    fn utf8(&self, bytes: Vec<u8>, position: PositionRange) -> Parsed<String> {
        String::from_utf8(bytes).map_err(|error| {
            let text = quote(error.as_bytes());
            self.error(position, format!("label name or value {text} is not valid UTF-8"))
        })
    }

    /// All that may follow an expression and binds tighter than any operator.
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            match self.peek() {
                TokenKind::LeftBracket => expr = self.range(expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                TokenKind::At => self.at_modifier(&mut expr)?,
                TokenKind::Keyword(Keyword::Anchored) => self.edges(&mut expr, Edges::Anchored)?,
                TokenKind::Keyword(Keyword::Smoothed) => self.edges(&mut expr, Edges::Smoothed)?,
                _ => return Ok(expr),
            }
        }
    }

    /// `[range]` or `[range:step]`.
    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance();
        let range = self.duration("subquery or range selector")?;
        if self.accept(&TokenKind::Colon).is_none() {
            let close =
                self.expect(&TokenKind::RightBracket, "subquery or range selector", "\":\" or \"]\"")?;
            return self.matrix_selector(expr, range, open, close);
        }
        let step = if self.peek() == &TokenKind::RightBracket {
            None
        } else {
            Some(self.duration("subquery selector")?)
        };
        let close = self.expect(&TokenKind::RightBracket, "subquery selector", "\"]\"")?;
        let position = expr.position.to(close);
        let expr = Box::new(expr);
        let subquery = Subquery { expr, range, step, offset: Duration::ZERO, at: None };
        self.node(position, ExprKind::Subquery(subquery))
    }

    fn matrix_selector(
        &mut self,
        expr: Expr,
        range: Duration,
        open: PositionRange,
        close: PositionRange,
    ) -> Parsed<Expr> {
        let bracket = open.to(close);
        let ExprKind::VectorSelector(selector) = expr.kind else {
            return Err(self.error(bracket, "ranges only allowed for vector selectors"));
        };
        if selector.offset != Duration::ZERO {
            return Err(self.error(bracket, "no offset modifiers allowed before range"));
        }
        if selector.at.is_some() {
            return Err(self.error(bracket, "no @ modifiers allowed before range"));
        }
        let position = expr.position.to(close);
        self.node(position, ExprKind::MatrixSelector(MatrixSelector { selector, range }))
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.advance();
        let duration = self.offset_duration()?;
        let end = self.last_position();
        let Some((offset, _)) = modifiers(expr) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector \
                           selector or a subquery";
            return Err(self.error(expr.position, message));
        };
        if *offset != Duration::ZERO {
            return Err(self.error(expr.position, "offset may not be set multiple times"));
        }
        *offset = duration;
        expr.position = expr.position.to(end);
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.advance();
        let new_at = self.at_value()?;
        let end = self.last_position();
        let Some((_, at)) = modifiers(expr) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector \
                           selector or a subquery";
            return Err(self.error(expr.position, message));
        };
        if at.is_some() {
            return Err(self.error(expr.position, "@ <timestamp> may not be set multiple times"));
        }
        *at = Some(new_at);
        expr.position = expr.position.to(end);
        Ok(())
    }

    fn at_value(&mut self) -> Parsed<At> {
        let at = match self.peek() {
            TokenKind::Keyword(Keyword::Start) => At::Start,
            TokenKind::Keyword(Keyword::End) => At::End,
            _ => {
                let start = self.position();
                let sign = self.sign();
                let seconds = self.number_literal("@", "timestamp")?.signed(sign).value;
                return match timestamp_of_seconds(seconds) {
                    Some(timestamp) => Ok(At::Timestamp(timestamp)),
                    None => {
                        let message =
                            format!("timestamp out of bounds for @ modifier: {}", go_float(seconds));
                        Err(self.error(start, message))
                    }
                };
            }
        };
        self.advance();
        self.expect(&TokenKind::LeftParen, "@", "\"(\"")?;
        self.expect(&TokenKind::RightParen, "@", "\")\"")?;
        Ok(at)
    }

    fn edges(&mut self, expr: &mut Expr, edges: Edges) -> Parsed<()> {
        let keyword = self.word().to_ascii_lowercase();
        let position = self.advance();
        if !self.options.extended_range_selectors {
            let message = format!("{keyword} modifier is experimental and not enabled");
            return Err(self.error(position, message));
        }
        let selector = match &mut expr.kind {
            ExprKind::VectorSelector(selector) => selector,
            ExprKind::MatrixSelector(matrix) => &mut matrix.selector,
            ExprKind::Subquery(_) => {
                let message = format!("{keyword} modifier is not supported for subqueries");
                return Err(self.error(position, message));
            }
            _ => return Err(self.error(position, format!("{keyword} modifier not implemented"))),
        };
        if selector.edges != Edges::Plain && selector.edges != edges {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(self.error(position, message));
        }
        selector.edges = edges;
        expr.position = expr.position.to(position);
        Ok(())
    }
}

/// Where the offset and `@` of an expression go, if it can have them.
fn modifiers(expr: &mut Expr) -> Option<(&mut Duration, &mut Option<At>)> {
    match &mut expr.kind {
        ExprKind::VectorSelector(selector) => Some((&mut selector.offset, &mut selector.at)),
        ExprKind::MatrixSelector(matrix) => Some((&mut matrix.selector.offset, &mut matrix.selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

fn timestamp_of_seconds(seconds: f64) -> Option<Timestamp> {
    let ms = (seconds * 1000.0).round();
    // 2^63 itself is out, and so is NaN.
    (ms.abs() < i64::MAX as f64).then_some(ms as Timestamp)
}

/// As Go's `%f` writes it.
fn go_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{value:.6}")
}
