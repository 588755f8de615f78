//! What gives the same at every step: parts whose every selector is pinned by `@`. They are evaluated once.

use crate::query::promql::ast::{Expr, ExprKind};
use crate::query::promql::functions_table::Function;

/// True if an expression does not depend on the step's time.
pub fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::VectorSelector(selector) => selector.at.is_some(),
        ExprKind::MatrixSelector(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Call(call) => match call.function {
            // The time of a pinned sample is as fixed as its value; of anything else it is the step's.
            Function::Timestamp => {
                let argument = call.args[0].unwrap_parens();
                matches!(argument.kind, ExprKind::VectorSelector(_)) && is_invariant(argument)
            }
            function => !depends_on_time(function) && call.args.iter().all(is_invariant),
        },
        ExprKind::Unary(_) | ExprKind::Paren(_) | ExprKind::Binary(_) | ExprKind::Aggregate(_) => {
            expr.children().into_iter().all(is_invariant)
        }
    }
}

fn depends_on_time(function: Function) -> bool {
    use Function::*;
    matches!(
        function,
        Time | PredictLinear
            | DaysInMonth
            | DayOfMonth
            | DayOfWeek
            | DayOfYear
            | Hour
            | Minute
            | Month
            | Year
    )
}
