//! The values of a scalar expression, one for each step.

use std::ops::Deref;

use crate::query::QueryError;

use super::context::{Context, Held};
use super::row::Row;

/// Values and their memory, accounted for as long as this lives.
pub struct Scalar<'q> {
    context: &'q Context<'q>,
    values: Vec<f64>,
    held: Held<'q>,
}

impl<'q> Scalar<'q> {
    pub fn constant(context: &'q Context<'q>, value: f64, steps: usize) -> Result<Scalar<'q>, QueryError> {
        Scalar::of(context, steps, |_| value)
    }

    pub fn of(
        context: &'q Context<'q>,
        steps: usize,
        mut value: impl FnMut(usize) -> f64,
    ) -> Result<Scalar<'q>, QueryError> {
        let held = context.hold((steps as u64).saturating_mul(8))?;
        let mut values = Vec::with_capacity(steps);
        for piece in context.pieces(steps) {
            values.extend(piece?.map(&mut value));
        }
        Ok(Scalar { context, values, held })
    }

    /// Replaces each value by `f` of its step and itself.
    pub fn map(mut self, f: impl Fn(usize, f64) -> f64) -> Result<Scalar<'q>, QueryError> {
        for piece in self.context.pieces(self.values.len()) {
            for step in piece? {
                self.values[step] = f(step, self.values[step]);
            }
        }
        Ok(self)
    }

    /// The values as those of a series, and what pays for them.
    pub fn into_row(self) -> (Row, Held<'q>) {
        (Row::of(self.values), self.held)
    }
}

impl Deref for Scalar<'_> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}
