//! The entries of a part that pass a pipeline and that a step sees, with what they are unwrapped to.

use std::ops::Range;

use crate::model::Lookout;
use crate::query::QueryError;
use crate::query::logql::ast::Unwrap;
use crate::query::logql::stages::filter::{cannot_convert, passes};
use crate::query::logql::stages::{EntryError, EntryState};
use crate::storage::logs::LogRowsBuffer;

use super::range::Reading;
use super::sample::unwrapped;
use super::series::{SeriesLabels, SeriesTable};
use super::windows::{Cursor, Windows};

/// Reads the rows of a part one by one through a pipeline.
pub struct EntryReader {
    pub rows: LogRowsBuffer,
    state: EntryState,
    cursor: Cursor,
}

/// An entry that passed.
pub struct PassedEntry<'e> {
    pub rows: &'e LogRowsBuffer,
    pub row: usize,
    /// As it was stored; empty if nobody wants it.
    pub line: &'e str,
    pub state: &'e mut EntryState,
    pub seen_by: Range<usize>,
}

impl EntryReader {
    pub fn new(windows: Windows) -> EntryReader {
        EntryReader {
            rows: LogRowsBuffer::default(),
            state: EntryState::default(),
            cursor: Cursor::new(windows),
        }
    }

    /// Visits the entries that pass and that a step sees; one with an error that nobody asked for ends the query.
    pub fn for_each(
        &mut self,
        reading: &Reading<'_, '_>,
        mut visit: impl FnMut(PassedEntry<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.for_each_with(reading, None, |entry, _| visit(entry))
    }

    /// As [`EntryReader::for_each`], each with its unwrapped value; an entry without the label is passed over.
    pub fn for_each_with(
        &mut self,
        reading: &Reading<'_, '_>,
        unwrap: Option<&Unwrap>,
        mut visit: impl FnMut(PassedEntry<'_>, f64) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let EntryReader { rows, state, cursor } = self;
        let lookout = reading.lookout();
        for row in 0..rows.len() {
            if lookout.gives_up_before(reading.plan.line(rows, row).len()) {
                reading.budget().check()?;
            }
            let seen_by = cursor.seen_by(rows.timestamps[row]);
            if seen_by.is_empty() || !reading.plan.pass(reading.selection, rows, row, state, &lookout) {
                continue;
            }
            let value = match unwrap {
                None => 0.0,
                Some(unwrap) => match unwrapped_value(unwrap, state, &lookout) {
                    Some(value) => value,
                    None => continue,
                },
            };
            if state.labels.error().is_some() && !reading.takes_errors {
                return Err(pipeline_error(&reading.labels, state));
            }
            let line = reading.plan.line(rows, row);
            visit(PassedEntry { rows, row, line, state, seen_by }, value)?;
        }
        if lookout.has_given_up() {
            reading.budget().check()?;
        }
        Ok(())
    }
}

/// The value of the entry, if it has the label and passes the filters behind the unwrap. What cannot be read as
/// asked is an error of the entry.
fn unwrapped_value(unwrap: &Unwrap, state: &mut EntryState, lookout: &Lookout<'_>) -> Option<f64> {
    let text = state.labels.get(&unwrap.label).filter(|text| !text.is_empty())?;
    let value = match unwrapped(text, unwrap.conversion) {
        Ok(value) => value,
        Err(expected) => {
            let details = cannot_convert(text, expected);
            state.labels.set_error(EntryError::Sample, details);
            0.0
        }
    };
    unwrap.filters.iter().all(|filter| passes(filter, &mut state.labels, lookout)).then_some(value)
}

fn pipeline_error(labels: &SeriesLabels, state: &EntryState) -> QueryError {
    let mut table = SeriesTable::default();
    let (series, _) = table.number(labels, &state.labels);
    let error = state.labels.error().map_or("", EntryError::text);
    QueryError::BadData(format!(
        "pipeline error: '{error}' ({}) for series: '{}'. Filter such entries out (e.g. | __error__!=\"{error}\"), \
         or all that have errors (| __error__=\"\"), which can also stand behind unwrap",
        state.labels.error_details(),
        table.labels[series]
    ))
}
