//! Tokens to a checked syntax tree: the doors, the limits, and what all rules share. Metric expressions are read in
//! `parse_metrics.rs`, selectors and pipelines in `parse_stages.rs`, label filters in `parse_filters.rs`.
//!
//! Recursion is counted before it happens, so no text overflows the stack, and nodes and regular expressions are
//! counted as they are made: a hostile query ends at the first limit it meets, after work linear in what was read.

use std::sync::Arc;

use crate::model::regex::LabelRegex;
use crate::model::{MatchOp, Matcher, RegexCache};
use crate::query::lexical::PositionRange;

use super::ast::{Expr, MetricExpr};
use super::error::ParseError;
use super::label_name::sanitised;
use super::lexer::tokens;
use super::parse_stages::LogBody;
use super::token::{Keyword, Sign, Token, TokenKind};

pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Parentheses, calls and powers inside each other, and label filters that commas put inside the one before.
pub const DEPTH_MAX: usize = 64;
/// Expressions, matchers, stages, filters and names in lists.
pub const NODES_MAX: usize = 2_000;
/// Levels of the finished tree, so that whoever walks it may recurse: `a + b + c + …` is as deep as it is long.
pub const TREE_DEPTH_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// The most regular expressions one query may have.
    pub regexes_max: usize,
    /// Where compiled matchers are kept from query to query.
    pub regex_cache: Option<Arc<RegexCache>>,
}

impl Default for ParseOptions {
    fn default() -> ParseOptions {
        ParseOptions { regexes_max: 64, regex_cache: None }
    }
}

/// Parses and checks one query.
pub fn parse(text: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, options)?;
    let operand = parser.expr(0)?;
    parser.expect_end()?;
    match operand {
        Operand::Log(body) => Ok(Expr::Log(parser.log_expr(body)?)),
        Operand::Metric(expr) => {
            parser.check_tree_depth(&expr)?;
            Ok(Expr::Metric(expr))
        }
    }
}

/// Parses a bare selector, as `match[]` has it. Here it may let every stream through: `{}`.
pub fn parse_selector(text: &str, options: &ParseOptions) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text, options)?;
    let (_, matchers) = parser.selector()?;
    parser.expect_end()?;
    Ok(matchers)
}

/// What stands on a side of an operator, or in parentheses.
pub(super) enum Operand {
    Log(LogBody),
    Metric(MetricExpr),
}

