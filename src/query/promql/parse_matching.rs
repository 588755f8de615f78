//! What may stand between an operator and its right side: `bool on (…) group_left (…) fill (…)`.

use super::ast::{BinaryOp, Cardinality, NumberLiteral, PositionRange, UnaryOp, VectorMatching};
use super::parser::{Parsed, Parser};
use super::token::{Keyword, TokenKind, names_label};
use crate::query::lexical::strings::quote;

impl Parser<'_> {
    /// Whether the comparison is `bool`, and how vectors match. `check` takes the matching away where the sides
    /// turn out not to be vectors.
    pub(super) fn matching(&mut self, op: BinaryOp) -> Parsed<(bool, Option<VectorMatching>)> {
        let bool_at = self.accept_keyword(Keyword::Bool);
        if let Some(position) = bool_at
            && !op.is_comparison()
        {
            return Err(self.error(position, "bool modifier can only be used on comparison operators"));
        }
        let cardinality = if op.is_set_operator() { Cardinality::ManyToMany } else { Cardinality::OneToOne };
        let mut matching = VectorMatching {
            cardinality,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let on_at = self.accept_keyword(Keyword::On);
        matching.on = on_at.is_some();
        if on_at.is_some() || self.accept_keyword(Keyword::Ignoring).is_some() {
            matching.labels = self.label_list()?.0;
            self.group(op, &mut matching)?;
        }
        self.fills(op, &mut matching)?;
        Ok((bool_at.is_some(), Some(matching)))
    }

    /// `group_left` or `group_right`; a parenthesis behind it always is its list of labels.
    fn group(&mut self, op: BinaryOp, matching: &mut VectorMatching) -> Parsed<()> {
        let (position, cardinality) = match self.peek() {
            TokenKind::Keyword(Keyword::GroupLeft) => (self.advance(), Cardinality::ManyToOne),
            TokenKind::Keyword(Keyword::GroupRight) => (self.advance(), Cardinality::OneToMany),
            _ => return Ok(()),
        };
        if op.is_set_operator() {
            let message = format!("no grouping allowed for {} operation", quote(op.text().as_bytes()));
            return Err(self.error(position, message));
        }
        matching.cardinality = cardinality;
        if self.peek() == &TokenKind::LeftParen {
            matching.include = self.label_list()?.0;
        }
        let twice = matching.labels.iter().find(|label| matching.on && matching.include.contains(label));
        match twice {
            None => Ok(()),
            Some(label) => {
                let label = quote(label.as_bytes());
                let message = format!("label {label} must not occur in ON and GROUP clause at once");
                Err(self.error(position, message))
            }
        }
    }

    fn fills(&mut self, op: BinaryOp, matching: &mut VectorMatching) -> Parsed<()> {
        loop {
            let keyword = match self.peek() {
                TokenKind::Keyword(keyword @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) => {
                    *keyword
                }
                _ => return Ok(()),
            };
            let is_first = matching.fill_left.is_none() && matching.fill_right.is_none();
            let is_repeated = match keyword {
                Keyword::FillLeft => matching.fill_left.is_some(),
                Keyword::FillRight => matching.fill_right.is_some(),
                _ => !is_first,
            };
            if is_repeated {
                return Err(self.unexpected("", ""));
            }
            let position = self.advance();
            if !self.options.fill_modifiers {
                return Err(self.error(position, "binop fill modifiers are experimental and not enabled"));
            }
            if op.is_set_operator() {
                return Err(self.error(position, "filling in missing series not allowed for set operators"));
            }
            let value = Some(self.fill_value()?);
            if keyword != Keyword::FillRight {
                matching.fill_left = value;
            }
            if keyword != Keyword::FillLeft {
                matching.fill_right = value;
            }
        }
    }

    fn fill_value(&mut self) -> Parsed<NumberLiteral> {
        self.expect(&TokenKind::LeftParen, "fill", "\"(\"")?;
        let sign = self.sign();
        let value = self.number_literal("fill", "number")?.signed(sign);
        self.expect(&TokenKind::RightParen, "fill", "\")\"")?;
        Ok(value)
    }

    /// A sign where one stands; otherwise plus.
    pub(super) fn sign(&mut self) -> UnaryOp {
        if self.accept(&TokenKind::Operator(BinaryOp::Subtract)).is_some() {
            return UnaryOp::Minus;
        }
        self.accept(&TokenKind::Operator(BinaryOp::Add));
        UnaryOp::Plus
    }

    pub(super) fn number_literal(&mut self, context: &str, expected: &str) -> Parsed<NumberLiteral> {
        match *self.peek() {
            TokenKind::Number(value, is_duration) => {
                self.advance();
                Ok(NumberLiteral { value, is_duration })
            }
            _ => Err(self.unexpected(context, expected)),
        }
    }

    /// `(a, "b c",)`, and where it ends.
    pub(super) fn label_list(&mut self) -> Parsed<(Vec<String>, PositionRange)> {
        const CONTEXT: &str = "grouping opts";
        self.expect(&TokenKind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if !labels.is_empty() || self.peek() == &TokenKind::RightParen {
                let expected = "\",\" or \")\"";
                if let Some(close) = self.accept(&TokenKind::RightParen) {
                    return Ok((labels, close));
                }
                self.expect(&TokenKind::Comma, CONTEXT, expected)?;
                if let Some(close) = self.accept(&TokenKind::RightParen) {
                    return Ok((labels, close));
                }
            }
            labels.push(self.label_name(CONTEXT)?);
        }
    }

    fn label_name(&mut self, context: &str) -> Parsed<String> {
        let name = match self.peek() {
            TokenKind::String(name) => match String::from_utf8(name.clone()) {
                Ok(name) if !name.is_empty() => name,
                _ => {
                    let message = format!("invalid label name for grouping: {}", quote(name));
                    return Err(self.error(self.position(), message));
                }
            },
            kind if names_label(kind) => self.word().to_owned(),
            _ => return Err(self.unexpected(context, "label")),
        };
        self.advance();
        Ok(name)
    }
}
