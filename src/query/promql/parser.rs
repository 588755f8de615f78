//! Tokens to a syntax tree: the doors, the limits, and operator precedence. Calls and aggregations are read in
//! `parse_calls.rs`, selectors in `parse_selectors.rs`, matchings in `parse_matching.rs`, durations in
//! `parse_durations.rs`; `check.rs` then looks at the types.
//!
//! Recursion is counted before it happens, so no text overflows the stack, and nodes are counted as they are
//! made: a hostile query ends at the first limit it meets, after work linear in what was read so far.

use std::sync::Arc;

use crate::model::{Matcher, RegexCache};

use super::ast::{Binary, BinaryOp, Expr, ExprKind, NumberLiteral, PositionRange, Unary, UnaryOp};
use super::check::{check, check_alone};
use super::error::ParseError;
use super::lexer::tokens;
use super::token::{Keyword, Token, TokenKind, names_metric};

pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Parentheses, calls, signs and powers inside each other.
pub const DEPTH_MAX: usize = 64;
pub const NODES_MAX: usize = 2_000;
/// Levels of the finished tree, so that whoever walks it may recurse: `a + b + c + …` is as deep as it is long.
pub const TREE_DEPTH_MAX: usize = 256;

/// What the language has beyond its stable core. Duration expressions are part of the core since 3.14.
#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// Functions and aggregators that Prometheus marks as experimental.
    pub experimental_functions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
    /// The most regex matchers one query may have.
    pub regexes_max: usize,
    /// Where compiled regexes are kept from query to query.
    pub regex_cache: Option<Arc<RegexCache>>,
}

/// Those of a Prometheus 3.14 server without feature flags.
impl Default for ParseOptions {
    fn default() -> ParseOptions {
        ParseOptions {
            experimental_functions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
            regexes_max: 64,
            regex_cache: None,
        }
    }
}

impl ParseOptions {
    /// Everything the language has.
    pub fn all() -> ParseOptions {
        ParseOptions {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            ..ParseOptions::default()
        }
    }
}

/// Parses and type-checks one expression.
pub fn parse(text: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, options)?;
    if parser.peek() == &TokenKind::End {
        return Err(ParseError::new(text, PositionRange::default(), "no expression found in input"));
    }
    let mut expr = parser.expr(0)?;
    parser.expect_end()?;
    if tree_depth(&expr) > TREE_DEPTH_MAX {
        let message = format!("query chains more than {TREE_DEPTH_MAX} operators");
        return Err(ParseError::new(text, expr.position, message));
    }
    check(text, &mut expr)?;
    Ok(expr)
}

/// Parses a bare selector, as `match[]` has it: the matchers that a series must pass.
pub fn parse_selector(text: &str, options: &ParseOptions) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text, options)?;
    if !names_metric(parser.peek()) && parser.peek() != &TokenKind::LeftBrace {
        return Err(parser.unexpected("", ""));
    }
    let expr = parser.selector()?;
    parser.expect_end()?;
    match expr.kind {
        ExprKind::VectorSelector(selector) => {
            check_alone(text, expr.position, &selector)?;
            Ok(selector.matchers)
        }
        _ => unreachable!("a selector was parsed"),
    }
}

/// The levels of a tree, without recursion.
fn tree_depth(expr: &Expr) -> usize {
    let (mut deepest, mut open) = (0, vec![(expr, 1)]);
    while let Some((expr, depth)) = open.pop() {
        deepest = deepest.max(depth);
        open.extend(expr.children().into_iter().map(|child| (child, depth + 1)));
    }
    deepest
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) options: &'a ParseOptions,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    node_count: usize,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

/// How tightly operators bind; a unary sign binds like `*`.
const MULTIPLICATION: u8 = 5;
const POWER: u8 = 6;

