//! What the rows of a block have: values of a field, and keys of attributes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::block_search::{BlockSearch, OriginCache, occurrences};
use super::columns::{Shapes, ValueType, Values, decode_key_value, status_code};
use super::condition::{AttributeScope, SpanField, ValueRef};
use super::first_values::FirstValues;
use super::segment_layout::Part;
use crate::codec::Malformed;
use crate::codec::rows::RowSet;
use crate::codec::text::{TextBuffer, TextColumn};
use crate::storage::segment::SegmentError;

impl BlockSearch<'_> {
    /// Adds the values of a field that these rows have.
    pub fn values(
        &self,
        field: &SpanField,
        rows: &RowSet,
        cache: &mut OriginCache,
        found: &mut FirstValues,
    ) -> Result<(), SegmentError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut add = |value: ValueRef<'_>| found.add(value);
        match field {
            SpanField::Name => self.for_each_text(Part::Names, rows, add),
            SpanField::StatusMessage => self.for_each_text(Part::StatusMessages, rows, add),
            SpanField::Duration => {
                let durations = self.block.durations()?;
                rows.iter().for_each(|row| add(ValueRef::Integer(durations[row].max(0))));
                Ok(())
            }
            SpanField::Status => {
                let numbers = self.block.integers(Part::Statuses)?;
                let code = |row: usize| i64::from(status_code(numbers[row]).unwrap_or(0));
                rows.iter().for_each(|row| add(ValueRef::Integer(code(row))));
                Ok(())
            }
            SpanField::Kind => {
                let kinds = self.block.integers(Part::Kinds)?;
                rows.iter().for_each(|row| add(ValueRef::Integer(kinds[row])));
                Ok(())
            }
            SpanField::Attribute { scope, key } => {
                if *scope != AttributeScope::Span {
                    for origin in self.origins_of(rows)? {
                        let origin = cache.get(&origin);
                        let of_key = origin.attributes(*scope).iter().filter(|a| a.key == *key);
                        of_key.filter_map(ValueRef::of).for_each(&mut add);
                    }
                }
                if scope.holds_span() { self.for_each_attribute(key, rows, add) } else { Ok(()) }
            }
        }
    }

    fn for_each_text(
        &self,
        part: Part,
        rows: &RowSet,
        mut visit: impl FnMut(ValueRef<'_>),
    ) -> Result<(), SegmentError> {
        let Some(column) = self.block.texts(part)? else {
            visit(ValueRef::Text(""));
            return Ok(());
        };
        for_each_text(&column, rows, |text| visit(ValueRef::Text(text)))
            .map_err(|what| self.block.damaged(part, what))
    }

    fn for_each_attribute(
        &self,
        key: &str,
        rows: &RowSet,
        mut visit: impl FnMut(ValueRef<'_>),
    ) -> Result<(), SegmentError> {
        for (number, part) in self.block.entry.attributes.iter().enumerate() {
            let is_shared = self.is_shared(part);
            if self.block.key(part) != key && !is_shared {
                continue;
            }
            let (shapes, counts) = self.shapes()?;
            let wanted = values_of(shapes, number as u32, counts[number], rows);
            if part.value_type == ValueType::Text {
                let column = self.block.attribute_texts(part, counts[number])?;
                for_each_text(&column, &wanted, |text| visit(ValueRef::Text(text)))
                    .map_err(|what| self.block.damaged_at(part.place, what))?;
                continue;
            }
            let values = self.block.values(part, counts[number], None)?;
            for at in wanted.iter() {
                match &values {
                    Values::Integers(all) => visit(ValueRef::Integer(all[at])),
                    Values::Floats(all) => visit(ValueRef::Float(all[at])),
                    Values::Bools(all) => visit(ValueRef::Bool(all[at] != 0)),
                    Values::Other(all) => ValueRef::of_encoded(all.get(at), |own_key, value| {
                        if !is_shared || own_key == key {
                            value.into_iter().for_each(&mut visit);
                        }
                    }),
                    Values::Text(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Adds the keys of attributes; of all rows of the block, since who has which key is a matter of more columns.
    pub fn keys(
        &self,
        scope: AttributeScope,
        cache: &mut OriginCache,
        found: &mut BTreeSet<String>,
    ) -> Result<(), SegmentError> {
        let mut add = |key: &str| {
            if !found.contains(key) {
                found.insert(key.to_owned());
            }
        };
        if scope != AttributeScope::Span {
            for origin in self.block.origin_list()? {
                cache.get(&origin).attributes(scope).iter().for_each(|attribute| add(&attribute.key));
            }
        }
        if !scope.holds_span() {
            return Ok(());
        }
        for (number, part) in self.block.entry.attributes.iter().enumerate() {
            if !self.is_shared(part) {
                add(self.block.key(part));
                continue;
            }
            let count = self.shapes()?.1[number];
            if let Values::Other(all) = self.block.values(part, count, None)? {
                (0..count)
                    .filter_map(|at| decode_key_value(all.get(at)).ok())
                    .for_each(|found| add(&found.key));
            }
        }
        Ok(())
    }

    /// The origins of these rows; of all rows without reading which is whose.
    fn origins_of(&self, rows: &RowSet) -> Result<Vec<Arc<[u8]>>, SegmentError> {
        if rows.count() == self.row_count() {
            return self.block.origin_list();
        }
        let origins = self.origins()?;
        let mut is_wanted = vec![false; origins.list.len()];
        rows.iter().for_each(|row| is_wanted[origins.of_row[row] as usize] = true);
        let wanted = origins.list.iter().zip(is_wanted).filter(|(_, is_wanted)| *is_wanted);
        Ok(wanted.map(|(origin, _)| origin.clone()).collect())
    }
}

fn for_each_text(
    column: &TextColumn<'_>,
    rows: &RowSet,
    mut visit: impl FnMut(&str),
) -> Result<(), Malformed> {
    if rows.is_empty() {
        return Ok(());
    }
    if rows.count() == rows.row_count()
        && let Some(distinct) = column.distinct()
    {
        distinct.into_iter().for_each(visit);
        return Ok(());
    }
    let mut texts = TextBuffer::default();
    column.decode_rows(rows, &mut texts)?;
    rows.iter().for_each(|row| visit(texts.get(row)));
    Ok(())
}

/// The values of a column that these rows have.
fn values_of(shapes: &Shapes, column: u32, count: usize, rows: &RowSet) -> RowSet {
    let occurrences = occurrences(shapes, column);
    let mut values = RowSet::none(count);
    let mut used = 0;
    for (row, &shape) in shapes.of_row.iter().enumerate() {
        let until = used + occurrences[shape as usize];
        if rows.contains(row) {
            (used..until).for_each(|value| values.insert(value));
        }
        used = until;
    }
    values
}
