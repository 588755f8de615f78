//! The syntax tree of PromQL as Prometheus 3.14 writes it: every node knows where in the text it stood.
//!
//! A tree that the parser gave out is type-checked: an argument has the type its function wants,
//! a matching stands only between two vectors, a selector has a matcher that does not match everything. What
//! `Display` prints of it parses back to an equal tree; equality ignores positions.

use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher, Timestamp};
pub use crate::query::lexical::PositionRange;

use super::functions_table::{Function, ValueType};
pub use super::operators::{AggregateOp, BinaryOp, DurationOp, UnaryOp};

/// An expression and its place. Two are equal when they mean the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Expr {
    pub position: PositionRange,
    pub kind: ExprKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Number(NumberLiteral),
    /// PromQL strings are bytes: escapes can write what is not UTF-8.
    String(Vec<u8>),
    VectorSelector(VectorSelector),
    MatrixSelector(MatrixSelector),
    Subquery(Subquery),
    Unary(Unary),
    Paren(Box<Expr>),
    Binary(Binary),
    Aggregate(Aggregate),
    Call(Call),
}

/// A number, or a duration standing for its seconds (then it prints as a duration).
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    pub value: f64,
    pub is_duration: bool,
}

/// `name{matchers} @ at offset …`, alone or under a range.
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The name written before the braces; its matcher then is the first of `matchers`.
    pub name: Option<String>,
    pub matchers: Vec<Matcher>,
    pub offset: Duration,
    pub at: Option<At>,
    pub edges: Edges,
}

/// `selector[range]`; offset, `@` and edges are those of the selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    pub range: Duration,
}

/// `expr[range:step]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    pub expr: Box<Expr>,
    pub range: Duration,
    /// `None`: the engine's default.
    pub step: Option<Duration>,
    pub offset: Duration,
    pub at: Option<At>,
}

/// What stands after `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Timestamp(Timestamp),
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// How the values at the edges of a range are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// As PromQL always did: the samples inside.
    #[default]
    Plain,
    /// `anchored`: the newest sample at or before the left edge counts as if it stood there.
    Anchored,
    /// `smoothed`: interpolated between the samples on both sides of an edge.
    Smoothed,
}

/// A length of time, known or to be computed when the query's step and range are.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    Milliseconds(i64),
    Expression(Box<DurationExpr>),
}

/// Arithmetic on seconds; see [`Duration::resolve`].
#[derive(Clone, Debug)]
pub struct DurationExpr {
    pub position: PositionRange,
    pub kind: DurationExprKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DurationExprKind {
    Number(NumberLiteral),
    /// `step()`: of a range query, 0 for an instant one.
    Step,
    /// `range()`: end − start of the query.
    Range,
    Unary(UnaryOp, Box<DurationExpr>),
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    Paren(Box<DurationExpr>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    pub op: UnaryOp,
    pub expr: Box<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Box<Expr>,
    pub rhs: Box<Expr>,
    /// `bool`: a comparison gives 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// Present exactly between two vectors.
    pub matching: Option<VectorMatching>,
}

/// Which elements of two vectors belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    pub cardinality: Cardinality,
    /// `on(labels)`; otherwise `ignoring(labels)`, which may be empty.
    pub on: bool,
    pub labels: Vec<String>,
    /// Labels that `group_left(…)` or `group_right(…)` copy from the "one" side.
    pub include: Vec<String>,
    /// What stands in for an element missing on the left.
    pub fill_left: Option<NumberLiteral>,
    /// What stands in for an element missing on the right.
    pub fill_right: Option<NumberLiteral>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// The set operators.
    ManyToMany,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub expr: Box<Expr>,
    /// Present exactly where `op` takes one: a scalar, or for `count_values` a string.
    pub param: Option<Box<Expr>>,
    pub grouping: Vec<String>,
    pub without: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: Function,
    pub args: Vec<Expr>,
}

impl Expr {
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::VectorSelector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::MatrixSelector(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Unary(unary) => unary.expr.value_type(),
            ExprKind::Paren(inner) => inner.value_type(),
            ExprKind::Binary(binary) => binary.value_type(),
            ExprKind::Call(call) => call.function.signature().returns,
        }
    }

    /// This expression without the parentheses around it.
    pub fn unwrap_parens(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The expressions directly below, in the order they were written.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&*subquery.expr],
            ExprKind::Unary(unary) => vec![&*unary.expr],
            ExprKind::Paren(inner) => vec![&**inner],
            ExprKind::Binary(binary) => vec![&*binary.lhs, &*binary.rhs],
            ExprKind::Aggregate(aggregate) => {
                aggregate.param.as_deref().into_iter().chain([&*aggregate.expr]).collect()
            }
            ExprKind::Call(call) => call.args.iter().collect(),
        }
    }

    /// Calls `visit` on this expression and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.kind == other.kind
    }
}

/// The order of matchers means nothing.
impl PartialEq for VectorSelector {
    fn eq(&self, other: &VectorSelector) -> bool {
        let sorted = |selector: &VectorSelector| {
            let mut matchers: Vec<_> =
                selector.matchers.iter().map(|m| (m.name.clone(), m.op.text(), m.value.clone())).collect();
            matchers.sort_unstable();
            matchers
        };
        let rest = |selector: &VectorSelector| (selector.at, selector.edges);
        self.name == other.name
            && self.offset == other.offset
            && rest(self) == rest(other)
            && sorted(self) == sorted(other)
    }
}

impl PartialEq for DurationExpr {
    fn eq(&self, other: &DurationExpr) -> bool {
        self.kind == other.kind
    }
}

/// NaN equals NaN: the same text is the same tree.
impl PartialEq for NumberLiteral {
    fn eq(&self, other: &NumberLiteral) -> bool {
        let same_value = self.value.to_bits() == other.value.to_bits();
        (same_value || self.value.is_nan() && other.value.is_nan()) && self.is_duration == other.is_duration
    }
}

impl Binary {
    pub fn value_type(&self) -> ValueType {
        match (self.lhs.value_type(), self.rhs.value_type()) {
            (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
            _ => ValueType::Vector,
        }
    }
}

impl VectorSelector {
    /// The name an equality matcher asks for, inside the braces or before them.
    pub fn metric_name(&self) -> Option<&str> {
        let is_name = |m: &&Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal;
        self.name.as_deref().or_else(|| self.matchers.iter().find(is_name).map(|m| m.value.as_str()))
    }
}
