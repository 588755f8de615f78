//! What has a name and parentheses: calls of functions, and aggregations with their grouping.

use super::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, PositionRange};
use super::functions_table::Function;
use super::parser::{Parsed, Parser};
use super::token::{Keyword, TokenKind};
use crate::query::lexical::strings::quote;

impl Parser<'_> {
    pub(super) fn call(&mut self) -> Parsed<Expr> {
        let is_keyword = matches!(self.peek(), TokenKind::Keyword(_));
        let name = if is_keyword { self.word().to_ascii_lowercase() } else { self.word().to_owned() };
        let name_at = self.advance();
        let quoted = quote(name.as_bytes());
        let Some(function) = Function::by_name(&name) else {
            return Err(self.error(name_at, format!("unknown function with name {quoted}")));
        };
        if function.signature().is_experimental && !self.options.experimental_functions {
            return Err(self.error(name_at, format!("function {quoted} is not enabled")));
        }
        let (args, close) = self.args()?;
        self.node(name_at.to(close), ExprKind::Call(Call { function, args }))
    }

    /// `(a, b)`, and where it ends.
    fn args(&mut self) -> Parsed<(Vec<Expr>, PositionRange)> {
        self.expect(&TokenKind::LeftParen, "", "")?;
        let mut args = Vec::new();
        if let Some(close) = self.accept(&TokenKind::RightParen) {
            return Ok((args, close));
        }
        loop {
            args.push(self.nested(|parser| parser.expr(0))?);
            if let Some(close) = self.accept(&TokenKind::RightParen) {
                return Ok((args, close));
            }
            let comma = self.expect(&TokenKind::Comma, "", "")?;
            if self.peek() == &TokenKind::RightParen {
                return Err(self.error(comma, "trailing commas not allowed in function call args"));
            }
        }
    }

    /// `sum by (a) (x)`, `sum(x) by (a)` or `sum(x)`.
    pub(super) fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let name = self.advance();
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.text()
            );
            return Err(self.error(name, message));
        }
        let before = self.grouping()?;
        let (args, mut last) = self.args()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let (without, grouping, grouping_end) = grouping.unwrap_or_default();
        if grouping_end.end > last.end {
            last = grouping_end;
        }
        let position = name.to(last);
        let (param, expr) = self.aggregate_args(op, args, position)?;
        self.node(position, ExprKind::Aggregate(Aggregate { op, expr, param, grouping, without }))
    }

    /// `by (…)` or `without (…)`: whether it is `without`, its labels and where it ends.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>, PositionRange)>> {
        let without = if self.accept_keyword(Keyword::By).is_some() {
            false
        } else if self.accept_keyword(Keyword::Without).is_some() {
            true
        } else {
            return Ok(None);
        };
        let (labels, close) = self.label_list()?;
        Ok(Some((without, labels, close)))
    }

    fn aggregate_args(
        &self,
        op: AggregateOp,
        args: Vec<Expr>,
        position: PositionRange,
    ) -> Parsed<(Option<Box<Expr>>, Box<Expr>)> {
        let wanted = if op.param_type().is_some() { 2 } else { 1 };
        if args.is_empty() {
            return Err(self.error(position, "no arguments for aggregate expression provided"));
        }
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(position, message));
        }
        let mut args = args.into_iter().map(Box::new);
        let param = if wanted == 2 { args.next() } else { None };
        Ok((param, args.next().expect("the count was checked")))
    }
}
