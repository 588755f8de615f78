//! Durations in brackets and behind `offset`: a literal, or arithmetic on literals, the step and the range.

use super::ast::{
    BinaryOp, Duration, DurationExpr, DurationExprKind, DurationOp, NumberLiteral, PositionRange,
};
use super::duration::{DurationProblem, DurationUse, milliseconds_of_seconds};
use super::parser::{Parsed, Parser};
use super::token::{Keyword, TokenKind};

/// What complaints say was expected.
const EXPECTED: &str = "number, duration, step(), or range()";

/// The literals and operators of one duration, so that whoever resolves it may recurse.
const DURATION_NODES_MAX: usize = 128;

const MULTIPLICATION: u8 = 2;

fn duration_op(op: BinaryOp) -> Option<(DurationOp, u8)> {
    Some(match op {
        BinaryOp::Add => (DurationOp::Add, 1),
        BinaryOp::Subtract => (DurationOp::Subtract, 1),
        BinaryOp::Multiply => (DurationOp::Multiply, MULTIPLICATION),
        BinaryOp::Divide => (DurationOp::Divide, MULTIPLICATION),
        BinaryOp::Modulo => (DurationOp::Modulo, MULTIPLICATION),
        BinaryOp::Power => (DurationOp::Power, 3),
        _ => return None,
    })
}

