//! Expressions over one span: what stands in braces, in `by(…)` and in aggregates.

use super::ast::{BinaryOp, Field, FieldExpr, FieldKind, Intrinsic};
use super::lexer::TokenKind;
use super::parser::{DEPTH_MAX, Parser, Strength, arithmetic, comparison, too_deep};
use super::position::ParseError;
use super::value::{Kind, Status, Value};

/// An operator between two fields.
enum Op {
    And,
    Or,
    Matches { is_negated: bool },
    Binary(BinaryOp),
}

fn field_op(kind: &TokenKind) -> Option<(Op, Strength)> {
    match kind {
        TokenKind::And => return Some((Op::And, Strength::Logic)),
        TokenKind::Or => return Some((Op::Or, Strength::Logic)),
        TokenKind::Matches => return Some((Op::Matches { is_negated: false }, Strength::Comparison)),
        TokenKind::NotMatches => return Some((Op::Matches { is_negated: true }, Strength::Comparison)),
        _ => {}
    }
    if let Some((op, strength)) = arithmetic(kind) {
        return Some((Op::Binary(op), strength));
    }
    comparison(kind).map(|op| (Op::Binary(op), Strength::Comparison))
}

impl Parser<'_> {
    pub(super) fn field_expr(&mut self) -> Result<FieldExpr, ParseError> {
        self.fields(Strength::Loosest)
    }

    /// `(a, b.c, …)`: attributes and intrinsics alone, at least one.
    pub(super) fn field_list(&mut self, of: &str) -> Result<Vec<Field>, ParseError> {
        self.expect(&TokenKind::LeftParen, &format!("'(' after {of}"))?;
        let mut fields = Vec::new();
        loop {
            let expr = self.operand()?;
            let FieldKind::Field(field) = expr.kind else {
                return Err(self.error_at(expr.at, format!("{of} takes attributes and intrinsics")));
            };
            fields.push(field);
            if !self.accept(&TokenKind::Comma) {
                self.expect(&TokenKind::RightParen, "',' or ')'")?;
                return Ok(fields);
            }
        }
    }

    fn fields(&mut self, outer: Strength) -> Result<FieldExpr, ParseError> {
        let mut left = self.operand()?;
        loop {
            let Some((op, strength)) = field_op(self.peek()) else { return Ok(left) };
            if strength <= outer {
                return Ok(left);
            }
            self.advance();
            // What is raised to a power is raised from the right.
            let inner = if strength == Strength::Power { Strength::Product } else { strength };
            let right = self.nested(|parser| parser.fields(inner))?;
            left = self.join_fields(left, op, right)?;
        }
    }

    fn join_fields(&mut self, left: FieldExpr, op: Op, right: FieldExpr) -> Result<FieldExpr, ParseError> {
        let (at, depth) = (left.at, left.depth.max(right.depth) + 1);
        let kind = match op {
            // Chains of one operator are flat, so that they may be longer than trees may be deep.
            Op::And => match left.kind {
                FieldKind::All(mut parts) => {
                    let depth = left.depth.max(right.depth + 1);
                    parts.push(right);
                    return self.limited(FieldExpr { kind: FieldKind::All(parts), at, depth });
                }
                _ => FieldKind::All(vec![left, right]),
            },
            Op::Or => match left.kind {
                FieldKind::Any(mut parts) => {
                    let depth = left.depth.max(right.depth + 1);
                    parts.push(right);
                    return self.limited(FieldExpr { kind: FieldKind::Any(parts), at, depth });
                }
                _ => FieldKind::Any(vec![left, right]),
            },
            Op::Matches { is_negated } => {
                let FieldKind::Static(Value::Text(pattern)) = &right.kind else {
                    return Err(self.error_at(right.at, "a regular expression must be a string"));
                };
                let regex = self.regex(pattern, right.at)?;
                FieldKind::Matches { text: Box::new(left), regex, is_negated }
            }
            Op::Binary(op) => match (op, &left.kind, &right.kind) {
                (BinaryOp::Equal | BinaryOp::NotEqual, _, FieldKind::Static(Value::Nil)) => {
                    FieldKind::IsNil { of: Box::new(left), is_negated: op == BinaryOp::NotEqual }
                }
                (BinaryOp::Equal | BinaryOp::NotEqual, FieldKind::Static(Value::Nil), _) => {
                    FieldKind::IsNil { of: Box::new(right), is_negated: op == BinaryOp::NotEqual }
                }
                _ => FieldKind::Binary { op, left: Box::new(left), right: Box::new(right) },
            },
        };
        self.limited(FieldExpr { kind, at, depth })
    }

    fn limited(&self, expr: FieldExpr) -> Result<FieldExpr, ParseError> {
        if expr.depth > DEPTH_MAX { Err(self.error_at(expr.at, too_deep())) } else { Ok(expr) }
    }

    fn operand(&mut self) -> Result<FieldExpr, ParseError> {
        let at = self.at();
        let kind = match self.peek().clone() {
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.nested(Self::field_expr)?;
                self.expect(&TokenKind::RightParen, "an operator or ')'")?;
                return Ok(inner);
            }
            TokenKind::Not => {
                self.advance();
                let inner = self.nested(|parser| parser.fields(Strength::Sum))?;
                let depth = inner.depth + 1;
                return self.limited(FieldExpr { kind: FieldKind::Not(Box::new(inner)), at, depth });
            }
            TokenKind::Subtract => {
                self.advance();
                let inner = self.nested(|parser| parser.fields(Strength::Sum))?;
                let depth = inner.depth + 1;
                let kind = match inner.kind {
                    FieldKind::Static(value @ (Value::Int(_) | Value::Float(_) | Value::Duration(_))) => {
                        FieldKind::Static(value.negative())
                    }
                    _ => FieldKind::Negative(Box::new(inner)),
                };
                return self.limited(FieldExpr { kind, at, depth });
            }
            TokenKind::Field(field) => FieldKind::Field(field),
            TokenKind::Text(text) => FieldKind::Static(Value::text(text)),
            TokenKind::Int(value) => FieldKind::Static(Value::Int(value)),
            TokenKind::Float(value) => FieldKind::Static(Value::Float(value)),
            TokenKind::Duration(value) => FieldKind::Static(Value::Duration(value)),
            TokenKind::Word(word) => match named(&word) {
                Some(kind) => kind,
                None => {
                    let message = format!(
                        "unknown name {word:?}: attributes are written .{word}, span.{word} or resource.{word}"
                    );
                    return Err(self.error(message));
                }
            },
            _ => return Err(self.unexpected("an attribute, an intrinsic or a value")),
        };
        self.advance();
        Ok(FieldExpr::leaf(at, kind))
    }
}

/// What a word without scope means: an intrinsic or a constant.
fn named(word: &str) -> Option<FieldKind> {
    if let Some(intrinsic) = Intrinsic::from_name(word) {
        return Some(FieldKind::Field(Field::intrinsic(intrinsic)));
    }
    let value = match word {
        "nil" => Value::Nil,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "minInt" => Value::Int(i64::MIN),
        "maxInt" => Value::Int(i64::MAX),
        _ => {
            let status = Status::ALL.into_iter().find(|status| status.name() == word).map(Value::Status);
            status.or_else(|| Kind::ALL.into_iter().find(|kind| kind.name() == word).map(Value::Kind))?
        }
    };
    Some(FieldKind::Static(value))
}
