//! What a search asks of one block: conditions leave rows, and no column is read that none of them is about.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::block_reader::{BlockReader, Traces};
use super::columns::{Origins, Shapes, ValueType, Values, status_code};
use super::condition::{AttributeScope, FieldValue, SpanCondition, SpanField, Test, ValueRef};
use super::segment_layout::{AttributePart, Part, service_bit};
use super::span::{Origin, SERVICE_NAME, nanos};
use crate::codec::rows::RowSet;
use crate::codec::text::{TextBuffer, TextColumn};
use crate::model::{Lookout, NanoRange, Nanos, TraceId};
use crate::storage::segment::SegmentError;

/// The origins that a search met, decoded: blocks have them in common.
#[derive(Default)]
pub(super) struct OriginCache {
    decoded: HashMap<Arc<[u8]>, Arc<Origin>, RandomState>,
}

/// Beyond these the cache begins again, since every span may have an origin of its own.
const ORIGINS_MAX: usize = 10_000;

impl OriginCache {
    /// What cannot be decoded is an origin without anything.
    pub fn get(&mut self, encoded: &Arc<[u8]>) -> Arc<Origin> {
        if let Some(origin) = self.decoded.get(encoded) {
            return origin.clone();
        }
        if self.decoded.len() >= ORIGINS_MAX {
            self.decoded.clear();
        }
        let origin = Arc::new(Origin::decode(encoded).unwrap_or_default());
        self.decoded.insert(encoded.clone(), origin.clone());
        origin
    }
}

/// A block that is searched, with the columns that several conditions may be about.
pub(super) struct BlockSearch<'a> {
    pub(super) block: BlockReader<'a>,
    pub(super) lookout: &'a Lookout<'a>,
    traces: OnceCell<Traces>,
    origins: OnceCell<Origins>,
    shapes: OnceCell<(Shapes, Vec<usize>)>,
}

