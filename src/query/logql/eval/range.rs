//! Range aggregations: from the entries of a selection to a row of steps for each series.

use std::collections::HashMap;

use crate::model::{Labels, Lookout, Nanos};
use crate::query::QueryError;
use crate::query::budget::{Budget, HeldBytes};
use crate::query::logql::ast::{Grouping, LogRange, RangeAggregation, RangeOp, Unwrap};
use crate::query::logql::stages::labels::{ERROR, ERROR_DETAILS};
use crate::query::logql::stages::{EntryState, add_filter_names, asks_for_errors};
use crate::query::logs::select;
use crate::query::promql::eval::row::Row;
use crate::storage::logs::{LogPart, LogRowsBuffer, LogSelection};

use super::count::Tally;
use super::entry_reader::EntryReader;
use super::plan::Plan;
use super::sample::{Sample, absent_labels, row, value_of};
use super::scan::Scan;
use super::series::{SeriesLabels, SeriesTable};
use super::windows::{Cursor, Windows};

/// The rows of a range aggregation.
pub struct RangeRows {
    pub series: Vec<Labels>,
    pub rows: Vec<Row>,
}

/// Memory of a row's step, for accounting.
const STEP_BYTES: u64 = 8;

/// Evaluates an aggregation. `grouping` is its own, or that of a sum around it.
pub fn range_rows<'q>(
    scan: Scan<'q>,
    aggregation: &RangeAggregation,
    grouping: Option<&Grouping>,
    windows: Windows,
    now: Nanos,
    held: &mut HeldBytes<'q>,
) -> Result<RangeRows, QueryError> {
    let log = &aggregation.log;
    let selection = select(scan.snapshot, &log.matchers, windows.covered(), scan.budget)?;
    let reading = Reading::new(scan, aggregation, grouping, windows, &selection, now);
    let made = match (&log.unwrap, reading.is_by_stream()) {
        (Some(unwrap), _) => reading.sampled(unwrap, held)?,
        (None, true) => reading.counted_by_stream(held)?,
        (None, false) => reading.counted_by_entry(held)?,
    };
    match aggregation.op {
        RangeOp::AbsentOverTime => Ok(absence(&made, windows.len, absent_labels(&log.matchers))),
        _ => Ok(made),
    }
}

/// 1 at each step that none of the rows has.
fn absence(present: &RangeRows, steps: usize, labels: Labels) -> RangeRows {
    let mut row = Row::constant(1.0, steps);
    for step in 0..steps {
        if present.rows.iter().any(|row| row.has(step)) {
            row.clear(step);
        }
    }
    RangeRows { series: vec![labels], rows: vec![row] }
}

/// What all parts of one aggregation are read for.
pub struct Reading<'q, 'a> {
    scan: Scan<'q>,
    aggregation: &'a RangeAggregation,
    windows: Windows,
    pub selection: &'a LogSelection,
    pub labels: SeriesLabels,
    pub plan: Plan,
    /// The query asks for entries that have errors, so that they do not end it.
    pub takes_errors: bool,
}

impl<'q, 'a> Reading<'q, 'a> {
    fn new(
        scan: Scan<'q>,
        aggregation: &'a RangeAggregation,
        grouping: Option<&Grouping>,
        windows: Windows,
        selection: &'a LogSelection,
        now: Nanos,
    ) -> Reading<'q, 'a> {
        let log = &aggregation.log;
        let unwrap = log.unwrap.as_ref();
        // An absence has the labels of the selector, whatever the entries have.
        let nothing = Grouping { is_without: false, labels: Vec::new() };
        let grouping = if aggregation.op == RangeOp::AbsentOverTime { Some(&nothing) } else { grouping };
        let labels = SeriesLabels::new(grouping, unwrap.map(|unwrap| unwrap.label.as_str()));
        let mut wanted = labels.wanted();
        if let Some(unwrap) = unwrap {
            wanted.add(&unwrap.label);
            unwrap.filters.iter().for_each(|filter| add_filter_names(filter, &mut wanted));
        }
        let plan = Plan::new(&log.stages, wanted, &selection.streams, now);
        let takes_errors = takes_errors(log, &labels);
        Reading { scan, aggregation, windows, selection, labels, plan, takes_errors }
    }

    /// Whether an entry's series follows from its stream alone.
    fn is_by_stream(&self) -> bool {
        self.plan.pipeline.is_empty() && !self.plan.reads_metadata()
    }

    fn counts_bytes(&self) -> bool {
        matches!(self.aggregation.op, RangeOp::BytesOverTime | RangeOp::BytesRate)
    }

    fn range_seconds(&self) -> f64 {
        self.windows.range as f64 / 1e9
    }

