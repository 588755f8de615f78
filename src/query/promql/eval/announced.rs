//! The output series of an operator. There may be many of them before the first value is made, and their labels may
//! be long, so each is paid for as it comes, and the budget is asked along the way.

use std::ops::Deref;

use crate::model::Labels;
use crate::query::QueryError;

use super::context::{Context, Held};
use super::row::OutputSeries;

/// Series and the memory of their labels, accounted for as long as this lives.
pub struct Announced<'q> {
    context: &'q Context<'q>,
    series: Vec<OutputSeries>,
    held: Held<'q>,
}

/// Making one takes about a microsecond, more with a regular expression.
const SERIES_PER_CHECK: usize = 64;

impl<'q> Announced<'q> {
    pub fn none(context: &'q Context<'q>) -> Announced<'q> {
        Announced { context, series: Vec::new(), held: context.hold_nothing() }
    }

    /// A series that has the labels of another, which pays for them, or labels made from those.
    pub fn push_made_from(&mut self, other: &Labels, series: OutputSeries) -> Result<(), QueryError> {
        let text_len = if series.labels.shares_text(other) { 0 } else { series.labels.text_len() };
        self.pay(text_len)?;
        self.series.push(series);
        Ok(())
    }

    fn pay(&mut self, text_len: usize) -> Result<(), QueryError> {
        if self.series.len().is_multiple_of(SERIES_PER_CHECK) {
            self.context.budget.check()?;
        }
        self.held.grow((size_of::<OutputSeries>() + text_len) as u64)
    }
}

impl Deref for Announced<'_> {
    type Target = [OutputSeries];

    fn deref(&self) -> &[OutputSeries] {
        &self.series
    }
}