impl Parser<'_> {
    /// A whole duration expression, as brackets hold it.
    pub(super) fn duration(&mut self, context: &'static str) -> Parsed<Duration> {
        let nodes_before = self.node_count();
        let expr = self.duration_expr(0, context)?;
        self.duration_of(expr, DurationUse::Positive, nodes_before)
    }

    /// What follows `offset`: without parentheses it ends at the first operator.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        let nodes_before = self.node_count();
        let expr = self.duration_prefix(u8::MAX, "offset")?;
        self.duration_of(expr, DurationUse::Signed, nodes_before)
    }

    fn duration_of(
        &mut self,
        expr: DurationExpr,
        usage: DurationUse,
        nodes_before: usize,
    ) -> Parsed<Duration> {
        if self.node_count() - nodes_before > DURATION_NODES_MAX {
            let message = format!("duration has more than {DURATION_NODES_MAX} nodes");
            return Err(self.error(expr.position, message));
        }
        let inner = match &expr.kind {
            DurationExprKind::Paren(inner) => &inner.kind,
            kind => kind,
        };
        let DurationExprKind::Number(number) = *inner else {
            return Ok(Duration::Expression(Box::new(expr)));
        };
        let Some(ms) = number.milliseconds() else {
            return Err(self.error(expr.position, DurationProblem::OutOfRange.to_string()));
        };
        if usage == DurationUse::Positive && ms <= 0 {
            return Err(self.error(expr.position, DurationProblem::NotPositive.to_string()));
        }
        Ok(Duration::Milliseconds(ms))
    }

    /// An expression whose operators all bind tighter than `floor`.
    fn duration_expr(&mut self, floor: u8, context: &'static str) -> Parsed<DurationExpr> {
        let mut lhs = self.duration_prefix(floor, context)?;
        while let TokenKind::Operator(op) = *self.peek() {
            let Some((op, binding)) = duration_op(op).filter(|(_, binding)| *binding > floor) else {
                break;
            };
            self.advance();
            let rhs = if op == DurationOp::Power {
                self.nested(|parser| parser.duration_expr(binding - 1, context))?
            } else {
                self.duration_expr(binding, context)?
            };
            self.refuse_zero_divisor(op, &rhs)?;
            let position = lhs.position.to(rhs.position);
            lhs = self.duration_node(position, DurationExprKind::Binary(op, Box::new(lhs), Box::new(rhs)))?;
        }
        Ok(lhs)
    }

    fn refuse_zero_divisor(&self, op: DurationOp, divisor: &DurationExpr) -> Parsed<()> {
        let is_zero = matches!(divisor.kind, DurationExprKind::Number(number) if number.value == 0.0);
        let problem = match op {
            DurationOp::Divide if is_zero => DurationProblem::DivisionByZero,
            DurationOp::Modulo if is_zero => DurationProblem::ModuloByZero,
            _ => return Ok(()),
        };
        Err(self.error(divisor.position, problem.to_string()))
    }

    /// A signed atom. Behind a sign, operators bind that bind tighter than `*`, if `floor` lets them.
    fn duration_prefix(&mut self, floor: u8, context: &'static str) -> Parsed<DurationExpr> {
        let is_sign = matches!(self.peek(), TokenKind::Operator(BinaryOp::Add | BinaryOp::Subtract));
        if !is_sign {
            return self.duration_atom(context);
        }
        let sign_at = self.position();
        let op = self.sign();
        let inner = self.nested(|parser| parser.duration_expr(floor.max(MULTIPLICATION), context))?;
        let position = sign_at.to(inner.position);
        match inner.kind {
            DurationExprKind::Number(number) => {
                Ok(DurationExpr { position, kind: DurationExprKind::Number(number.signed(op)) })
            }
            _ => self.duration_node(position, DurationExprKind::Unary(op, Box::new(inner))),
        }
    }

    fn duration_atom(&mut self, context: &'static str) -> Parsed<DurationExpr> {
        let start = self.position();
        match *self.peek() {
            TokenKind::Number(value, is_duration) => {
                self.advance();
                self.duration_node(start, DurationExprKind::Number(NumberLiteral { value, is_duration }))
            }
            TokenKind::LeftParen => self.duration_paren(context),
            TokenKind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.advance();
                self.expect(&TokenKind::LeftParen, context, "\"(\"")?;
                let close = self.expect(&TokenKind::RightParen, context, "\")\"")?;
                let kind = match keyword {
                    Keyword::Step => DurationExprKind::Step,
                    _ => DurationExprKind::Range,
                };
                self.duration_node(start.to(close), kind)
            }
            TokenKind::Keyword(keyword @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.advance();
                self.expect(&TokenKind::LeftParen, context, "\"(\"")?;
                let first = Box::new(self.nested(|parser| parser.duration_expr(0, context))?);
                self.expect(&TokenKind::Comma, context, "\",\"")?;
                let second = Box::new(self.nested(|parser| parser.duration_expr(0, context))?);
                let close = self.expect(&TokenKind::RightParen, context, "\")\"")?;
                let kind = match keyword {
                    Keyword::MinOf => DurationExprKind::MinOf(first, second),
                    _ => DurationExprKind::MaxOf(first, second),
                };
                self.duration_node(start.to(close), kind)
            }
            _ => Err(self.unexpected(context, EXPECTED)),
        }
    }

    /// Parentheses are kept where they may be needed: not around an unsigned literal or further parentheses.
    fn duration_paren(&mut self, context: &'static str) -> Parsed<DurationExpr> {
        let open = self.advance();
        let inner = self.nested(|parser| parser.duration_expr(0, context))?;
        let close = self.expect(&TokenKind::RightParen, context, "\")\"")?;
        let position = open.to(close);
        match inner.kind {
            kind @ DurationExprKind::Paren(_) => Ok(DurationExpr { position, kind }),
            DurationExprKind::Number(number) if number.value.is_sign_positive() => {
                Ok(DurationExpr { position, kind: DurationExprKind::Number(number) })
            }
            _ => self.duration_node(position, DurationExprKind::Paren(Box::new(inner))),
        }
    }

    fn duration_node(&mut self, position: PositionRange, kind: DurationExprKind) -> Parsed<DurationExpr> {
        self.count_node(position)?;
        Ok(DurationExpr { position, kind })
    }
}

impl NumberLiteral {
    /// As a length of time; a duration is whole milliseconds already. `None`: out of range.
    fn milliseconds(self) -> Option<i64> {
        let cut = milliseconds_of_seconds(self.value)?;
        if self.is_duration { Some((self.value * 1000.0).round() as i64) } else { Some(cut) }
    }
}
