//! Tokens to syntax tree: pipelines and what stands between spansets. Expressions inside braces: `parse_field.rs`.
//!
//! A spanset, a number that aggregates make of it, and a metrics pipeline begin alike, with a parenthesis say; so all
//! are read as a [`Term`], and the operators that join terms say what goes together.

use std::sync::Arc;

use super::ast::{
    AggregateOp, BinaryOp, Pipeline, Query, Relation, ScalarExpr, ScalarFilter, SpansetExpr, SpansetOp, Stage,
};
use super::check::check;
use super::lexer::{Token, TokenKind, tokens};
use super::parse_metrics::is_metrics_word;
use super::position::ParseError;
use super::value::Value;
use crate::model::RegexCache;
use crate::model::regex::{LabelRegex, RegexError};

/// Parentheses, operators and pipelines inside one another.
pub const DEPTH_MAX: usize = 64;
pub const QUERY_BYTES_MAX: usize = 16 << 10;

/// What a query may use.
#[derive(Clone, Copy, Debug)]
pub struct ParseOptions<'a> {
    pub regexes_max: usize,
    pub regex_cache: Option<&'a RegexCache>,
}

/// Reads a query, and checks that what it compares can be compared.
pub fn parse(text: &str, options: ParseOptions) -> Result<Query, ParseError> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("query of {} bytes is longer than {QUERY_BYTES_MAX}", text.len());
        return Err(ParseError::new(text, 0, message));
    }
    let (tokens, broken) = tokens(text);
    let mut parser = Parser { text, tokens, next: 0, depth: 0, regexes: 0, options, broken };
    let query = parser.query()?;
    check(text, &query)?;
    Ok(query)
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    regexes: usize,
    options: ParseOptions<'a>,
    /// Why the tokens end before the text does; told when the parser gets there.
    broken: Option<ParseError>,
}

/// What two pipelines, spansets or numbers have in common: an operator may stand behind them.
pub(super) enum Term {
    Spansets(SpansetExpr),
    Scalar(ScalarExpr, usize),
    Filter(ScalarFilter),
    Metrics(&'static str, usize),
}

/// How tightly an operator between terms binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    Loosest,
    /// `&&` and `||` alike, from left to right, as in Tempo.
    Logic,
    Comparison,
    Sum,
    Product,
    Power,
}

pub(super) fn arithmetic(kind: &TokenKind) -> Option<(BinaryOp, Strength)> {
    Some(match kind {
        TokenKind::Add => (BinaryOp::Add, Strength::Sum),
        TokenKind::Subtract => (BinaryOp::Subtract, Strength::Sum),
        TokenKind::Multiply => (BinaryOp::Multiply, Strength::Product),
        TokenKind::Divide => (BinaryOp::Divide, Strength::Product),
        TokenKind::Modulo => (BinaryOp::Modulo, Strength::Product),
        TokenKind::Power => (BinaryOp::Power, Strength::Power),
        _ => return None,
    })
}

pub(super) fn comparison(kind: &TokenKind) -> Option<BinaryOp> {
    Some(match kind {
        TokenKind::Equal => BinaryOp::Equal,
        TokenKind::NotEqual => BinaryOp::NotEqual,
        TokenKind::Less => BinaryOp::Less,
        TokenKind::LessEqual => BinaryOp::LessEqual,
        TokenKind::Greater => BinaryOp::Greater,
        TokenKind::GreaterEqual => BinaryOp::GreaterEqual,
        _ => return None,
    })
}

