//! The functions that a template can call: Go's own, Loki's old ones, Sprig's, and those of the entry.

mod compare;
mod encode;
mod numbers;
mod print;
mod texts;
mod times;

use std::sync::Arc;

use crate::model::Lookout;
use crate::model::bounded_regex::BoundedRegex;
use crate::model::line_regex::line_regex;

use super::run::Budget;
use super::value::Value;
use super::{RenderError, TemplateInput};

/// What compiling a regular expression costs, so that a line has some dozens at most.
const REGEX_BYTES: usize = 64 << 10;

/// A function and the arguments it takes.
#[derive(Debug)]
pub(super) struct Builtin {
    pub name: &'static str,
    pub least: usize,
    pub most: usize,
    /// The first argument is a regular expression.
    pub takes_regex: bool,
    pub evaluation: Evaluation,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Evaluation {
    /// All arguments are computed before.
    Values(Function),
    /// `and`: only up to the first that is false.
    UntilFalse,
    /// `or`: only up to the first that is true.
    UntilTrue,
}

pub(super) type Function = for<'v> fn(&Arguments<'_, 'v>) -> Answer<'v>;
pub(super) type Answer<'v> = Result<Value<'v>, RenderError>;

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Builtin> {
    let all = [compare::ALL, encode::ALL, numbers::ALL, print::ALL, texts::ALL, times::ALL];
    all.into_iter().flatten().find(|function| function.name == name)
}

const fn function(name: &'static str, least: usize, most: usize, run: Function) -> Builtin {
    Builtin { name, least, most, takes_regex: false, evaluation: Evaluation::Values(run) }
}

const fn with_regex(name: &'static str, count: usize, run: Function) -> Builtin {
    Builtin { name, least: count, most: count, takes_regex: true, evaluation: Evaluation::Values(run) }
}

/// What a function is called with. The count was checked.
pub(super) struct Arguments<'a, 'v> {
    values: Vec<Value<'v>>,
    line: &'v str,
    timestamp: i64,
    now: i64,
    lookout: &'v Lookout<'v>,
    budget: &'a Budget,
}

impl<'a, 'v> Arguments<'a, 'v> {
    pub fn new(
        values: Vec<Value<'v>>,
        input: &'v TemplateInput<'_>,
        budget: &'a Budget,
    ) -> Arguments<'a, 'v> {
        let TemplateInput { line, timestamp, now, lookout, .. } = *input;
        Arguments { values, line, timestamp, now, lookout, budget }
    }

    fn text(&self, i: usize) -> Result<&str, RenderError> {
        match &self.values[i] {
            Value::Text(text) => Ok(text),
            Value::Regex(regex) => Ok(regex.regex().as_str()),
            other => Err(wrong_type("string", other)),
        }
    }

    /// A whole number; texts and floats are read as Sprig reads them, what is none counts as 0.
    fn int(&self, i: usize) -> Result<i64, RenderError> {
        Ok(match &self.values[i] {
            Value::Int(value) => *value,
            Value::Float(value) => *value as i64,
            Value::Bool(value) => i64::from(*value),
            Value::Text(text) => int_of(text),
            Value::Nil => 0,
            other => return Err(wrong_type("int", other)),
        })
    }

    /// A number; what is none counts as 0, as with Sprig.
    fn float(&self, i: usize) -> Result<f64, RenderError> {
        Ok(match &self.values[i] {
            Value::Int(value) => *value as f64,
            Value::Float(value) => *value,
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::Text(text) => text.trim().parse().unwrap_or(0.0),
            Value::Nil => 0.0,
            other => return Err(wrong_type("float64", other)),
        })
    }

    /// The regular expression of the first argument. One that is not in the template's text is compiled for each line.
    fn regex(&self) -> Result<Arc<BoundedRegex>, RenderError> {
        if let Value::Regex(regex) = &self.values[0] {
            return Ok(regex.clone());
        }
        self.budget.take(REGEX_BYTES)?;
        let regex = line_regex(self.text(0)?).map_err(|error| RenderError::new(error.to_string()))?;
        Ok(Arc::new(regex))
    }

    /// A text that was made, paid for.
    fn made(&self, text: impl Into<String>) -> Answer<'v> {
        let text = text.into();
        self.budget.take(text.len())?;
        Ok(Value::shared(text))
    }
}

fn int_of(text: &str) -> i64 {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|value| value as i64)).unwrap_or(0)
}

fn wrong_type(wanted: &str, got: &Value<'_>) -> RenderError {
    RenderError::new(format!("wrong type for value; expected {wanted}; got {}", got.type_name()))
}
