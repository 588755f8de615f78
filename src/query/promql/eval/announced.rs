//! The output series of an operator. There may be many of them before the first value is made, and their labels may
//! be long, so each is paid for as it comes, and the budget is asked along the way.

use std::ops::Deref;

use crate::model::Labels;
use crate::query::QueryError;
use crate::query::budget::HeldBytes;
use crate::query::sorting::sort_within;

use super::context::Context;
use super::row::OutputSeries;

/// Series and the memory of their labels, accounted for as long as this lives.
pub struct Announced<'q> {
    pub context: &'q Context<'q>,
    series: Vec<OutputSeries>,
    held: HeldBytes<'q>,
}

/// Making one takes about a microsecond, more with a regular expression.
const SERIES_PER_CHECK: usize = 64;

impl<'q> Announced<'q> {
    pub fn none(context: &'q Context<'q>) -> Announced<'q> {
        Announced { context, series: Vec::new(), held: HeldBytes::none(context.budget) }
    }

    /// A series for each of the input.
    pub fn of(
        context: &'q Context<'q>,
        input: &[OutputSeries],
        map: impl Fn(&OutputSeries) -> OutputSeries,
    ) -> Result<Announced<'q>, QueryError> {
        let mut announced = Announced::none(context);
        for series in input {
            announced.push_made_from(&series.labels, map(series))?;
        }
        Ok(announced)
    }

    /// The same series.
    pub fn copy(context: &'q Context<'q>, input: &[OutputSeries]) -> Result<Announced<'q>, QueryError> {
        Announced::of(context, input, OutputSeries::clone)
    }

    /// A series whose labels were made for it.
    pub fn push(&mut self, series: OutputSeries) -> Result<(), QueryError> {
        self.pay(series.labels.text_len())?;
        self.series.push(series);
        Ok(())
    }

    /// A series that has the labels of another, which pays for them, or labels made from those.
    pub fn push_made_from(&mut self, other: &Labels, series: OutputSeries) -> Result<(), QueryError> {
        let text_len = if series.labels.shares_text(other) { 0 } else { series.labels.text_len() };
        self.pay(text_len)?;
        self.series.push(series);
        Ok(())
    }

    /// Pays for what is kept beside the series.
    pub fn hold(&mut self, bytes: usize) -> Result<(), QueryError> {
        Ok(self.held.grow(bytes as u64)?)
    }

    pub fn drop_name(&mut self, series: usize) {
        self.series[series].drop_name = true;
    }

    /// Puts the series in the order of their labels; answers with the new place of each.
    pub fn sort(&mut self) -> Result<Vec<usize>, QueryError> {
        let mut numbered: Vec<(usize, OutputSeries)> =
            std::mem::take(&mut self.series).into_iter().enumerate().collect();
        if !numbered.is_sorted_by(|a, b| a.1.labels <= b.1.labels) {
            numbered = sort_within(self.context.budget, numbered, &|a, b| a.1.labels.cmp(&b.1.labels))?;
        }
        let mut places = vec![0; numbered.len()];
        for (place, (number, series)) in numbered.into_iter().enumerate() {
            places[number] = place;
            self.series.push(series);
        }
        Ok(places)
    }

    fn pay(&mut self, text_len: usize) -> Result<(), QueryError> {
        if self.series.len().is_multiple_of(SERIES_PER_CHECK) {
            self.context.budget.check()?;
        }
        self.hold(size_of::<OutputSeries>() + text_len)
    }
}

impl Deref for Announced<'_> {
    type Target = [OutputSeries];

    fn deref(&self) -> &[OutputSeries] {
        &self.series
    }
}