fn binding(op: BinaryOp) -> u8 {
    use BinaryOp::*;
    match op {
        Or => 1,
        And | Unless => 2,
        Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | TrimUpper | TrimLower => 3,
        Add | Subtract => 4,
        Multiply | Divide | Modulo | Atan2 => MULTIPLICATION,
        Power => POWER,
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, options: &'a ParseOptions) -> Parsed<Parser<'a>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("query longer than {TEXT_BYTES_MAX} bytes");
            return Err(ParseError::new("", PositionRange::default(), message));
        }
        let tokens = tokens(text);
        // Before the first of them is compiled.
        let is_regex = |token: &&Token| matches!(token.kind, TokenKind::RegexMatch | TokenKind::RegexNoMatch);
        if let Some(token) = tokens.iter().filter(is_regex).nth(options.regexes_max) {
            let message = format!("query has more than {} regular expressions", options.regexes_max);
            return Err(ParseError::new(text, token.position, message));
        }
        Ok(Parser { text, options, tokens, at: 0, depth: 0, node_count: 0 })
    }

    pub(super) fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    /// The token behind the next one.
    fn peek_second(&self) -> Option<&TokenKind> {
        self.tokens.get(self.at + 1).map(|token| &token.kind)
    }

    pub(super) fn position(&self) -> PositionRange {
        self.tokens[self.at].position
    }

    pub(super) fn word(&self) -> &'a str {
        let position = self.position();
        &self.text[position.start as usize..position.end as usize]
    }

    /// Takes the next token; the last one stays.
    pub(super) fn advance(&mut self) -> PositionRange {
        let position = self.position();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        position
    }

    /// Of the token taken last.
    pub(super) fn last_position(&self) -> PositionRange {
        self.tokens[self.at.saturating_sub(1)].position
    }

    pub(super) fn accept(&mut self, kind: &TokenKind) -> Option<PositionRange> {
        (self.peek() == kind).then(|| self.advance())
    }

    pub(super) fn expect(
        &mut self,
        kind: &TokenKind,
        context: &str,
        expected: &str,
    ) -> Parsed<PositionRange> {
        self.accept(kind).ok_or_else(|| self.unexpected(context, expected))
    }

    pub(super) fn accept_keyword(&mut self, keyword: Keyword) -> Option<PositionRange> {
        self.accept(&TokenKind::Keyword(keyword))
    }

    fn expect_end(&mut self) -> Parsed<()> {
        self.expect(&TokenKind::End, "", "").map(|_| ())
    }

    pub(super) fn error(&self, position: PositionRange, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, position, message)
    }

    /// The complaint about the next token; the lexer's own where lexing stopped there.
    pub(super) fn unexpected(&self, context: &str, expected: &str) -> ParseError {
        let token = &self.tokens[self.at];
        if let TokenKind::Error(error) = &token.kind {
            return error.clone();
        }
        let mut message = format!("unexpected {}", token.describe(self.text));
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        self.error(token.position, message)
    }

    /// Counts one level of recursion, down and up again.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(self.position(), format!("query nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    pub(super) fn node_count(&self) -> usize {
        self.node_count
    }

    pub(super) fn count_node(&mut self, position: PositionRange) -> Parsed<()> {
        self.node_count += 1;
        if self.node_count > NODES_MAX {
            return Err(self.error(position, format!("query has more than {NODES_MAX} nodes")));
        }
        Ok(())
    }

    pub(super) fn node(&mut self, position: PositionRange, kind: ExprKind) -> Parsed<Expr> {
        self.count_node(position)?;
        Ok(Expr { position, kind })
    }

    /// An expression whose operators all bind tighter than `floor`.
    pub(super) fn expr(&mut self, floor: u8) -> Parsed<Expr> {
        let mut lhs = self.prefix()?;
        while let TokenKind::Operator(op) = *self.peek() {
            let binding = binding(op);
            if binding <= floor {
                break;
            }
            self.advance();
            let (return_bool, matching) = self.matching(op)?;
            let rhs = if op == BinaryOp::Power {
                // Right-associative: the exponent may hold further powers.
                self.nested(|parser| parser.expr(binding - 1))?
            } else {
                self.expr(binding)?
            };
            let position = lhs.position.to(rhs.position);
            let binary = Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs), return_bool, matching };
            lhs = self.node(position, ExprKind::Binary(binary))?;
        }
        Ok(lhs)
    }

    fn prefix(&mut self) -> Parsed<Expr> {
        let op = match self.peek() {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Subtract) => UnaryOp::Minus,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        let sign = self.advance();
        let expr = self.nested(|parser| parser.expr(MULTIPLICATION))?;
        let position = sign.to(expr.position);
        if let ExprKind::Number(number) = expr.kind {
            return Ok(Expr { position, kind: ExprKind::Number(number.signed(op)) });
        }
        self.node(position, ExprKind::Unary(Unary { op, expr: Box::new(expr) }))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let second = self.peek_second();
        let before_paren = second == Some(&TokenKind::LeftParen);
        let before_grouping =
            matches!(second, Some(TokenKind::Keyword(Keyword::By | Keyword::Without))) || before_paren;
        match self.peek() {
            TokenKind::Number(value, is_duration) => {
                let number = NumberLiteral { value: *value, is_duration: *is_duration };
                let position = self.advance();
                self.node(position, ExprKind::Number(number))
            }
            TokenKind::String(value) => {
                let value = value.clone();
                let position = self.advance();
                self.node(position, ExprKind::String(value))
            }
            TokenKind::LeftParen => self.paren(),
            TokenKind::Aggregator(op) if before_grouping => {
                let op = *op;
                self.aggregate(op)
            }
            TokenKind::Identifier if before_paren => self.call(),
            TokenKind::Keyword(keyword) if before_paren && keyword.names_function() => self.call(),
            TokenKind::LeftBrace => self.selector(),
            kind if names_metric(kind) => self.selector(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn paren(&mut self) -> Parsed<Expr> {
        let open = self.advance();
        let inner = self.nested(|parser| parser.expr(0))?;
        let close = self.expect(&TokenKind::RightParen, "", "")?;
        self.node(open.to(close), ExprKind::Paren(Box::new(inner)))
    }
}

impl NumberLiteral {
    /// This literal behind a sign.
    pub(super) fn signed(self, op: UnaryOp) -> NumberLiteral {
        match op {
            UnaryOp::Plus => self,
            UnaryOp::Minus => NumberLiteral { value: -self.value, ..self },
        }
    }
}
