//! What a template computes with, and how Go prints it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::time::Time;
use crate::model::bounded_regex::BoundedRegex;

/// A text that is cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Text<'v> {
    Borrowed(&'v str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text<'v>),
    Time(Time),
    List(Arc<Vec<Value<'v>>>),
    Map(Arc<BTreeMap<String, Value<'v>>>),
    /// The labels of the entry, which are looked up one by one.
    Labels,
    /// A regular expression of the template's own text.
    Regex(Arc<BoundedRegex>),
}

impl<'v> Value<'v> {
    pub fn borrowed(text: &'v str) -> Value<'v> {
        Value::Text(Text::Borrowed(text))
    }

    pub fn shared(text: impl Into<Arc<str>>) -> Value<'v> {
        Value::Text(Text::Shared(text.into()))
    }

    /// What Go calls the type of the value.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) | Value::Regex(_) => "string",
            Value::Time(_) => "time.Time",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Labels => "map[string]string",
        }
    }

    /// Whether `if` takes the value for true: what is empty is not.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Time(_) | Value::Labels | Value::Regex(_) => true,
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
        }
    }

    /// The items of a list or a map.
    pub fn item_count(&self) -> usize {
        match self {
            Value::List(items) => items.len(),
            Value::Map(entries) => entries.len(),
            _ => 0,
        }
    }

    pub fn text_bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            _ => 0,
        }
    }

    /// Appends the value as Go's `%v` prints it.
    pub fn print(&self, out: &mut String) {
        match self {
            Value::Nil => out.push_str("<nil>"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&general_float(*value)),
            Value::Text(text) => out.push_str(text),
            Value::Regex(regex) => out.push_str(regex.regex().as_str()),
            Value::Time(time) => time.print(out),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    item.print(out);
                }
                out.push(']');
            }
            Value::Map(entries) => {
                out.push_str("map[");
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.print(out);
                }
                out.push(']');
            }
            Value::Labels => out.push_str("map[]"),
        }
    }

    pub fn printed(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    /// A document as `fromJson` gives it; every number is a float, as in Go.
    pub fn from_json(json: serde_json::Value) -> Value<'v> {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::shared(text),
            serde_json::Value::Array(items) => {
                Value::List(Arc::new(items.into_iter().map(Value::from_json).collect()))
            }
            serde_json::Value::Object(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, Value::from_json(value)));
                Value::Map(Arc::new(entries.collect()))
            }
        }
    }
}

/// A float as Go's `%g` without a precision writes it: the fewest digits that read back, with an exponent below
/// 1e-4 and from 1e+06 on.
pub(super) fn general_float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        special_float(value).to_owned()
    } else if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{value}")
    } else {
        exponent_float(&format!("{value:e}"))
    }
}

pub(super) fn special_float(value: f64) -> &'static str {
    match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

/// `1.5e7` as Go writes it: `1.5e+07`.
pub(super) fn exponent_float(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}