pub(super) struct Parser<'a> {
    text: &'a str,
    options: &'a ParseOptions,
    tokens: Vec<Token>,
    at: usize,
    pub(super) depth: usize,
    node_count: usize,
    regex_count: usize,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: &'a ParseOptions) -> Parsed<Parser<'a>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("query longer than {TEXT_BYTES_MAX} bytes");
            return Err(ParseError::new("", PositionRange::default(), message));
        }
        let tokens = tokens(text);
        Ok(Parser { text, options, tokens, at: 0, depth: 0, node_count: 0, regex_count: 0 })
    }

    pub(super) fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    /// The kind of the token behind the next.
    pub(super) fn peek_second(&self) -> &TokenKind {
        self.peek_ahead(1)
    }

    /// The kind of the token `skipped` behind the next; `End` where there is none.
    pub(super) fn peek_ahead(&self, skipped: usize) -> &TokenKind {
        self.tokens.get(self.at + skipped).map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn peek_sign(&self) -> Option<Sign> {
        match self.peek() {
            TokenKind::Sign(sign) => Some(*sign),
            _ => None,
        }
    }

    pub(super) fn peek_keyword(&self) -> Option<Keyword> {
        match self.peek() {
            TokenKind::Word(keyword) => *keyword,
            _ => None,
        }
    }

    pub(super) fn position(&self) -> PositionRange {
        self.tokens[self.at].position
    }

    /// Where the token before the next one stands.
    pub(super) fn last_position(&self) -> PositionRange {
        self.tokens[self.at.saturating_sub(1)].position
    }

    /// The text of the next token.
    pub(super) fn word(&self) -> &'a str {
        let position = self.position();
        &self.text[position.start as usize..position.end as usize]
    }

    /// Goes on to the token behind the next one, and says where that stood. The last token is never left.
    pub(super) fn advance(&mut self) -> PositionRange {
        let position = self.position();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        position
    }

    pub(super) fn accept(&mut self, sign: Sign) -> Option<PositionRange> {
        (self.peek_sign() == Some(sign)).then(|| self.advance())
    }

    pub(super) fn accept_keyword(&mut self, keyword: Keyword) -> Option<PositionRange> {
        (self.peek_keyword() == Some(keyword)).then(|| self.advance())
    }

    pub(super) fn expect(&mut self, sign: Sign, expected: &str) -> Parsed<PositionRange> {
        self.accept(sign).ok_or_else(|| self.unexpected(expected))
    }

    fn expect_end(&self) -> Parsed<()> {
        match self.peek() {
            TokenKind::End => Ok(()),
            TokenKind::Word(Some(Keyword::Offset)) => {
                Err(self.unexpected("end of query: offset follows a range"))
            }
            _ => Err(self.unexpected("an operator or end of query")),
        }
    }

    pub(super) fn expect_string(&mut self) -> Parsed<String> {
        let TokenKind::String(value) = self.peek() else {
            return Err(self.unexpected("STRING"));
        };
        let value = value.clone();
        self.advance();
        Ok(value)
    }

    pub(super) fn error(&self, position: PositionRange, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, position, message)
    }

    /// The complaint about the next token; the lexer's own where lexing stopped there.
    pub(super) fn unexpected(&self, expected: &str) -> ParseError {
        let token = &self.tokens[self.at];
        if let TokenKind::Error(error) = &token.kind {
            return error.clone();
        }
        let message = format!("syntax error: unexpected {}, expecting {expected}", token.describe(self.text));
        self.error(token.position, message)
    }

    /// Counts one level of recursion, down and up again.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.descend()?;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// Counts one level of the tree, until who calls it counts as before.
    pub(super) fn descend(&mut self) -> Parsed<()> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(self.position(), format!("query nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn count_node(&mut self, position: PositionRange) -> Parsed<()> {
        self.node_count += 1;
        if self.node_count > NODES_MAX {
            return Err(self.error(position, format!("query has more than {NODES_MAX} nodes")));
        }
        Ok(())
    }

    /// To be called before a regular expression is compiled.
    pub(super) fn count_regex(&mut self, position: PositionRange) -> Parsed<()> {
        self.regex_count += 1;
        let max = self.options.regexes_max;
        if self.regex_count > max {
            return Err(self.error(position, format!("query has more than {max} regular expressions")));
        }
        Ok(())
    }

    /// A label's name: any word, or in quotes any key, which becomes the label that stands for it.
    pub(super) fn label_name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            TokenKind::Word(_) => self.word().to_owned(),
            TokenKind::String(name) if !name.is_empty() => sanitised(name).into_owned(),
            _ => return Err(self.unexpected("a label name")),
        };
        self.advance();
        Ok(name)
    }

    /// One or more items with commas between, and perhaps one behind the last.
    pub(super) fn separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.count_node(self.position())?;
            items.push(item(self)?);
            let is_more = self.accept(Sign::Comma).is_some()
                && matches!(self.peek(), TokenKind::Word(_) | TokenKind::String(_));
            if !is_more {
                return Ok(items);
            }
        }
    }

    /// `(a, b)`, which may be empty.
    pub(super) fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect(Sign::LeftParen, "\"(\"")?;
        if self.accept(Sign::RightParen).is_some() {
            return Ok(Vec::new());
        }
        let labels = self.separated(Self::label_name)?;
        self.expect(Sign::RightParen, "\",\" or \")\"")?;
        Ok(labels)
    }

    pub(super) fn matcher(
        &mut self,
        name: String,
        op: MatchOp,
        value: String,
        position: PositionRange,
    ) -> Parsed<Matcher> {
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            self.count_regex(position)?;
        }
        let made = match &self.options.regex_cache {
            Some(cache) => Matcher::cached(name, op, value, cache),
            None => Matcher::new(name, op, value),
        };
        made.map_err(|error| self.error(position, error.to_string()))
    }

    pub(super) fn check_label_regex(&mut self, pattern: &str, position: PositionRange) -> Parsed<()> {
        self.count_regex(position)?;
        match &self.options.regex_cache {
            Some(cache) => cache.get(pattern).map(drop),
            None => LabelRegex::new(pattern).map(drop),
        }
        .map_err(|error| self.error(position, error.to_string()))
    }

    /// Looks at the levels of a tree, without recursion. Those of label filters are no more than twice what is nested.
    fn check_tree_depth(&self, expr: &MetricExpr) -> Parsed<()> {
        let mut open = vec![(expr, 1)];
        while let Some((expr, depth)) = open.pop() {
            if depth > TREE_DEPTH_MAX {
                let message = format!("query chains more than {TREE_DEPTH_MAX} operators");
                return Err(self.error(expr.position, message));
            }
            open.extend(expr.children().into_iter().map(|child| (child, depth + 1)));
        }
        Ok(())
    }
}
