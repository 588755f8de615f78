//! Metric expressions: operators by precedence, aggregations over ranges and vectors, functions, numbers.

use crate::query::lexical::PositionRange;

use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Grouping, LabelReplace, LogRange, MetricExpr,
    MetricKind, NumberLiteral, RangeAggregation, RangeOp, Sort, VectorMatching, binding,
};
use super::check;
use super::parser::{Operand, Parsed, Parser};
use super::token::{Keyword, Sign, TokenKind};

impl Parser<'_> {
    /// An expression whose operators all bind tighter than `floor`.
    pub(super) fn expr(&mut self, floor: u8) -> Parsed<Operand> {
        let mut lhs = self.primary()?;
        while let Some(op) = self.binary_op() {
            let binding = binding(op);
            if binding <= floor {
                break;
            }
            let op_at = self.advance();
            let left = self.metric_side(lhs, op, "left")?;
            let (return_bool, matching) = self.matching(op)?;
            let rhs = if op == BinaryOp::Power {
                // Right-associative: the exponent may hold further powers.
                self.nested(|parser| parser.expr(binding - 1))?
            } else {
                self.expr(binding)?
            };
            let right = self.metric_side(rhs, op, "right")?;
            let position = left.position.to(right.position);
            let (lhs_expr, rhs_expr) = (Box::new(left), Box::new(right));
            let mut binary = Binary { op, lhs: lhs_expr, rhs: rhs_expr, return_bool, matching };
            check::binary(&mut binary).map_err(|message| self.error(op_at, message))?;
            lhs = self.metric(position, MetricKind::Binary(binary))?;
        }
        Ok(lhs)
    }

    fn metric(&mut self, position: PositionRange, kind: MetricKind) -> Parsed<Operand> {
        self.count_node(position)?;
        Ok(Operand::Metric(MetricExpr { position, kind }))
    }

    fn metric_side(&self, operand: Operand, op: BinaryOp, side: &str) -> Parsed<MetricExpr> {
        match operand {
            Operand::Metric(expr) => Ok(expr),
            Operand::Log(body) => {
                let op = op.text();
                let message = format!(
                    "unexpected type for {side} leg of binary operation ({op}): a log query, expecting a \
                     metric query such as rate(…)"
                );
                Err(self.error(body.position, message))
            }
        }
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            TokenKind::Word(Some(Keyword::Or)) => BinaryOp::Or,
            TokenKind::Word(Some(Keyword::And)) => BinaryOp::And,
            TokenKind::Word(Some(Keyword::Unless)) => BinaryOp::Unless,
            TokenKind::Sign(sign) => match sign {
                Sign::Equal => BinaryOp::Equal,
                Sign::NotEqual => BinaryOp::NotEqual,
                Sign::Less => BinaryOp::Less,
                Sign::LessEqual => BinaryOp::LessEqual,
                Sign::Greater => BinaryOp::Greater,
                Sign::GreaterEqual => BinaryOp::GreaterEqual,
                Sign::Plus => BinaryOp::Add,
                Sign::Minus => BinaryOp::Subtract,
                Sign::Star => BinaryOp::Multiply,
                Sign::Slash => BinaryOp::Divide,
                Sign::Percent => BinaryOp::Modulo,
                Sign::Caret => BinaryOp::Power,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `bool on (…) group_left (…)` behind an operator. `check` takes the matching away where a side is no vector.
    fn matching(&mut self, op: BinaryOp) -> Parsed<(bool, Option<VectorMatching>)> {
        let bool_at = self.accept_keyword(Keyword::Bool);
        if let Some(position) = bool_at
            && !op.is_comparison()
        {
            return Err(self.error(position, "bool modifier can only be used on comparison operators"));
        }
        let cardinality = if op.is_set_operator() { Cardinality::ManyToMany } else { Cardinality::OneToOne };
        let on = self.accept_keyword(Keyword::On).is_some();
        let mut matching = VectorMatching {
            cardinality,
            on,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        if on || self.accept_keyword(Keyword::Ignoring).is_some() {
            matching.labels = self.label_list()?;
            self.group(op, &mut matching)?;
        }
        Ok((bool_at.is_some(), Some(matching)))
    }

    fn group(&mut self, op: BinaryOp, matching: &mut VectorMatching) -> Parsed<()> {
        let position = self.position();
        let cardinality = match self.peek_keyword() {
            Some(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Some(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.advance();
        if op.is_set_operator() {
            return Err(self.error(position, format!("no grouping allowed for {:?} operation", op.text())));
        }
        matching.cardinality = cardinality;
        if self.peek_sign() == Some(Sign::LeftParen) {
            matching.include = self.label_list()?;
        }
        match matching.include.iter().find(|label| matching.on && matching.labels.contains(label)) {
            None => Ok(()),
            Some(label) => {
                let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
                Err(self.error(position, message))
            }
        }
    }

    fn primary(&mut self) -> Parsed<Operand> {
        let position = self.position();
        match self.peek() {
            TokenKind::Sign(Sign::LeftBrace) => Ok(Operand::Log(self.log_body()?)),
            TokenKind::Sign(Sign::LeftParen) => self.paren(),
            TokenKind::Sign(Sign::Plus | Sign::Minus) | TokenKind::Number(_) => {
                let number = self.number()?;
                self.metric(position.to(self.last_position()), MetricKind::Number(number))
            }
            TokenKind::Word(None) => self.call(),
            _ => Err(self.unexpected("a selector {…}, a function or a number")),
        }
    }

    fn number(&mut self) -> Parsed<NumberLiteral> {
        let is_negative = self.accept(Sign::Minus).is_some();
        if !is_negative {
            self.accept(Sign::Plus);
        }
        let TokenKind::Number(value) = *self.peek() else {
            return Err(self.unexpected("NUMBER"));
        };
        self.advance();
        Ok(NumberLiteral(if is_negative { -value } else { value }))
    }

    fn paren(&mut self) -> Parsed<Operand> {
        let open = self.advance();
        let inner = self.nested(|parser| parser.expr(0))?;
        let close = self.expect(Sign::RightParen, "\")\"")?;
        match inner {
            Operand::Metric(expr) => Ok(Operand::Metric(MetricExpr { position: open.to(close), ..expr })),
            Operand::Log(mut body) => {
                body.position = open.to(close);
                self.log_body_rest(&mut body)?;
                Ok(Operand::Log(body))
            }
        }
    }

    /// A word that can only be a function's name.
    fn call(&mut self) -> Parsed<Operand> {
        let is_grouped = matches!(self.peek_second(), TokenKind::Word(Some(Keyword::By | Keyword::Without)));
        let is_called = is_grouped || self.peek_second() == &TokenKind::Sign(Sign::LeftParen);
        if !is_called {
            return Err(self.unexpected("a selector {…}, a function or a number"));
        }
        let name = self.word().to_ascii_lowercase();
        if let Some(op) = range_op(&name) {
            return self.range_aggregation(op);
        }
        if let Some(op) = aggregate_op(&name) {
            return self.aggregate(op);
        }
        match name.as_str() {
            "sort" => self.sort(false),
            "sort_desc" => self.sort(true),
            "label_replace" => self.label_replace(),
            "vector" => self.vector(),
            _ => Err(self.error(self.position(), check::unknown_function(&name))),
        }
    }

    /// The log query inside of a range aggregation.
    fn range_argument(&mut self) -> Parsed<LogRange> {
        match self.nested(|parser| parser.expr(0))? {
            Operand::Log(body) => self.log_range(body),
            Operand::Metric(expr) => {
                let message = "a range aggregation runs over a log query {…}[5m], not over a metric query";
                Err(self.error(expr.position, message))
            }
        }
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Parsed<Operand> {
        let start = self.advance();
        self.expect(Sign::LeftParen, "\"(\"")?;
        let parameter = self.parameter()?;
        let log = self.range_argument()?;
        self.expect(Sign::RightParen, "\")\"")?;
        let grouping = self.grouping()?;
        let aggregation = RangeAggregation { op, parameter, log, grouping };
        let position = start.to(self.last_position());
        check::range_aggregation(&aggregation).map_err(|message| self.error(position, message))?;
        self.metric(position, MetricKind::Range(aggregation))
    }

    /// `0.99,` before what an aggregation runs over.
    fn parameter(&mut self) -> Parsed<Option<NumberLiteral>> {
        let is_signed = matches!(self.peek_sign(), Some(Sign::Plus | Sign::Minus));
        let number = if is_signed { self.peek_second() } else { self.peek() };
        let after = self.peek_ahead(if is_signed { 2 } else { 1 });
        if !matches!(number, TokenKind::Number(_)) || after != &TokenKind::Sign(Sign::Comma) {
            return Ok(None);
        }
        let number = self.number()?;
        self.advance();
        Ok(Some(number))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let is_without = match self.peek_keyword() {
            Some(Keyword::By) => false,
            Some(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Grouping { is_without, labels: self.label_list()? }))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Operand> {
        let start = self.advance();
        let before = self.grouping()?;
        self.expect(Sign::LeftParen, "\"(\"")?;
        let parameter_at = self.position();
        let parameter = self.parameter()?;
        let parameter = check::aggregate_parameter(op, parameter);
        let parameter = parameter.map_err(|message| self.error(parameter_at, message))?;
        let expr = Box::new(self.metric_argument(op.text())?);
        self.expect(Sign::RightParen, "\")\"")?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let position = start.to(self.last_position());
        self.metric(position, MetricKind::Aggregate(Aggregate { op, parameter, expr, grouping }))
    }

    /// The metric query inside of an aggregation or a function.
    fn metric_argument(&mut self, name: &str) -> Parsed<MetricExpr> {
        match self.nested(|parser| parser.expr(0))? {
            Operand::Metric(expr) => Ok(expr),
            Operand::Log(body) => {
                let message =
                    format!("{name} runs over a metric query such as rate(…), not over a log query");
                Err(self.error(body.position, message))
            }
        }
    }

    fn sort(&mut self, is_descending: bool) -> Parsed<Operand> {
        let name = if is_descending { "sort_desc" } else { "sort" };
        let start = self.advance();
        self.refuse_grouping(name)?;
        self.expect(Sign::LeftParen, "\"(\"")?;
        let expr = Box::new(self.metric_argument(name)?);
        let close = self.expect(Sign::RightParen, "\")\"")?;
        self.refuse_grouping(name)?;
        self.metric(start.to(close), MetricKind::Sort(Sort { is_descending, expr }))
    }

    fn refuse_grouping(&self, name: &str) -> Parsed<()> {
        match self.peek_keyword() {
            Some(Keyword::By | Keyword::Without) => {
                Err(self.error(self.position(), format!("grouping not allowed for {name}")))
            }
            _ => Ok(()),
        }
    }

    fn label_replace(&mut self) -> Parsed<Operand> {
        let start = self.advance();
        self.expect(Sign::LeftParen, "\"(\"")?;
        let expr = Box::new(self.metric_argument("label_replace")?);
        let mut texts = [const { String::new() }; 4];
        for text in &mut texts {
            self.expect(Sign::Comma, "\",\"")?;
            *text = self.expect_string()?;
        }
        let pattern_at = self.last_position();
        let close = self.expect(Sign::RightParen, "\")\"")?;
        let [destination, replacement, source, pattern] = texts;
        self.check_label_regex(&pattern, pattern_at)?;
        let replace = LabelReplace { expr, destination, replacement, source, pattern };
        check::label_replace(&replace).map_err(|message| self.error(start.to(close), message))?;
        self.metric(start.to(close), MetricKind::LabelReplace(replace))
    }

    fn vector(&mut self) -> Parsed<Operand> {
        let start = self.advance();
        self.expect(Sign::LeftParen, "\"(\"")?;
        let number = self.number()?;
        let close = self.expect(Sign::RightParen, "\")\"")?;
        self.metric(start.to(close), MetricKind::Vector(number))
    }
}

fn range_op(name: &str) -> Option<RangeOp> {
    RangeOp::ALL.into_iter().find(|op| op.text() == name)
}

fn aggregate_op(name: &str) -> Option<AggregateOp> {
    use AggregateOp::*;
    [Sum, Avg, Count, Min, Max, Stddev, Stdvar, Topk, Bottomk].into_iter().find(|op| op.text() == name)
}
