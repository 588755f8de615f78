//! Lengths of time in queries: their text (`1h30m`), and arithmetic that waits for the query's step and range.
//!
//! Whatever is resolved fits i64 nanoseconds, as in Prometheus, so sums with timestamps need care only at the
//! far ends of time.

use super::ast::{Duration, DurationExpr, DurationExprKind, DurationOp, PositionRange, UnaryOp};

/// i64 nanoseconds hold 292 years; what is longer is no duration.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

/// The units in the order in which they may follow each other.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

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

/// Reads `1h30m`: units from years to milliseconds, each at most once, in that order; a bare `0` is allowed.
/// `None` where the text is none or does not fit.
pub fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = units.iter().position(|(name, _)| *name == &rest[..letters])?;
        total = count.checked_mul(units[at].1).and_then(|ms| total.checked_add(ms))?;
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    let fits = !text.is_empty() && total <= i64::MAX / 1_000_000;
    fits.then_some(total)
}

/// As [`parse_duration`] reads it; years and weeks only where they are whole, as Prometheus writes them.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ms.unsigned_abs();
    for (name, unit_ms) in UNITS.map(|(name, unit_ms)| (name, unit_ms.unsigned_abs())) {
        let only_whole = matches!(name, "y" | "w");
        if rest < unit_ms || only_whole && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        text.push_str(&format!("{}{name}", rest / unit_ms));
        rest %= unit_ms;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_once_and_in_order() {
        let read = |text| parse_duration(text);
        assert_eq!(read("1h30m"), Some(5_400_000));
        assert_eq!(read("1y2w3d4h5m6s7ms"), Some(33_019_506_007));
        assert_eq!(read("0"), Some(0));
        for bad in ["", "5", "5mm", "5m1h", "5m1m", "m", "5m 1s", "1h-1m", "293y", "99999999999999999999s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_print_as_prometheus_prints_them() {
        let pairs = [(0, "0s"), (300_000, "5m"), (5_400_000, "1h30m"), (-7, "-7ms"), (604_800_000, "1w")];
        for (ms, text) in pairs {
            assert_eq!(format_duration(ms), text);
        }
        assert_eq!(format_duration(8 * 24 * 3_600_000), "8d");
        assert_eq!(format_duration(365 * 24 * 3_600_000), "1y");
    }

    #[test]
    fn a_number_of_seconds_is_rounded_to_nanoseconds_and_cut_to_milliseconds() {
        assert_eq!(milliseconds_of_seconds(4.018), Some(4018));
        assert_eq!(milliseconds_of_seconds(0.0019), Some(1));
        assert_eq!(milliseconds_of_seconds(9.5e10), None);
        assert_eq!(milliseconds_of_seconds(f64::NAN), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0i64..9_000_000_000_000) {
            proptest::prop_assert_eq!(parse_duration(&format_duration(ms)), Some(ms));
        }
    }
}
