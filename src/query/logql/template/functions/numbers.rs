//! Arithmetic, as Sprig has it: on whole numbers and, with an `f` behind the name, on floats.

use super::super::RenderError;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, function};
use crate::query::logql::units::{parse_bytes, parse_go_duration};

const ANY: usize = usize::MAX;

pub(super) const ALL: &[Builtin] = &[
    function("int", 1, 1, |args| Ok(Value::Int(args.int(0)?))),
    function("float64", 1, 1, |args| Ok(Value::Float(args.float(0)?))),
    function("add", 1, ANY, |args| ints(args, |a, b| Ok(a.wrapping_add(b)))),
    function("sub", 2, 2, |args| ints(args, |a, b| Ok(a.wrapping_sub(b)))),
    function("mul", 1, ANY, |args| ints(args, |a, b| Ok(a.wrapping_mul(b)))),
    function("div", 2, 2, |args| ints(args, |a, b| if b == 0 { by_zero() } else { Ok(a.wrapping_div(b)) })),
    function("mod", 2, 2, |args| ints(args, |a, b| if b == 0 { by_zero() } else { Ok(a.wrapping_rem(b)) })),
    function("max", 1, ANY, |args| ints(args, |a, b| Ok(a.max(b)))),
    function("min", 1, ANY, |args| ints(args, |a, b| Ok(a.min(b)))),
    function("addf", 1, ANY, |args| floats(args, |a, b| a + b)),
    function("subf", 1, ANY, |args| floats(args, |a, b| a - b)),
    function("mulf", 1, ANY, |args| floats(args, |a, b| a * b)),
    function("divf", 1, ANY, |args| floats(args, |a, b| a / b)),
    function("maxf", 1, ANY, |args| floats(args, f64::max)),
    function("minf", 1, ANY, |args| floats(args, f64::min)),
    function("ceil", 1, 1, |args| Ok(Value::Float(args.float(0)?.ceil()))),
    function("floor", 1, 1, |args| Ok(Value::Float(args.float(0)?.floor()))),
    function("round", 2, 3, round),
    function("bytes", 1, 1, |args| {
        let text = args.text(0)?;
        let bytes = parse_bytes(text).ok_or_else(|| RenderError::new(format!("invalid size: {text:?}")))?;
        Ok(Value::Float(bytes as f64))
    }),
    function("duration", 1, 1, seconds),
    function("duration_seconds", 1, 1, seconds),
];

fn ints<'v>(args: &Arguments<'_, 'v>, join: impl Fn(i64, i64) -> Result<i64, RenderError>) -> Answer<'v> {
    let rest = 1..args.values.len();
    rest.into_iter().try_fold(args.int(0)?, |sum, i| join(sum, args.int(i)?)).map(Value::Int)
}

fn floats<'v>(args: &Arguments<'_, 'v>, join: impl Fn(f64, f64) -> f64) -> Answer<'v> {
    let rest = 1..args.values.len();
    rest.into_iter().try_fold(args.float(0)?, |sum, i| Ok(join(sum, args.float(i)?))).map(Value::Float)
}

fn by_zero() -> Result<i64, RenderError> {
    Err(RenderError::new("integer divide by zero"))
}

/// `round value places [from]`: up from a fraction of `from`, 0.5 where none is given.
fn round<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let (value, places) = (args.float(0)?, args.int(1)?);
    let from = if args.values.len() > 2 { args.float(2)? } else { 0.5 };
    let scale = 10f64.powi(i32::try_from(places).unwrap_or(0));
    let scaled = value * scale;
    let (whole, part) = (scaled.trunc(), scaled.fract().abs());
    let rounded = if part >= from { whole + scaled.signum() } else { whole };
    Ok(Value::Float(rounded / scale))
}

fn seconds<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let text = args.text(0)?;
    let nanos = parse_go_duration(text);
    let nanos = nanos.ok_or_else(|| RenderError::new(format!("time: invalid duration {text:?}")))?;
    Ok(Value::Float(nanos as f64 / 1e9))
}
