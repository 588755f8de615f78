//! Arithmetic on lengths of time that waits for the query's step and range.
//!
//! Whatever is resolved fits i64 nanoseconds, as in Prometheus, so sums with timestamps need care only at the
//! far ends of time.

use super::ast::{Duration, DurationExpr, DurationExprKind, DurationOp, PositionRange, UnaryOp};

/// i64 nanoseconds hold 292 years; what is longer is no duration.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

/// Where a duration is used decides what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationUse {
    /// A range or a subquery's step: longer than nothing.
    Positive,
    /// An offset.
    Signed,
}

/// What the step and range of the running query are; both 0 for an instant query.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryTimes {
    pub step_ms: i64,
    pub range_ms: i64,
}

/// Why an expression gives no duration, and for which of its parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {problem}", position.start, position.end)]
pub struct DurationError {
    pub position: PositionRange,
    pub problem: DurationProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationProblem {
    #[error("duration must be greater than 0")]
    NotPositive,
    #[error("duration out of range")]
    OutOfRange,
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulo by zero")]
    ModuloByZero,
}

impl Duration {
    pub const ZERO: Duration = Duration::Milliseconds(0);

    /// The length in milliseconds for a query with these times; expressions are cut to whole milliseconds.
    pub fn resolve(&self, usage: DurationUse, times: QueryTimes) -> Result<i64, DurationError> {
        match self {
            Duration::Milliseconds(ms) => Ok(*ms),
            Duration::Expression(expr) => {
                let seconds = expr.seconds(times)?;
                let refuse = |problem| Err(DurationError { position: expr.position, problem });
                if seconds.is_nan() || seconds.abs() >= SECONDS_MAX {
                    return refuse(DurationProblem::OutOfRange);
                }
                if usage == DurationUse::Positive && seconds <= 0.0 {
                    return refuse(DurationProblem::NotPositive);
                }
                Ok((seconds * 1000.0) as i64)
            }
        }
    }
}

impl DurationExpr {
    fn seconds(&self, times: QueryTimes) -> Result<f64, DurationError> {
        let refuse = |problem| Err(DurationError { position: self.position, problem });
        Ok(match &self.kind {
            DurationExprKind::Number(number) => number.value,
            DurationExprKind::Step => times.step_ms as f64 / 1000.0,
            DurationExprKind::Range => times.range_ms as f64 / 1000.0,
            DurationExprKind::Unary(UnaryOp::Plus, expr) | DurationExprKind::Paren(expr) => {
                expr.seconds(times)?
            }
            DurationExprKind::Unary(UnaryOp::Minus, expr) => -expr.seconds(times)?,
            DurationExprKind::MinOf(a, b) => a.seconds(times)?.min(b.seconds(times)?),
            DurationExprKind::MaxOf(a, b) => a.seconds(times)?.max(b.seconds(times)?),
            DurationExprKind::Binary(op, lhs, rhs) => {
                let (lhs, rhs) = (lhs.seconds(times)?, rhs.seconds(times)?);
                match op {
                    DurationOp::Add => lhs + rhs,
                    DurationOp::Subtract => lhs - rhs,
                    DurationOp::Multiply => lhs * rhs,
                    DurationOp::Divide if rhs == 0.0 => return refuse(DurationProblem::DivisionByZero),
                    DurationOp::Divide => lhs / rhs,
                    DurationOp::Modulo if rhs == 0.0 => return refuse(DurationProblem::ModuloByZero),
                    DurationOp::Modulo => lhs % rhs,
                    DurationOp::Power => lhs.powf(rhs),
                }
            }
        })
    }
}

/// A literal number of seconds as milliseconds: rounded to nanoseconds, then cut. `None`: out of range.
pub fn milliseconds_of_seconds(seconds: f64) -> Option<i64> {
    if seconds.is_nan() || seconds.abs() >= SECONDS_MAX {
        return None;
    }
    Some((seconds * 1e9).round() as i64 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_seconds_is_rounded_to_nanoseconds_and_cut_to_milliseconds() {
        assert_eq!(milliseconds_of_seconds(4.018), Some(4018));
        assert_eq!(milliseconds_of_seconds(0.0019), Some(1));
        assert_eq!(milliseconds_of_seconds(9.5e10), None);
        assert_eq!(milliseconds_of_seconds(f64::NAN), None);
    }
}
