//! Values of fields and literals, and what comparing and calculating with them means.
//!
//! Numbers of all kinds compare as numbers; any other two kinds never match each other, whichever way one asks. What
//! is not there is nil, and matches nothing but nil.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use super::ast::BinaryOp;

#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    Text(Cow<'a, str>),
    Status(Status),
    Kind(Kind),
    /// An attribute's array: one matches if one of its values does, and is unequal if none of them is equal.
    List(Vec<Value<'a>>),
    /// The values of all events or links: a condition holds if one of them fulfils it.
    Each(Vec<Value<'a>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Unset,
    Ok,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Unset, Status::Ok, Status::Error];

    /// OTLP's number; one that OTLP does not know is unset.
    pub fn from_code(code: i32) -> Status {
        *usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).unwrap_or(&Status::Unset)
    }

    pub fn code(self) -> i32 {
        self as i32
    }

    pub fn name(self) -> &'static str {
        match self {
            Status::Unset => "unset",
            Status::Ok => "ok",
            Status::Error => "error",
        }
    }
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer];

    /// OTLP's number; one that OTLP does not know is unspecified.
    pub fn from_code(code: i32) -> Kind {
        *usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).unwrap_or(&Kind::Unspecified)
    }

    pub fn code(self) -> i32 {
        self as i32
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Unspecified => "unspecified",
            Kind::Internal => "internal",
            Kind::Server => "server",
            Kind::Client => "client",
            Kind::Producer => "producer",
            Kind::Consumer => "consumer",
        }
    }
}

impl<'a> Value<'a> {
    /// The same value for as long as this one lives.
    pub fn borrowed(&'a self) -> Value<'a> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            other => other.clone(),
        }
    }

    pub fn into_owned(self) -> Value<'static> {
        let all = |values: Vec<Value>| values.into_iter().map(Value::into_owned).collect();
        match self {
            Value::Nil => Value::Nil,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Duration(value) => Value::Duration(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Status(status) => Value::Status(status),
            Value::Kind(kind) => Value::Kind(kind),
            Value::List(values) => Value::List(all(values)),
            Value::Each(values) => Value::Each(all(values)),
        }
    }

    pub fn text(text: impl Into<String>) -> Value<'static> {
        Value::Text(Cow::Owned(text.into()))
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Int(value) | Value::Duration(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Nothing that a condition could hold for.
    pub fn is_nil(&self) -> bool {
        match self {
            Value::Nil => true,
            Value::Each(values) => values.is_empty(),
            _ => false,
        }
    }

    /// A condition that holds; of several, one that does.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Bool(value) => *value,
            Value::Each(values) | Value::List(values) => values.iter().any(Value::is_true),
            _ => false,
        }
    }

    /// Whether a comparison holds.
    pub fn compare(&self, op: BinaryOp, other: &Value) -> bool {
        match (self, other) {
            (Value::Each(values), other) => values.iter().any(|value| value.compare(op, other)),
            (value, Value::Each(others)) => others.iter().any(|other| value.compare(op, other)),
            (Value::List(values), other) => any_or_all(values, op, |value| value.compare(op, other)),
            (value, Value::List(others)) => any_or_all(others, op, |other| value.compare(op, other)),
            _ => match self.order(other) {
                None => false,
                Some(order) => holds(op, order),
            },
        }
    }

    /// Whether a text, or one of several, passes `test`; with `is_negated`, whether it does not.
    pub fn matches(&self, is_negated: bool, test: &impl Fn(&str) -> bool) -> bool {
        match self {
            Value::Text(text) => test(text) != is_negated,
            Value::Each(values) => values.iter().any(|value| value.matches(is_negated, test)),
            Value::List(values) if is_negated => {
                !values.is_empty() && values.iter().all(|value| value.matches(true, test))
            }
            Value::List(values) => values.iter().any(|value| value.matches(false, test)),
            _ => false,
        }
    }

    /// `None` where the two are of kinds that do not compare; `Some(None)` where one is no number.
    fn order(&self, other: &Value) -> Option<Option<Ordering>> {
        use Value::*;
        Some(match (self, other) {
            (Int(a) | Duration(a), Int(b) | Duration(b)) => Some(a.cmp(b)),
            (Bool(a), Bool(b)) => Some(a.cmp(b)),
            (Text(a), Text(b)) => Some(a.cmp(b)),
            (Status(a), Status(b)) => Some(a.cmp(b)),
            (Kind(a), Kind(b)) => Some(a.cmp(b)),
            _ => self.as_number()?.partial_cmp(&other.as_number()?),
        })
    }

    /// The result of arithmetic; nil where there is none.
    pub fn calculate(&self, op: BinaryOp, other: &Value) -> Value<'static> {
        let whole = match (self, other) {
            (Value::Int(a), Value::Int(b)) => whole(op, *a, *b).map(Value::Int),
            (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => {
                whole(op, *a, *b).map(Value::Duration)
            }
            _ => None,
        };
        let real = || Some(Value::Float(real(op, self.as_number()?, other.as_number()?)));
        whole.or_else(real).unwrap_or(Value::Nil)
    }

    pub fn negative(&self) -> Value<'static> {
        match self {
            Value::Int(value) => value.checked_neg().map_or(Value::Nil, Value::Int),
            Value::Duration(value) => value.checked_neg().map_or(Value::Nil, Value::Duration),
            Value::Float(value) => Value::Float(-value),
            _ => Value::Nil,
        }
    }
}

