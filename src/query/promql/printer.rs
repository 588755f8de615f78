//! A syntax tree as text that parses back to an equal tree.
//!
//! No parentheses are added: a tree has its own. The spelling is Prometheus's, matchers in order of their text, where
//! that is exact; where it loses something (the milliseconds of `@`, names that are keywords) ours does not.

use std::fmt;

use crate::model::labels::{METRIC_NAME, is_label_name, is_metric_name};
use crate::model::{MatchOp, Matcher};

use super::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, DurationExpr, DurationExprKind, Edges, Expr,
    ExprKind, NumberLiteral, Subquery, VectorMatching, VectorSelector,
};
use super::operators::BinaryOp;
use super::token::{classify, names_label, names_metric};
use crate::query::lexical::duration::format_duration;
use crate::query::lexical::strings::quote;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(value) => f.write_str(&quote(value)),
            ExprKind::VectorSelector(selector) => {
                matchers(f, selector)?;
                at(f, selector.at)?;
                edges(f, selector.edges)?;
                offset(f, &selector.offset)
            }
            ExprKind::MatrixSelector(matrix) => {
                matchers(f, &matrix.selector)?;
                write!(f, "[{}]", matrix.range)?;
                edges(f, matrix.selector.edges)?;
                at(f, matrix.selector.at)?;
                offset(f, &matrix.selector.offset)
            }
            ExprKind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery.suffix()),
            ExprKind::Unary(unary) => write!(f, "{}{}", unary.op.text(), unary.expr),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Call(call) => call.fmt(f),
        }
    }
}

/// A float as Go's `'f', -1` gives it, which reads back.
impl fmt::Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&format_duration((self.value * 1000.0).round() as i64))
        } else if self.value == f64::INFINITY {
            f.write_str("+Inf")
        } else {
            write!(f, "{}", self.value.to_string().replace("inf", "Inf"))
        }
    }
}

impl Subquery {
    /// What stands behind the expression.
    pub(super) fn suffix(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            write!(f, "[{}:", self.range)?;
            if let Some(step) = &self.step {
                write!(f, "{step}")?;
            }
            f.write_str("]")?;
            at(f, self.at)?;
            offset(f, &self.offset)
        })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lhs.kind {
            // There the sign would be an operator in front of the power.
            ExprKind::Number(base) if self.op == BinaryOp::Power && base.value == f64::INFINITY => {
                f.write_str("Inf")?;
            }
            _ => write!(f, "{}", self.lhs)?,
        }
        write!(f, " {} {}", self.operator(), self.rhs)
    }
}

impl Binary {
    /// What stands between the sides.
    pub(super) fn operator(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            f.write_str(self.op.text())?;
            if self.return_bool {
                f.write_str(" bool")?;
            }
            self.matching.iter().try_for_each(|matching| write!(f, "{matching}"))
        })
    }
}

impl fmt::Display for VectorMatching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", label_list(&self.labels))?;
        }
        if let Some(word) = group {
            write!(f, " {word} ({})", label_list(&self.include))?;
        }
        match (&self.fill_left, &self.fill_right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({left})"),
            (left, right) => {
                left.iter().try_for_each(|value| write!(f, " fill_left ({value})"))?;
                right.iter().try_for_each(|value| write!(f, " fill_right ({value})"))
            }
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{}({param}, {})", self.operator(), self.expr),
            None => write!(f, "{}({})", self.operator(), self.expr),
        }
    }
}

impl Aggregate {
    /// What stands before the parentheses.
    pub(super) fn operator(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            f.write_str(self.op.text())?;
            if self.without {
                write!(f, " without ({}) ", label_list(&self.grouping))?;
            } else if !self.grouping.is_empty() {
                write!(f, " by ({}) ", label_list(&self.grouping))?;
            }
            Ok(())
        })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        for (i, arg) in self.args.iter().enumerate() {
            write!(f, "{}{arg}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Milliseconds(ms) => f.write_str(&format_duration(*ms)),
            Duration::Expression(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationExprKind::Number(number) => number.fmt(f),
            DurationExprKind::Step => f.write_str("step()"),
            DurationExprKind::Range => f.write_str("range()"),
            DurationExprKind::Unary(op, expr) => write!(f, "{}{expr}", op.text()),
            DurationExprKind::Binary(op, lhs, rhs) => write!(f, "{lhs} {} {rhs}", op.text()),
            DurationExprKind::MinOf(a, b) => write!(f, "min_of({a}, {b})"),
            DurationExprKind::MaxOf(a, b) => write!(f, "max_of({a}, {b})"),
            DurationExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// The name and what stands between braces.
fn matchers(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let is_written = |m: &&Matcher| {
        let repeats_name = m.name == METRIC_NAME && m.op == MatchOp::Equal;
        !(repeats_name && selector.name.as_deref() == Some(m.value.as_str()))
    };
    let mut inside: Vec<String> = selector.matchers.iter().filter(is_written).map(matcher).collect();
    inside.sort_unstable();
    match &selector.name {
        Some(name) if is_metric_name(name) && names_metric(&classify(name)) => {
            f.write_str(name)?;
            if inside.is_empty() {
                return Ok(());
            }
        }
        Some(name) => inside.insert(0, quote(name.as_bytes())),
        None => {}
    }
    write!(f, "{{{}}}", inside.join(","))
}

/// `name="value"`, the name in quotes where it needs them.
fn matcher(matcher: &Matcher) -> String {
    let name =
        if is_label_name(&matcher.name) { matcher.name.clone() } else { quote(matcher.name.as_bytes()) };
    format!("{name}{}{}", matcher.op.text(), quote(matcher.value.as_bytes()))
}

fn edges(f: &mut fmt::Formatter<'_>, edges: Edges) -> fmt::Result {
    match edges {
        Edges::Plain => Ok(()),
        Edges::Anchored => f.write_str(" anchored"),
        Edges::Smoothed => f.write_str(" smoothed"),
    }
}

fn at(f: &mut fmt::Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Timestamp(ms)) => {
            let (sign, size) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            write!(f, " @ {sign}{}.{:03}", size / 1000, size % 1000)
        }
    }
}

fn offset(f: &mut fmt::Formatter<'_>, offset: &Duration) -> fmt::Result {
    if *offset == Duration::ZERO { Ok(()) } else { write!(f, " offset {offset}") }
}

fn label_list(labels: &[String]) -> String {
    let names: Vec<String> = labels.iter().map(|label| label_name(label)).collect();
    names.join(", ")
}

/// A label in a list, where `inf` would be a number.
fn label_name(label: &str) -> String {
    let needs_quotes = !is_label_name(label) || !names_label(&classify(label));
    if needs_quotes { quote(label.as_bytes()) } else { label.to_owned() }
}
