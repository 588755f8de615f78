//! Operators pull: each announces its output series first, then gives out one series at a time.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::model::Labels;
use crate::query::QueryError;

use super::announced::Announced;
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

    pub fn one(series: OutputSeries, (row, held): (Row, Held<'q>)) -> Rows<'q> {
        Rows::new(vec![series], vec![row], Some(held))
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
    series: Announced<'q>,
    map: F,
}

impl<'q, F: FnMut(Range<usize>, &mut Row)> Mapped<'q, F> {
    /// `series` are the labels of the output; `map` is given the input's row, a piece of its steps at a time.
    pub fn new(input: BoxedSource<'q>, series: Announced<'q>, map: F) -> Mapped<'q, F> {
        assert_eq!(input.series().len(), series.len(), "a mapping keeps the series");
        Mapped { input, series, map }
    }
}

impl<F: FnMut(Range<usize>, &mut Row)> Source for Mapped<'_, F> {
    fn series(&self) -> &[OutputSeries] {
        &self.series
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        self.input.next(row)?;
        for steps in self.series.context.pieces(row.len()) {
            (self.map)(steps?, row);
        }
        Ok(())
    }
}

/// A source evaluated at one step, its values repeated at all.
pub struct Repeated<'q> {
    pub context: &'q Context<'q>,
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
        for steps in self.context.pieces(self.steps) {
            steps?.for_each(|step| row.set(step, one.cell(0)));
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
    if all_differ(context, source.series())? {
        return Ok(source);
    }
    let collected = Rows::collect(context, source, steps)?;
    let mut place_of: HashMap<Labels, usize, RandomState> = HashMap::default();
    let (mut series, mut rows): (Vec<OutputSeries>, Vec<Row>) = (Vec::new(), Vec::new());
    for (announced, row) in collected.series.into_iter().zip(collected.rows) {
        context.budget.check()?;
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

fn all_differ<'q>(context: &'q Context<'q>, series: &[OutputSeries]) -> Result<bool, QueryError> {
    let _held = context.hold((series.len() * 2 * size_of::<&Labels>()) as u64)?;
    let mut seen: HashSet<&Labels, RandomState> =
        HashSet::with_capacity_and_hasher(series.len(), RandomState::default());
    for (i, series) in series.iter().enumerate() {
        context.check_every(i)?;
        if !seen.insert(&series.labels) {
            return Ok(false);
        }
    }
    Ok(true)
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