fn spanset_op(kind: &TokenKind) -> Option<SpansetOp> {
    Some(match kind {
        TokenKind::And => SpansetOp::And,
        TokenKind::Or => SpansetOp::Or,
        TokenKind::Greater => SpansetOp::Related(Relation::Child),
        TokenKind::Less => SpansetOp::Related(Relation::Parent),
        TokenKind::Related(relation) => SpansetOp::Related(*relation),
        TokenKind::NotRelated(relation) => SpansetOp::NotRelated(*relation),
        TokenKind::NotMatches => SpansetOp::NotRelated(Relation::Sibling),
        TokenKind::Union(relation) => SpansetOp::Union(*relation),
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> &TokenKind {
        &self.tokens[self.next].kind
    }

    pub(super) fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    /// Takes the token; the last one, `End`, stays.
    pub(super) fn advance(&mut self) -> TokenKind {
        let kind = self.tokens[self.next].kind.clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        kind
    }

    pub(super) fn accept(&mut self, kind: &TokenKind) -> bool {
        let is_there = self.peek() == kind;
        if is_there {
            self.advance();
        }
        is_there
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let is_there = matches!(self.peek(), TokenKind::Word(found) if found == word);
        if is_there {
            self.advance();
        }
        is_there
    }

    pub(super) fn expect(&mut self, kind: &TokenKind, what: &str) -> Result<(), ParseError> {
        if self.accept(kind) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    /// The error of a token that should be something else.
    pub(super) fn unexpected(&self, wanted: &str) -> ParseError {
        if let (TokenKind::End, Some(broken)) = (self.peek(), &self.broken) {
            return broken.clone();
        }
        let end = self.tokens.get(self.next + 1).map_or(self.text.len(), |token| token.at);
        let found = self.text[self.at()..end].trim_end();
        let found = match self.peek() {
            TokenKind::End => "end of query".to_owned(),
            _ => format!("{:?}", found.chars().take(40).collect::<String>()),
        };
        self.error(format!("unexpected {found}, expected {wanted}"))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.at(), message)
    }

    pub(super) fn error_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, at, message)
    }

    /// Runs `read` one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(too_deep()));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    pub(super) fn regex(&mut self, pattern: &str, at: usize) -> Result<Arc<LabelRegex>, ParseError> {
        self.regexes += 1;
        if self.regexes > self.options.regexes_max {
            let message = format!("more than {} regular expressions", self.options.regexes_max);
            return Err(self.error_at(at, message));
        }
        let compiled = match self.options.regex_cache {
            Some(cache) => cache.get(pattern),
            None => LabelRegex::new(pattern).map(Arc::new),
        };
        compiled.map_err(|error: RegexError| self.error_at(at, error.to_string()))
    }

    fn query(&mut self) -> Result<Query, ParseError> {
        let query = match self.pipeline()? {
            Whole::Search(pipeline) => Query::Search(pipeline),
            Whole::Metrics(function, at) => Query::Metrics { function, at },
        };
        self.hints()?;
        if *self.peek() != TokenKind::End || self.broken.is_some() {
            return Err(self.unexpected("an operator, '|' or the end"));
        }
        Ok(query)
    }

    /// `stage | stage …` up to what cannot go on.
    fn pipeline(&mut self) -> Result<Whole, ParseError> {
        let mut stages = Vec::new();
        loop {
            if let Some(word) = self.metrics_word() {
                let at = self.at();
                self.metrics_stages(word)?;
                return Ok(Whole::Metrics(word, at));
            }
            match self.stage()? {
                Ok(stage) => stages.push(stage),
                Err((function, at)) if stages.is_empty() => {
                    self.metrics_second_stages()?;
                    return Ok(Whole::Metrics(function, at));
                }
                Err((function, at)) => {
                    let message = format!("metrics of {function} cannot be a stage of a pipeline");
                    return Err(self.error_at(at, message));
                }
            }
            if !self.accept(&TokenKind::Pipe) {
                return Ok(Whole::Search(Pipeline(stages)));
            }
        }
    }

    fn metrics_word(&self) -> Option<&'static str> {
        match self.peek() {
            TokenKind::Word(word) => is_metrics_word(word),
            _ => None,
        }
    }

    /// One stage; or metrics, which stand alone.
    fn stage(&mut self) -> Result<Result<Stage, (&'static str, usize)>, ParseError> {
        if self.accept_word("by") {
            self.expect(&TokenKind::LeftParen, "'(' after by")?;
            let key = self.field_expr()?;
            self.expect(&TokenKind::RightParen, "')' after the expression of by")?;
            return Ok(Ok(Stage::By(key)));
        }
        if self.accept_word("coalesce") {
            self.expect(&TokenKind::LeftParen, "'(' after coalesce")?;
            self.expect(&TokenKind::RightParen, "')': coalesce takes nothing")?;
            return Ok(Ok(Stage::Coalesce));
        }
        if self.accept_word("select") {
            return Ok(Ok(Stage::Select(self.field_list("select")?)));
        }
        Ok(match self.terms(Strength::Loosest)? {
            Term::Spansets(expr) => Ok(Stage::Spansets(expr)),
            Term::Filter(filter) => Ok(Stage::ScalarFilter(filter)),
            Term::Scalar(scalar, at) => {
                if self.depth == 0 || *self.peek() == TokenKind::Pipe {
                    return Err(self.error_at(at, "a number needs a comparison, such as > 2"));
                }
                Ok(Stage::Scalar(scalar))
            }
            Term::Metrics(function, at) => Err((function, at)),
        })
    }

    /// Terms and the operators between them that bind more tightly than `outer`.
    fn terms(&mut self, outer: Strength) -> Result<Term, ParseError> {
        let mut left = self.term()?;
        let mut joined = 0;
        loop {
            let at = self.at();
            let Some((op, strength)) = term_op(&left, self.peek()) else { return Ok(left) };
            if strength <= outer {
                return Ok(left);
            }
            joined += 1;
            if joined + self.depth > DEPTH_MAX {
                return Err(self.error(too_deep()));
            }
            self.advance();
            // What is raised to a power is raised from the right.
            let inner = if strength == Strength::Power { Strength::Product } else { strength };
            let right = self.nested(|parser| parser.terms(inner))?;
            left = self.join(left, op, right, at)?;
        }
    }

    fn join(&self, left: Term, op: TermOp, right: Term, at: usize) -> Result<Term, ParseError> {
        Ok(match (left, op, right) {
            (Term::Spansets(left), TermOp::Spansets(op), Term::Spansets(right)) => {
                Term::Spansets(SpansetExpr::Binary { op, left: Box::new(left), right: Box::new(right) })
            }
            (Term::Scalar(left, _), TermOp::Compare(op), Term::Scalar(right, _)) => {
                Term::Filter(ScalarFilter { left, op, right, at })
            }
            (Term::Scalar(left, start), TermOp::Calculate(op), Term::Scalar(right, _)) => {
                let (left, right) = (Box::new(left), Box::new(right));
                Term::Scalar(ScalarExpr::Binary { op, left, right, at }, start)
            }
            (Term::Metrics(name, start), TermOp::Calculate(_), Term::Metrics(..) | Term::Scalar(..))
            | (Term::Scalar(..), TermOp::Calculate(_), Term::Metrics(name, start)) => {
                Term::Metrics(name, start)
            }
            _ => {
                return Err(
                    self.error_at(at, "the operator joins two spansets or two numbers, not one of each")
                );
            }
        })
    }

    fn term(&mut self) -> Result<Term, ParseError> {
        let at = self.at();
        match self.peek().clone() {
            TokenKind::LeftBrace => Ok(Term::Spansets(self.spanset_filter()?)),
            TokenKind::LeftParen => {
                self.advance();
                let whole = self.nested(Self::pipeline)?;
                self.expect(&TokenKind::RightParen, "')'")?;
                Ok(in_parentheses(whole, at))
            }
            TokenKind::Subtract => {
                self.advance();
                match self.nested(|parser| parser.terms(Strength::Sum))? {
                    Term::Scalar(ScalarExpr::Static(value), _) => {
                        Ok(Term::Scalar(ScalarExpr::Static(value.negative()), at))
                    }
                    _ => Err(self.error_at(at, "only a number can be negative here")),
                }
            }
            TokenKind::Int(value) => Ok(self.number(Value::Int(value))),
            TokenKind::Float(value) => Ok(self.number(Value::Float(value))),
            TokenKind::Duration(value) => Ok(self.number(Value::Duration(value))),
            TokenKind::Word(word) => match aggregate(&word) {
                Some(op) => self.aggregate(op),
                None => Err(self.unexpected("'{', '(', an aggregate or a stage")),
            },
            _ => Err(self.unexpected("'{', '(', an aggregate or a stage")),
        }
    }

    fn number(&mut self, value: Value<'static>) -> Term {
        let at = self.at();
        self.advance();
        Term::Scalar(ScalarExpr::Static(value), at)
    }

    /// `count()`, `avg(duration)`.
    fn aggregate(&mut self, op: AggregateOp) -> Result<Term, ParseError> {
        let at = self.at();
        self.advance();
        self.expect(&TokenKind::LeftParen, "'(' after the aggregate")?;
        let of = if op == AggregateOp::Count { None } else { Some(self.field_expr()?) };
        let what = if op == AggregateOp::Count { "')': count takes nothing" } else { "')'" };
        self.expect(&TokenKind::RightParen, what)?;
        Ok(Term::Scalar(ScalarExpr::Aggregate { op, of, at }, at))
    }

    /// `{ … }`.
    pub(super) fn spanset_filter(&mut self) -> Result<SpansetExpr, ParseError> {
        self.expect(&TokenKind::LeftBrace, "'{'")?;
        if self.accept(&TokenKind::RightBrace) {
            return Ok(SpansetExpr::Filter(None));
        }
        let condition = self.field_expr()?;
        self.expect(&TokenKind::RightBrace, "an operator or '}'")?;
        Ok(SpansetExpr::Filter(Some(condition)))
    }
}

