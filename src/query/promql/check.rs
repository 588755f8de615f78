//! Types and counts of a parsed tree: what goes where, in Prometheus's words where it does not.

use crate::model::labels::METRIC_NAME;

use super::ast::{Aggregate, Binary, Call, Expr, ExprKind, PositionRange, VectorSelector};
use super::error::ParseError;
use super::functions_table::{Function, ValueType};
use crate::query::lexical::strings::quote;

/// Checks `expr` and all below it, leaves first; takes matchings away from where there is nothing to match.
pub fn check(text: &str, expr: &mut Expr) -> Result<(), ParseError> {
    Checker { text }.expr(expr)
}

/// Checks a selector that stands alone; whether it may select everything is for those to say who asked for it.
pub fn check_alone(text: &str, position: PositionRange, selector: &VectorSelector) -> Result<(), ParseError> {
    Checker { text }.name(position, selector)
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn refuse<T>(&self, position: PositionRange, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.text, position, message))
    }

    fn expr(&self, expr: &mut Expr) -> Result<(), ParseError> {
        let position = expr.position;
        match &mut expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => Ok(()),
            ExprKind::VectorSelector(selector) => self.selector(position, selector),
            ExprKind::MatrixSelector(matrix) => self.selector(position, &matrix.selector),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Subquery(subquery) => {
                self.expr(&mut subquery.expr)?;
                match subquery.expr.value_type() {
                    ValueType::Vector => Ok(()),
                    other => self.refuse(
                        position,
                        format!("subquery is only allowed on instant vector, got {} instead", other.text()),
                    ),
                }
            }
            ExprKind::Unary(unary) => {
                self.expr(&mut unary.expr)?;
                match unary.expr.value_type() {
                    ValueType::Scalar | ValueType::Vector => Ok(()),
                    other => self.refuse(
                        position,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, \
                             got \"{}\"",
                            other.text()
                        ),
                    ),
                }
            }
            ExprKind::Binary(binary) => self.binary(position, binary),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call(call) => self.call(position, call),
        }
    }

    fn selector(&self, position: PositionRange, selector: &VectorSelector) -> Result<(), ParseError> {
        self.name(position, selector)?;
        if selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            return self.refuse(position, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }

    fn name(&self, position: PositionRange, selector: &VectorSelector) -> Result<(), ParseError> {
        let Some(name) = &selector.name else { return Ok(()) };
        // The first matcher is that of the name itself.
        match selector.matchers[1..].iter().find(|m| m.name == METRIC_NAME) {
            None => Ok(()),
            Some(other) => {
                let (name, other) = (quote(name.as_bytes()), quote(other.value.as_bytes()));
                self.refuse(position, format!("metric name must not be set twice: {name} or {other}"))
            }
        }
    }

    fn binary(&self, position: PositionRange, binary: &mut Binary) -> Result<(), ParseError> {
        self.expr(&mut binary.lhs)?;
        self.expr(&mut binary.rhs)?;
        let types = [binary.lhs.value_type(), binary.rhs.value_type()];
        for (side, value_type) in [&binary.lhs, &binary.rhs].into_iter().zip(types) {
            if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.refuse(side.position, message);
            }
        }
        let has_scalar = types.contains(&ValueType::Scalar);
        if has_scalar && let Some(matching) = binary.matching.take() {
            let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
            if !matching.labels.is_empty() || has_fill {
                return self.refuse(position, "vector matching only allowed between instant vectors");
            }
        }
        if has_scalar && binary.op.is_set_operator() {
            let op = binary.op.text();
            return self
                .refuse(position, format!("set operator \"{op}\" not allowed in binary scalar expression"));
        }
        let all_scalar = !types.contains(&ValueType::Vector);
        if all_scalar && binary.op.is_comparison() && !binary.return_bool {
            return self.refuse(position, "comparisons between scalars must use BOOL modifier");
        }
        Ok(())
    }

    fn aggregate(&self, aggregate: &mut Aggregate) -> Result<(), ParseError> {
        self.expr(&mut aggregate.expr)?;
        self.expect_type(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let (Some(param), Some(wanted)) = (&mut aggregate.param, aggregate.op.param_type()) {
            self.expr(param)?;
            self.expect_type(param, wanted, "aggregation parameter")?;
        }
        Ok(())
    }

    fn call(&self, position: PositionRange, call: &mut Call) -> Result<(), ParseError> {
        let signature = call.function.signature();
        self.argument_count(position, call)?;
        let context = format!("call to function \"{}\"", signature.name);
        for (i, arg) in call.args.iter_mut().enumerate() {
            if call.function == Function::Info && i == 1 {
                self.info_selector(arg)?;
                continue;
            }
            self.expr(arg)?;
            let wanted = signature.arg_type(i).expect("the count of arguments was checked");
            self.expect_type(arg, wanted, &context)?;
        }
        Ok(())
    }

    fn argument_count(&self, position: PositionRange, call: &Call) -> Result<(), ParseError> {
        let signature = call.function.signature();
        let (min, max, got) = (signature.args_min(), signature.args_max(), call.args.len());
        let bound = if max == Some(min) && got != min {
            format!("{min}")
        } else if got < min {
            format!("at least {min}")
        } else if let Some(max) = max.filter(|max| got > *max) {
            format!("at most {max}")
        } else {
            return Ok(());
        };
        let message = format!("expected {bound} argument(s) in call to \"{}\", got {got}", signature.name);
        self.refuse(position, message)
    }

    /// The second argument of `info` is a bare list of matchers, which may all let everything through.
    fn info_selector(&self, arg: &Expr) -> Result<(), ParseError> {
        match &arg.kind {
            ExprKind::VectorSelector(selector) if selector.name.is_none() => Ok(()),
            ExprKind::VectorSelector(_) => {
                self.refuse(arg.position, "expected label selectors only, got vector selector instead")
            }
            _ => self.refuse(arg.position, "expected label selectors only"),
        }
    }

    fn expect_type(&self, expr: &Expr, wanted: ValueType, context: &str) -> Result<(), ParseError> {
        let got = expr.value_type();
        if got == wanted {
            return Ok(());
        }
        let message = format!("expected type {} in {context}, got {}", wanted.text(), got.text());
        self.refuse(expr.position, message)
    }
}