impl<'a> BlockSearch<'a> {
    pub fn new(block: BlockReader<'a>, lookout: &'a Lookout<'a>) -> BlockSearch<'a> {
        let (traces, origins, shapes) = Default::default();
        BlockSearch { block, lookout, traces, origins, shapes }
    }

    /// The traces with a span that overlaps `range` and meets all conditions of one of the lists, each with its earliest
    /// start in this block.
    pub fn candidates(
        &self,
        range: NanoRange,
        any_of: &[Vec<SpanCondition>],
        origins: &mut OriginCache,
        found: &mut Vec<(TraceId, Nanos)>,
    ) -> Result<(), SegmentError> {
        let mut rows = RowSet::none(self.row_count());
        for conditions in any_of {
            rows.unite(&self.rows(range, conditions, origins)?);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let traces = self.traces()?;
        let starts = self.block.first_starts()?;
        let mut trace = 0;
        let mut last = None;
        for row in rows.iter() {
            while traces.ends[trace] <= row {
                trace += 1;
            }
            if last.replace(trace) != Some(trace) {
                found.push((traces.ids[trace], nanos(starts[trace] as u64)));
            }
        }
        Ok(())
    }

    /// When the newest of the traces began that may overlap `range`; `None` if there is none.
    pub fn newest_start(&self, range: NanoRange) -> Result<Option<Nanos>, SegmentError> {
        let starts = self.block.first_starts()?.into_iter().map(|start| nanos(start as u64));
        Ok(starts.filter(|&start| start <= range.until).max())
    }

    /// The rows that overlap `range` and meet all conditions.
    pub fn rows(
        &self,
        range: NanoRange,
        conditions: &[SpanCondition],
        origins: &mut OriginCache,
    ) -> Result<RowSet, SegmentError> {
        let mut rows = RowSet::all(self.row_count());
        if conditions.iter().any(|condition| self.is_ruled_out(condition)) {
            rows.clear();
        }
        let mut cheapest_first: Vec<_> = conditions.iter().collect();
        cheapest_first.sort_by_key(|condition| cost(&condition.field));
        for condition in cheapest_first {
            if rows.is_empty() {
                return Ok(rows);
            }
            self.keep(condition, origins, &mut rows)?;
        }
        if !rows.is_empty() {
            self.keep_in_range(range, &mut rows)?;
        }
        Ok(rows)
    }

    /// Whether the table alone says that no row can meet the condition.
    fn is_ruled_out(&self, condition: &SpanCondition) -> bool {
        let entry = self.block.entry;
        match (&condition.field, &condition.test) {
            (SpanField::Duration, Test::Greater(_) | Test::GreaterOrEqual(_)) => {
                !condition.test.is_met_by(ValueRef::Integer(entry.duration_max_ns))
            }
            (SpanField::Status, Test::Equals(FieldValue::Integer(2))) => !entry.has_error,
            (
                SpanField::Attribute { scope: AttributeScope::Resource, key },
                Test::Equals(FieldValue::Text(name)),
            ) if key == SERVICE_NAME => entry.services & service_bit(name) == 0,
            _ => false,
        }
    }

    fn keep(
        &self,
        condition: &SpanCondition,
        origins: &mut OriginCache,
        rows: &mut RowSet,
    ) -> Result<(), SegmentError> {
        let test = &condition.test;
        match &condition.field {
            SpanField::Name => self.keep_texts(Part::Names, test, rows)?,
            SpanField::StatusMessage => self.keep_texts(Part::StatusMessages, test, rows)?,
            SpanField::Duration => {
                let durations = self.block.durations()?;
                // A negative one is a span that ends before it starts, or lasts for centuries: whoever asks has to look.
                let mut doubtful = rows.clone();
                doubtful.retain_values(&durations, |duration| *duration < 0);
                keep_integers(&durations, test, rows);
                rows.unite(&doubtful);
            }
            SpanField::Status => {
                let mut codes = self.block.integers(Part::Statuses)?;
                codes.iter_mut().for_each(|code| *code = status_code(*code).unwrap_or(0).into());
                keep_integers(&codes, test, rows);
            }
            SpanField::Kind => keep_integers(&self.block.integers(Part::Kinds)?, test, rows),
            SpanField::Attribute { scope, key } => {
                let mut meet = RowSet::none(self.row_count());
                if scope.holds_span() {
                    self.add_attributes(key, test, &mut meet)?;
                }
                if *scope != AttributeScope::Span {
                    self.add_origins(*scope, key, test, origins, &mut meet)?;
                }
                rows.intersect(&meet);
            }
        }
        Ok(())
    }

    fn keep_in_range(&self, range: NanoRange, rows: &mut RowSet) -> Result<(), SegmentError> {
        if range.contains(self.block.entry.first_start) && range.contains(self.block.entry.last_end) {
            return Ok(());
        }
        let starts = self.block.starts(self.traces()?)?;
        let durations = self.block.durations()?;
        rows.retain(|row| {
            let end = starts[row].wrapping_add(durations[row] as u64).max(starts[row]);
            NanoRange::closed(nanos(starts[row]), nanos(end)).overlaps(&range)
        });
        Ok(())
    }

    fn keep_texts(&self, part: Part, test: &Test, rows: &mut RowSet) -> Result<(), SegmentError> {
        match self.block.texts(part)? {
            Some(column) => {
                keep_texts(&column, test, self.lookout, rows).map_err(|what| self.block.damaged(part, what))
            }
            None => {
                if !test.is_met_by(ValueRef::Text("")) {
                    rows.clear();
                }
                Ok(())
            }
        }
    }

    /// Adds the rows whose span has such an attribute.
    fn add_attributes(&self, key: &str, test: &Test, meet: &mut RowSet) -> Result<(), SegmentError> {
        for (number, part) in self.block.entry.attributes.iter().enumerate() {
            let is_shared = self.is_shared(part);
            if self.block.key(part) != key && !is_shared {
                continue;
            }
            let (shapes, counts) = self.shapes()?;
            let mut values = RowSet::all(counts[number]);
            self.keep_values(part, counts[number], (key, test), &mut values)?;
            add_rows(shapes, number as u32, &values, meet);
        }
        Ok(())
    }

    /// Whether it is the column of attributes that have none of their own.
    pub(super) fn is_shared(&self, part: &AttributePart) -> bool {
        part.value_type == ValueType::Other && self.block.key(part).is_empty()
    }

    fn keep_values(
        &self,
        part: &AttributePart,
        count: usize,
        (key, test): (&str, &Test),
        values: &mut RowSet,
    ) -> Result<(), SegmentError> {
        if part.value_type == ValueType::Text {
            let column = self.block.attribute_texts(part, count)?;
            return keep_texts(&column, test, self.lookout, values)
                .map_err(|what| self.block.damaged_at(part.place, what));
        }
        match self.block.values(part, count, None)? {
            Values::Integers(all) => keep_integers(&all, test, values),
            Values::Floats(all) => values.retain(|at| test.is_met_by(ValueRef::Float(all[at]))),
            Values::Bools(all) => values.retain(|at| test.is_met_by(ValueRef::Bool(all[at] != 0))),
            Values::Other(all) => {
                let is_shared = self.is_shared(part);
                values.retain(|at| {
                    ValueRef::of_encoded(all.get(at), |own_key, value| {
                        (!is_shared || own_key == key)
                            && value.is_some_and(|value| test.is_met_within(value, self.lookout))
                    })
                });
            }
            Values::Text(_) => {}
        }
        Ok(())
    }

    /// Adds the rows whose origin has such an attribute.
    fn add_origins(
        &self,
        scope: AttributeScope,
        key: &str,
        test: &Test,
        cache: &mut OriginCache,
        meet: &mut RowSet,
    ) -> Result<(), SegmentError> {
        let origins = self.origins()?;
        let meets = |origin| cache.get(origin).meets(scope, key, test, self.lookout);
        let verdicts: Vec<bool> = origins.list.iter().map(meets).collect();
        if verdicts.contains(&true) {
            let mut rows = RowSet::all(self.row_count());
            rows.retain_values(&origins.of_row, |origin| verdicts[*origin as usize]);
            meet.unite(&rows);
        }
        Ok(())
    }

    pub(super) fn row_count(&self) -> usize {
        self.block.entry.row_count
    }

    fn traces(&self) -> Result<&Traces, SegmentError> {
        get_or_read(&self.traces, || self.block.traces())
    }

    pub(super) fn origins(&self) -> Result<&Origins, SegmentError> {
        get_or_read(&self.origins, || self.block.origins())
    }

    /// With how many values each column of attributes has.
    pub(super) fn shapes(&self) -> Result<&(Shapes, Vec<usize>), SegmentError> {
        get_or_read(&self.shapes, || {
            let shapes = self.block.shapes()?;
            let counts = self.block.value_counts(&shapes)?;
            Ok((shapes, counts))
        })
    }
}

/// What a condition on the field costs, beside others: where the first leaves no row, the next needs no column.
fn cost(field: &SpanField) -> u8 {
    match field {
        SpanField::Duration | SpanField::Status | SpanField::Kind => 0,
        SpanField::Attribute { scope, .. } if !scope.holds_span() => 1,
        SpanField::Name | SpanField::StatusMessage => 2,
        SpanField::Attribute { .. } => 3,
    }
}

fn get_or_read<T>(
    cell: &OnceCell<T>,
    read: impl FnOnce() -> Result<T, SegmentError>,
) -> Result<&T, SegmentError> {
    if cell.get().is_none() {
        let value = read()?;
        return Ok(cell.get_or_init(|| value));
    }
    Ok(cell.get().expect("looked at above"))
}

/// Leaves the integers that meet the test.
fn keep_integers(values: &[i64], test: &Test, rows: &mut RowSet) {
    match test.integers() {
        Some(met) => rows.retain_values(values, |value| met.contains(value)),
        None => rows.retain(|row| test.is_met_by(ValueRef::Integer(values[row]))),
    }
}

/// Leaves the texts that meet the test.
fn keep_texts(
    column: &TextColumn<'_>,
    test: &Test,
    lookout: &Lookout<'_>,
    rows: &mut RowSet,
) -> Result<(), crate::codec::Malformed> {
    let is_met = |text: &str| test.is_met_within(ValueRef::Text(text), lookout);
    match test {
        Test::Exists => return Ok(()),
        Test::Equals(FieldValue::Text(text)) => return column.equals(text, rows),
        _ => {}
    }
    if let Some(distinct) = column.distinct() {
        // Where all or none of them meet it, no row needs to be looked at.
        let met = distinct.iter().filter(|text| is_met(text)).count();
        if met == 0 {
            rows.clear();
        }
        if met == 0 || met == distinct.len() {
            return Ok(());
        }
    }
    let mut texts = TextBuffer::default();
    column.decode_rows(rows, &mut texts)?;
    rows.retain(|row| is_met(texts.get(row)));
    Ok(())
}

/// How often each shape has the column.
pub(super) fn occurrences(shapes: &Shapes, column: u32) -> Vec<usize> {
    shapes.list.iter().map(|shape| shape.iter().filter(|&&other| other == column).count()).collect()
}

/// Adds the rows that have one of these values of a column.
fn add_rows(shapes: &Shapes, column: u32, values: &RowSet, rows: &mut RowSet) {
    let occurrences = occurrences(shapes, column);
    let mut used = 0;
    for (row, &shape) in shapes.of_row.iter().enumerate() {
        let until = used + occurrences[shape as usize];
        if (used..until).any(|value| values.contains(value)) {
            rows.insert(row);
        }
        used = until;
    }
}