pub(super) fn too_deep() -> String {
    format!("query nested deeper than {DEPTH_MAX}")
}

fn aggregate(word: &str) -> Option<AggregateOp> {
    use AggregateOp::*;
    [Count, Min, Max, Avg, Sum].into_iter().find(|op| op.name() == word)
}

/// What a whole query, or one in parentheses, amounts to.
pub(super) enum Whole {
    Search(Pipeline),
    Metrics(&'static str, usize),
}

/// Parentheses around one spanset or number change nothing; a whole pipeline in them stands for its spansets, or, if
/// it ends in a bare aggregate, for a number.
fn in_parentheses(whole: Whole, at: usize) -> Term {
    match whole {
        Whole::Metrics(name, at) => Term::Metrics(name, at),
        Whole::Search(Pipeline(mut stages)) => match stages.pop() {
            Some(Stage::Spansets(expr)) if stages.is_empty() => Term::Spansets(expr),
            Some(Stage::Scalar(scalar)) if stages.is_empty() => Term::Scalar(scalar, at),
            Some(Stage::Scalar(_)) => Term::Scalar(ScalarExpr::Pipeline { at }, at),
            last => {
                stages.extend(last);
                Term::Spansets(SpansetExpr::Pipeline(Box::new(Pipeline(stages))))
            }
        },
    }
}

enum TermOp {
    Spansets(SpansetOp),
    Compare(BinaryOp),
    Calculate(BinaryOp),
}

/// What the sign means behind this term: `>` compares numbers and finds children of spansets.
fn term_op(left: &Term, sign: &TokenKind) -> Option<(TermOp, Strength)> {
    if let Term::Spansets(_) = left {
        let op = spanset_op(sign)?;
        let is_logic = matches!(op, SpansetOp::And | SpansetOp::Or);
        return Some((TermOp::Spansets(op), if is_logic { Strength::Logic } else { Strength::Comparison }));
    }
    if let Some((op, strength)) = arithmetic(sign) {
        return Some((TermOp::Calculate(op), strength));
    }
    comparison(sign).map(|op| (TermOp::Compare(op), Strength::Comparison))
}