    /// What becomes of the number of entries, or of bytes, in a window.
    fn counted_value(&self, count: i64) -> f64 {
        match self.aggregation.op {
            RangeOp::Rate | RangeOp::BytesRate => count as f64 / self.range_seconds(),
            _ => count as f64,
        }
    }

    fn parts(&self) -> Vec<&'a LogPart> {
        self.selection.parts.iter().collect()
    }

    pub fn budget(&self) -> &'q Budget {
        self.scan.budget
    }

    pub fn lookout(&self) -> Lookout<'q> {
        self.scan.snapshot.lookout()
    }

    fn counted_by_stream(&self, held: &mut HeldBytes<'q>) -> Result<RangeRows, QueryError> {
        let mut groups = Groups::default();
        let streams = self.selection.streams.iter();
        let group_of: Vec<usize> =
            streams.map(|labels| groups.number(self.labels.of_stream(labels))).collect();
        let new_tally = || Tally::new(self.windows.len, self.counts_bytes(), self.budget());
        let ask = self.plan.ask_with_line_bytes(self.windows.covered(), self.counts_bytes());
        let worker = || (LogRowsBuffer::default(), Cursor::new(self.windows), None);
        let work = |worker: &mut (LogRowsBuffer, Cursor, Option<Tally<'q>>), part: &LogPart, _| {
            let (rows, cursor, tally) = worker;
            self.scan.read(self.selection, part, &ask, rows)?;
            let tally = match tally {
                Some(tally) => tally,
                None => {
                    let tally = tally.insert(new_tally());
                    tally.add_series(groups.labels.len(), 0)?;
                    tally
                }
            };
            count_rows(rows, cursor, &group_of, tally);
            Ok(true)
        };
        let workers = self.scan.for_each(&self.parts(), worker, work)?;
        let mut total = new_tally();
        total.add_series(groups.labels.len(), 0)?;
        for tally in workers.into_iter().filter_map(|(_, _, tally)| tally) {
            (0..groups.labels.len()).for_each(|group| total.add_from(group, &tally, group));
        }
        self.rows_of(groups.labels, &total, held)
    }

    fn counted_by_entry(&self, held: &mut HeldBytes<'q>) -> Result<RangeRows, QueryError> {
        let counts_line_bytes = self.counts_bytes() && !self.plan.changes_lines;
        let ask = self.plan.ask_with_line_bytes(self.windows.covered(), counts_line_bytes);
        let new_tally = || Tally::new(self.windows.len, self.counts_bytes(), self.budget());
        let worker = || (EntryReader::new(self.windows), SeriesTable::default(), new_tally());
        let work = |worker: &mut (EntryReader, SeriesTable, Tally<'q>), part: &LogPart, _| {
            let (reader, table, tally) = worker;
            self.scan.read(self.selection, part, &ask, &mut reader.rows)?;
            reader.for_each(self, |entry| {
                let (series, is_new) = table.number(&self.labels, &entry.state.labels);
                if is_new {
                    tally.add_series(1, table.bytes_of_last())?;
                }
                let bytes = match counts_line_bytes {
                    true => u64::from(entry.rows.line_lens[entry.row]),
                    false => entry.state.line(entry.line).len() as u64,
                };
                tally.add(series, entry.seen_by, 1, bytes);
                Ok(())
            })?;
            Ok(true)
        };
        let workers = self.scan.for_each(&self.parts(), worker, work)?;
        let mut groups = Groups::default();
        let mut total = new_tally();
        for (_, table, tally) in workers {
            for (from, labels) in table.labels.into_iter().enumerate() {
                let to = groups.number(labels);
                if groups.labels.len() > to && to == groups.known {
                    groups.known += 1;
                    self.budget().take_series(1)?;
                    total.add_series(1, 0)?;
                }
                total.add_from(to, &tally, from);
            }
        }
        self.rows_of(groups.labels, &total, held)
    }

    fn rows_of(
        &self,
        series: Vec<Labels>,
        tally: &Tally<'_>,
        held: &mut HeldBytes<'q>,
    ) -> Result<RangeRows, QueryError> {
        let mut rows = Vec::with_capacity(series.len());
        for number in 0..series.len() {
            held.grow(self.windows.len as u64 * STEP_BYTES)?;
            rows.push(tally.row(number, |count| self.counted_value(count)));
        }
        Ok(RangeRows { series, rows })
    }

    fn sampled(&self, unwrap: &Unwrap, held: &mut HeldBytes<'q>) -> Result<RangeRows, QueryError> {
        let ask = self.plan.ask(self.windows.covered());
        let worker = || (EntryReader::new(self.windows), Sampled::new(self.budget()));
        let work = |worker: &mut (EntryReader, Sampled<'q>), part: &LogPart, place: usize| {
            let (reader, sampled) = worker;
            self.scan.read(self.selection, part, &ask, &mut reader.rows)?;
            reader.for_each_with(self, Some(unwrap), |entry, value| {
                let time = entry.rows.timestamps[entry.row];
                sampled.add(&self.labels, entry.state, Sample { time, part: place as u32, value })
            })?;
            Ok(true)
        };
        let workers = self.scan.for_each(&self.parts(), worker, work)?;
        let mut groups = Groups::default();
        let mut samples: Vec<Vec<Sample>> = Vec::new();
        let mut holds = Vec::with_capacity(workers.len());
        for (_, sampled) in workers {
            for (labels, found) in sampled.table.labels.into_iter().zip(sampled.samples) {
                let to = groups.number(labels);
                match samples.get_mut(to) {
                    Some(known) => known.extend(found),
                    None => samples.push(found),
                }
            }
            holds.push(sampled.held);
        }
        self.budget().take_series(groups.labels.len() as u64)?;
        let (op, range_seconds) = (self.aggregation.op, self.range_seconds());
        let parameter = self.aggregation.parameter.map_or(0.0, |parameter| parameter.0);
        let mut rows = Vec::with_capacity(samples.len());
        for samples in &mut samples {
            self.budget().check()?;
            held.grow(self.windows.len as u64 * STEP_BYTES)?;
            let value = |values: &[f64]| value_of(op, parameter, range_seconds, values);
            rows.push(row(samples, &self.windows, self.budget(), value)?);
        }
        Ok(RangeRows { series: groups.labels, rows })
    }
}

