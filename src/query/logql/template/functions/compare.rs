//! Comparisons, logic, and what they decide.

use std::cmp::Ordering;

use super::super::RenderError;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, Evaluation, function};

const ANY: usize = usize::MAX;

pub(super) const ALL: &[Builtin] = &[
    Builtin { name: "and", least: 1, most: ANY, takes_regex: false, evaluation: Evaluation::UntilFalse },
    Builtin { name: "or", least: 1, most: ANY, takes_regex: false, evaluation: Evaluation::UntilTrue },
    function("not", 1, 1, |args| Ok(Value::Bool(!args.values[0].is_true()))),
    function("eq", 2, ANY, any_equal),
    function("ne", 2, 2, |args| Ok(Value::Bool(!is_equal(&args.values[0], &args.values[1])?))),
    function("lt", 2, 2, |args| ordered(args, |order| order == Some(Ordering::Less))),
    function("le", 2, 2, |args| ordered(args, |order| order.is_some_and(Ordering::is_le))),
    function("gt", 2, 2, |args| ordered(args, |order| order == Some(Ordering::Greater))),
    function("ge", 2, 2, |args| ordered(args, |order| order.is_some_and(Ordering::is_ge))),
    function("default", 1, 2, |args| {
        let given = args.values.get(1).filter(|given| given.is_true());
        Ok(given.unwrap_or(&args.values[0]).clone())
    }),
];

/// Whether the first is equal to any of the others.
fn any_equal<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    for other in &args.values[1..] {
        if is_equal(&args.values[0], other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn is_equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool, RenderError> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        _ => Ok(order(a, b)? == Some(Ordering::Equal)),
    }
}

fn ordered<'v>(args: &Arguments<'_, 'v>, holds: impl Fn(Option<Ordering>) -> bool) -> Answer<'v> {
    Ok(Value::Bool(holds(order(&args.values[0], &args.values[1])?)))
}

/// `None`: one of them is NaN.
fn order(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, RenderError> {
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some((**a).cmp(&**b)),
        (Value::Time(a), Value::Time(b)) => Some(a.at.cmp(&b.at)),
        _ => {
            let (a, b) = (a.type_name(), b.type_name());
            return Err(RenderError::new(format!("incompatible types for comparison: {a} and {b}")));
        }
    })
}