fn any_or_all(values: &[Value], op: BinaryOp, test: impl FnMut(&Value) -> bool) -> bool {
    match op {
        BinaryOp::NotEqual => !values.is_empty() && values.iter().all(test),
        _ => values.iter().any(test),
    }
}

fn holds(op: BinaryOp, order: Option<Ordering>) -> bool {
    let Some(order) = order else { return op == BinaryOp::NotEqual };
    match op {
        BinaryOp::Equal => order.is_eq(),
        BinaryOp::NotEqual => order.is_ne(),
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessEqual => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        BinaryOp::GreaterEqual => order.is_ge(),
        _ => false,
    }
}

/// `None` where the result is no whole number of 64 bits.
fn whole(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Subtract => a.checked_sub(b),
        BinaryOp::Multiply => a.checked_mul(b),
        BinaryOp::Divide => a.checked_div(b),
        BinaryOp::Modulo => a.checked_rem(b),
        BinaryOp::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ => None,
    }
}

fn real(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => a / b,
        BinaryOp::Modulo => a % b,
        BinaryOp::Power => a.powf(b),
        _ => f64::NAN,
    }
}

/// As it is shown to people: strings plain, durations as `1.5s`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Duration(nanos) => write_duration(f, *nanos),
            Value::Text(text) => f.write_str(text),
            Value::Status(status) => f.write_str(status.name()),
            Value::Kind(kind) => f.write_str(kind.name()),
            Value::List(values) | Value::Each(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// In the largest unit that leaves at least one before the point, as Go writes them; minutes and hours apart.
fn write_duration(f: &mut fmt::Formatter<'_>, nanos: i64) -> fmt::Result {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    const SECOND: u64 = 1_000_000_000;
    match size {
        0 => f.write_str("0s"),
        _ if size < 1_000 => write!(f, "{sign}{size}ns"),
        _ if size < 1_000_000 => write!(f, "{sign}{}µs", decimal(size, 1_000)),
        _ if size < SECOND => write!(f, "{sign}{}ms", decimal(size, 1_000_000)),
        _ if size < 60 * SECOND => write!(f, "{sign}{}s", decimal(size, SECOND)),
        _ => {
            let (minutes, seconds) = (size / (60 * SECOND), decimal(size % (60 * SECOND), SECOND));
            match minutes / 60 {
                0 => write!(f, "{sign}{minutes}m{seconds}s"),
                hours => write!(f, "{sign}{hours}h{}m{seconds}s", minutes % 60),
            }
        }
    }
}

/// `size / unit` exactly; `unit` is a power of ten.
fn decimal(size: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", size / unit, size % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_kinds_compare_and_other_kinds_never_match() {
        let one = Value::Int(1);
        assert!(one.compare(BinaryOp::Equal, &Value::Float(1.0)));
        assert!(Value::Duration(2).compare(BinaryOp::Greater, &one));
        assert!(!one.compare(BinaryOp::Equal, &Value::text("1")));
        assert!(!one.compare(BinaryOp::NotEqual, &Value::text("1")));
        assert!(!Value::Nil.compare(BinaryOp::NotEqual, &one));
        assert!(!Value::Nil.compare(BinaryOp::Equal, &Value::Nil));
        assert!(Value::Float(f64::NAN).compare(BinaryOp::NotEqual, &one));
        let (large, larger) = (Value::Int(i64::MAX - 1), Value::Int(i64::MAX));
        assert!(large.compare(BinaryOp::Less, &larger), "no detour over floats");
    }

    #[test]
    fn an_array_matches_by_one_value_and_is_unequal_by_all() {
        let list = Value::List(vec![Value::text("a"), Value::text("b")]);
        assert!(list.compare(BinaryOp::Equal, &Value::text("b")));
        assert!(!list.compare(BinaryOp::NotEqual, &Value::text("b")));
        assert!(list.compare(BinaryOp::NotEqual, &Value::text("c")));
        assert!(list.matches(false, &|text| text == "a") && !list.matches(true, &|text| text == "a"));
    }

    #[test]
    fn events_fulfil_a_condition_one_by_one() {
        let each = Value::Each(vec![Value::text("a"), Value::text("b")]);
        assert!(each.compare(BinaryOp::Equal, &Value::text("b")));
        assert!(each.compare(BinaryOp::NotEqual, &Value::text("b")));
        assert!(!Value::Each(vec![]).compare(BinaryOp::NotEqual, &Value::text("b")));
    }

    #[test]
    fn arithmetic_stays_whole_where_it_can() {
        let calculate = |a: Value, op, b: Value| a.calculate(op, &b);
        assert_eq!(calculate(Value::Int(7), BinaryOp::Divide, Value::Int(2)), Value::Int(3));
        assert_eq!(calculate(Value::Int(7), BinaryOp::Divide, Value::Float(2.0)), Value::Float(3.5));
        assert_eq!(calculate(Value::Duration(7), BinaryOp::Multiply, Value::Int(2)), Value::Duration(14));
        assert_eq!(
            calculate(Value::Int(i64::MAX), BinaryOp::Add, Value::Int(1)),
            Value::Float(2f64.powi(63))
        );
        assert_eq!(calculate(Value::Nil, BinaryOp::Add, Value::Int(1)), Value::Nil);
        assert_eq!(calculate(Value::text("a"), BinaryOp::Add, Value::Int(1)), Value::Nil);
    }

    #[test]
    fn durations_are_written_as_people_read_them() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_000_000_001, "1.000000001s"),
            (90_000_000_000, "1m30s"),
            (-3_723_000_000_000, "-1h2m3s"),
        ] {
            assert_eq!(Value::Duration(nanos).to_string(), text);
        }
    }
}