/// Whether a filter or the series' labels ask for errors, so that an entry with one is no reason to give up.
fn takes_errors(log: &LogRange, labels: &SeriesLabels) -> bool {
    let behind = log.unwrap.iter().flat_map(|unwrap| &unwrap.filters);
    let before = log.stages.iter().filter_map(|stage| stage.label_filter());
    let by_name = match labels {
        SeriesLabels::By(names) => names.iter().any(|name| name == ERROR || name == ERROR_DETAILS),
        SeriesLabels::Without(_) => false,
    };
    by_name || behind.chain(before).any(asks_for_errors)
}

/// Counts rows whose series follow from their streams.
fn count_rows(rows: &LogRowsBuffer, cursor: &mut Cursor, group_of: &[usize], tally: &mut Tally<'_>) {
    let mut row = 0;
    while row < rows.len() {
        let steps = cursor.seen_by(rows.timestamps[row]);
        let until = cursor.until();
        let end = row + rows.timestamps[row..].partition_point(|time| *time <= until);
        if !steps.is_empty() {
            let bytes = |rows_in: std::ops::Range<usize>| -> u64 {
                rows.line_lens.get(rows_in).map_or(0, |lens| lens.iter().map(|len| u64::from(*len)).sum())
            };
            let streams = &rows.streams[row..end];
            if streams.iter().all(|stream| *stream == streams[0]) {
                let group = group_of[streams[0] as usize];
                tally.add(group, steps, (end - row) as u64, bytes(row..end));
            } else {
                for (place, stream) in streams.iter().enumerate() {
                    let bytes = bytes(row + place..row + place + 1);
                    tally.add(group_of[*stream as usize], steps.clone(), 1, bytes);
                }
            }
        }
        row = end;
    }
}

/// Numbers for label sets that several threads may have met.
#[derive(Default)]
struct Groups {
    labels: Vec<Labels>,
    numbers: HashMap<Labels, usize>,
    known: usize,
}

impl Groups {
    fn number(&mut self, labels: Labels) -> usize {
        let next = self.labels.len();
        let number = *self.numbers.entry(labels.clone()).or_insert(next);
        if number == next {
            self.labels.push(labels);
        }
        number
    }
}

/// Samples by series, of one thread.
struct Sampled<'b> {
    table: SeriesTable,
    samples: Vec<Vec<Sample>>,
    held: HeldBytes<'b>,
    budget: &'b Budget,
}

impl<'b> Sampled<'b> {
    fn new(budget: &'b Budget) -> Sampled<'b> {
        let held = HeldBytes::none(budget);
        Sampled { table: SeriesTable::default(), samples: Vec::new(), held, budget }
    }

    fn add(&mut self, labels: &SeriesLabels, state: &EntryState, sample: Sample) -> Result<(), QueryError> {
        let (series, is_new) = self.table.number(labels, &state.labels);
        if is_new {
            self.held.grow(self.table.bytes_of_last())?;
            self.samples.push(Vec::new());
        }
        let samples = &mut self.samples[series];
        if samples.len() == samples.capacity() {
            let more = samples.len().max(16);
            self.held.grow((more * size_of::<Sample>()) as u64)?;
            samples.reserve_exact(more);
        }
        self.budget.take_samples(1)?;
        samples.push(sample);
        Ok(())
    }
}
