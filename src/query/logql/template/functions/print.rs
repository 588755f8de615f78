//! Printing, and what values hold.

use super::super::RenderError;
use super::super::printf::printf;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, function};

const ANY: usize = usize::MAX;

pub(super) const ALL: &[Builtin] = &[
    function("print", 0, ANY, |args| args.made(joined(&args.values))),
    function("println", 0, ANY, |args| {
        let words: Vec<String> = args.values.iter().map(Value::printed).collect();
        args.made(words.join(" ") + "\n")
    }),
    function("printf", 1, ANY, |args| {
        let text = printf(args.text(0)?, &args.values[1..], args.budget)?;
        Ok(Value::shared(text))
    }),
    function("len", 1, 1, len),
    function("index", 1, ANY, index),
    function("slice", 1, 4, slice),
];

/// One after the other, with a blank between two that are no text.
pub(super) fn joined(values: &[Value<'_>]) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
        if i > 0 && !is_text(value) && !is_text(&values[i - 1]) {
            out.push(' ');
        }
        value.print(&mut out);
    }
    out
}

fn len<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let len = match &args.values[0] {
        Value::Text(text) => text.len(),
        value @ (Value::List(_) | Value::Map(_)) => value.item_count(),
        other => return Err(RenderError::new(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(len as i64))
}

/// `index value key key`: what stands there, level by level.
fn index<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let mut value = args.values[0].clone();
    for key in &args.values[1..] {
        value = match (&value, key) {
            (Value::Map(entries), Value::Text(key)) => entries.get(&**key).cloned().unwrap_or(Value::Nil),
            (Value::List(items), Value::Int(at)) => {
                let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
                item.cloned().ok_or_else(|| RenderError::new(format!("index out of range: {at}")))?
            }
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                let byte = byte.ok_or_else(|| RenderError::new(format!("index out of range: {at}")))?;
                Value::Int(i64::from(*byte))
            }
            (value, key) => {
                let message = format!("cannot index {} with {}", value.type_name(), key.type_name());
                return Err(RenderError::new(message));
            }
        };
    }
    Ok(value)
}

/// `slice value from to`. Bytes of a text; where they cut a character, it is replaced.
fn slice<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let len = match &args.values[0] {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(RenderError::new(format!("slice of type {}", other.type_name()))),
    };
    let mut bounds = [0, len];
    for i in 1..args.values.len().min(3) {
        bounds[i - 1] = usize::try_from(args.int(i)?).unwrap_or(usize::MAX);
    }
    let [from, to] = bounds;
    if from > to || to > len {
        return Err(RenderError::new(format!("slice out of range: {from} to {to} of {len}")));
    }
    match &args.values[0] {
        Value::List(items) => {
            let items = items[from..to].to_vec();
            args.budget.take(items.len() * size_of::<Value<'_>>())?;
            Ok(Value::List(std::sync::Arc::new(items)))
        }
        _ => {
            let kept = String::from_utf8_lossy(&args.text(0)?.as_bytes()[from..to]).into_owned();
            args.made(kept)
        }
    }
}
