//! Operators pull: each announces its output series first, then gives out one series at a time.

use std::collections::HashMap;

use crate::model::Labels;
use crate::query::QueryError;

use super::context::{Context, Held};
use super::row::{OutputSeries, Row};

/// An operator whose output is an instant vector at every step.
///
/// [`Source::next`] is called at most once for each announced series and yields them in that order; a row may
/// turn out to be empty.
pub trait Source {
    fn series(&self) -> &[OutputSeries];

    /// The values of the next series; `row` is overwritten.
    fn next(&mut self, row: &mut Row) -> Result<(), QueryError>;
}

pub type BoxedSource<'q> = Box<dyn Source + 'q>;

/// Rows that are already computed.
pub struct Rows<'q> {
    pub series: Vec<OutputSeries>,
    pub rows: Vec<Row>,
    given: usize,
    _held: Option<Held<'q>>,
}

impl<'q> Rows<'q> {
    pub fn new(series: Vec<OutputSeries>, rows: Vec<Row>, held: Option<Held<'q>>) -> Rows<'q> {
        assert_eq!(series.len(), rows.len(), "a row for each series");
        Rows { series, rows, given: 0, _held: held }
    }

    pub fn empty() -> Rows<'q> {
        Rows::new(Vec::new(), Vec::new(), None)
    }

    pub fn one(series: OutputSeries, row: Row) -> Rows<'q> {
        Rows::new(vec![series], vec![row], None)
    }

    pub fn into_parts(self) -> (Vec<OutputSeries>, Vec<Row>, Option<Held<'q>>) {
        (self.series, self.rows, self._held)
    }

    /// All of a source at once; what is accounted for lives as long as the result.
    pub fn collect(
        context: &'q Context<'q>,
        mut source: BoxedSource<'q>,
        steps: usize,
    ) -> Result<Rows<'q>, QueryError> {
        let series = source.series().to_vec();
        let mut held = context.hold((series.len() * size_of::<OutputSeries>()) as u64)?;
        let mut rows = Vec::with_capacity(series.len());
        for _ in &series {
            context.budget.check()?;
            let mut row = Row::new(steps);
            source.next(&mut row)?;
            held.grow(row.bytes())?;
            rows.push(row);
        }
        Ok(Rows::new(series, rows, Some(held)))
    }
}

impl Source for Rows<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.series
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        *row = std::mem::take(&mut self.rows[self.given]);
        self.given += 1;
        Ok(())
    }
}

/// A source whose rows are changed one by one and whose series keep their order.
pub struct Mapped<'q, F> {
    input: BoxedSource<'q>,
    series: Vec<OutputSeries>,
    given: usize,
    map: F,
}

impl<'q, F: FnMut(usize, &mut Row) -> Result<(), QueryError>> Mapped<'q, F> {
    /// `series` are the labels of the output; `map` is given the number of the series and the input's row.
    pub fn new(input: BoxedSource<'q>, series: Vec<OutputSeries>, map: F) -> Mapped<'q, F> {
        assert_eq!(input.series().len(), series.len(), "a mapping keeps the series");
        Mapped { input, series, given: 0, map }
    }
}

impl<F: FnMut(usize, &mut Row) -> Result<(), QueryError>> Source for Mapped<'_, F> {
    fn series(&self) -> &[OutputSeries] {
        &self.series
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        self.input.next(row)?;
        (self.map)(self.given, row)?;
        self.given += 1;
        Ok(())
    }
}

/// A source evaluated at one step, its values repeated at all.
pub struct Repeated<'q> {
    pub input: BoxedSource<'q>,
    pub steps: usize,
}

impl Source for Repeated<'_> {
    fn series(&self) -> &[OutputSeries] {
        self.input.series()
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        let mut one = Row::new(1);
        self.input.next(&mut one)?;
        row.reset(self.steps);
        for step in 0..self.steps {
            row.set(step, one.cell(0));
        }
        Ok(())
    }
}

/// What happens to series that end up with equal labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EqualLabels {
    /// They become one series if no step has a value in two of them.
    Merge,
    /// They are refused if two of them have any value.
    Refuse,
}

/// Series with equal labels, which renaming or dropping labels can make, become one or are refused.
pub fn unite<'q>(
    context: &'q Context<'q>,
    source: BoxedSource<'q>,
    steps: usize,
    equal: EqualLabels,
) -> Result<BoxedSource<'q>, QueryError> {
    let mut first_with: HashMap<&Labels, usize> = HashMap::with_capacity(source.series().len());
    let unique = source.series().iter().enumerate().all(|(i, s)| first_with.insert(&s.labels, i).is_none());
    if unique {
        return Ok(source);
    }
    drop(first_with);
    let collected = Rows::collect(context, source, steps)?;
    let mut place_of: HashMap<Labels, usize> = HashMap::new();
    let (mut series, mut rows): (Vec<OutputSeries>, Vec<Row>) = (Vec::new(), Vec::new());
    for (announced, row) in collected.series.into_iter().zip(collected.rows) {
        if row.is_empty() {
            continue;
        }
        if let Some(&place) = place_of.get(&announced.labels) {
            if equal == EqualLabels::Refuse {
                return Err(same_labelset());
            }
            merge_into(&mut rows[place], &row)?;
            continue;
        }
        place_of.insert(announced.labels.clone(), rows.len());
        series.push(announced);
        rows.push(row);
    }
    Ok(Box::new(Rows::new(series, rows, collected._held)))
}

fn merge_into(target: &mut Row, row: &Row) -> Result<(), QueryError> {
    for step in 0..row.len() {
        let Some(cell) = row.cell(step) else { continue };
        if target.has(step) {
            return Err(same_labelset());
        }
        target.set(step, Some(cell));
    }
    Ok(())
}

pub fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
}
