//! Fills the columns of one block, row by row, in the order of the rows' keys.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::columns::{
    AttributeColumn, BytesBuffer, RowCursor, SpanColumns, ValueType, Values, status_number,
};
use super::view::{AttributeValue, AttributeView, SpanView};
use crate::codec::Malformed;

/// Beyond these, attributes share a column: keys that nobody foresaw must not make a file of nothing but columns.
pub(super) const COLUMNS_MAX: usize = 512;

const EVENT_FIELD: u32 = 11;
const LINK_FIELD: u32 = 13;

/// What a row takes beside its texts, about.
const ROW_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct ColumnsBuilder {
    columns: SpanColumns,
    content_bytes: usize,
    origin_numbers: HashMap<Arc<[u8]>, u32, RandomState>,
    /// By type, then by key.
    column_numbers: [HashMap<Box<str>, u32, RandomState>; ValueType::ALL.len()],
    shape_numbers: HashMap<Box<[u32]>, u32, RandomState>,
    scratch: Vec<u8>,
    shape: Vec<u32>,
}

/// What the numbers of one block are in another that its rows are copied to.
#[derive(Default)]
pub(super) struct Translation {
    origins: Vec<Option<u32>>,
    columns: Vec<Option<u32>>,
    shapes: Vec<Option<u32>>,
}

impl Translation {
    /// From these columns to a block that is still empty.
    pub fn new(from: &SpanColumns) -> Translation {
        Translation {
            origins: vec![None; from.origins.list.len()],
            columns: vec![None; from.attributes.len()],
            shapes: vec![None; from.shapes.list.len()],
        }
    }
}

impl ColumnsBuilder {
    pub fn columns(&self) -> &SpanColumns {
        &self.columns
    }

    /// About what the rows take in memory.
    pub fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    pub fn push_span(&mut self, span: &SpanView<'_>, origin: &Arc<[u8]>) {
        let columns = &mut self.columns;
        columns.trace_ids.push(span.trace_id);
        columns.span_ids.push(span.span_id);
        columns.parents.push(span.parent);
        columns.starts.push(span.start);
        columns.ends.push(span.end);
        columns.kinds.push(span.kind.into());
        columns.statuses.push(status_number(span.status.map(|status| status.code)));
        columns.flags.push(span.flags.into());
        let dropped = [span.dropped_attributes, span.dropped_events, span.dropped_links];
        columns.dropped.iter_mut().zip(dropped).for_each(|(column, count)| column.push(count.into()));
        columns.names.push(span.name);
        columns.status_messages.push(span.status.map_or("", |status| status.message));
        columns.trace_states.push(span.trace_state);
        push_fields(EVENT_FIELD, &span.events, &mut columns.events, &mut self.scratch);
        push_fields(LINK_FIELD, &span.links, &mut columns.links, &mut self.scratch);
        let origin = self.origin_number(origin);
        self.columns.origins.of_row.push(origin);
        let mut shape = std::mem::take(&mut self.shape);
        shape.clear();
        shape.extend(span.attributes.iter().map(|attribute| self.push_attribute(attribute)));
        let number = self.shape_number(&shape);
        self.columns.shapes.of_row.push(number);
        self.shape = shape;
        self.note_bytes();
    }

    fn origin_number(&mut self, origin: &Arc<[u8]>) -> u32 {
        if let Some(&number) = self.origin_numbers.get(&origin[..]) {
            return number;
        }
        let number = self.columns.origins.list.len() as u32;
        self.columns.origins.list.push(origin.clone());
        self.origin_numbers.insert(origin.clone(), number);
        self.content_bytes += origin.len();
        number
    }

    fn shape_number(&mut self, shape: &[u32]) -> u32 {
        if let Some(&number) = self.shape_numbers.get(shape) {
            return number;
        }
        let number = self.columns.shapes.list.len() as u32;
        self.columns.shapes.list.push(shape.into());
        self.shape_numbers.insert(shape.into(), number);
        number
    }

    /// Appends a value and says to which column.
    fn push_attribute(&mut self, attribute: &AttributeView<'_>) -> u32 {
        let value_type = match attribute.value {
            AttributeValue::Text(_) => ValueType::Text,
            AttributeValue::Integer(_) => ValueType::Integer,
            AttributeValue::Float(_) => ValueType::Float,
            AttributeValue::Bool(_) => ValueType::Bool,
            AttributeValue::Other(_) => ValueType::Other,
        };
        let Some(number) = self.column(attribute.key, value_type) else {
            return self.push_keyed(&attribute.to_key_value().encode_to_vec());
        };
        let column = &mut self.columns.attributes[number as usize];
        match (&mut column.values, &attribute.value) {
            (Values::Text(to), AttributeValue::Text(text)) => to.push(text),
            (Values::Integers(to), AttributeValue::Integer(value)) => to.push(*value),
            (Values::Floats(to), AttributeValue::Float(value)) => to.push(*value),
            (Values::Bools(to), AttributeValue::Bool(value)) => to.push(u32::from(*value)),
            (Values::Other(to), AttributeValue::Other(bytes)) => to.push(bytes),
            _ => unreachable!("the column was asked for by the value's type"),
        }
        self.content_bytes += attribute.value.byte_len();
        number
    }

    /// The column of a key and type, made now unless it is there; `None` where there are too many.
    fn column(&mut self, key: &str, value_type: ValueType) -> Option<u32> {
        let numbers = &mut self.column_numbers[value_type as usize];
        if let Some(&number) = numbers.get(key) {
            return Some(number);
        }
        // One place is kept for the column that the others share.
        let is_shared = value_type == ValueType::Other && key.is_empty();
        if self.columns.attributes.len() + 1 >= COLUMNS_MAX && !is_shared {
            return None;
        }
        let number = self.columns.attributes.len() as u32;
        numbers.insert(key.into(), number);
        self.columns.attributes.push(AttributeColumn { key: key.into(), values: Values::new(value_type) });
        Some(number)
    }

    /// The column of attributes that have none of their own.
    fn shared_column(&mut self) -> u32 {
        self.column("", ValueType::Other).expect("there is always room for it")
    }

    /// Appends an encoded `KeyValue` with its key to the column that is shared.
    fn push_keyed(&mut self, encoded: &[u8]) -> u32 {
        let number = self.shared_column();
        let Values::Other(to) = &mut self.columns.attributes[number as usize].values else {
            unreachable!("the column was asked for by this type")
        };
        to.push(encoded);
        self.content_bytes += encoded.len();
        number
    }

    /// Copies the row that the cursor is at; `translation` is kept from row to row of the same columns.
    pub fn copy_row(
        &mut self,
        from: &SpanColumns,
        at: &RowCursor,
        translation: &mut Translation,
    ) -> Result<(), Malformed> {
        let row = at.row;
        let shape = from.shapes.of_row[row] as usize;
        let to_shape = match translation.shapes[shape] {
            Some(number) => number,
            None => self.translate_shape(from, shape, translation),
        };
        let mut seen = 0u64;
        for (place, &number) in from.shapes.list[shape].iter().enumerate() {
            // A key that comes twice has two values one after the other.
            let mark = 1 << (number % 64);
            let before =
                if seen & mark == 0 { 0 } else { count_of(&from.shapes.list[shape][..place], number) };
            seen |= mark;
            let to = translation.columns[number as usize].expect("its shape was translated");
            self.copy_value(&from.attributes[number as usize], at.used[number as usize] + before, to)?;
        }
        self.columns.shapes.of_row.push(to_shape);
        let origin = from.origins.of_row[row] as usize;
        let to_origin = *translation.origins[origin]
            .get_or_insert_with(|| self.origin_number(&from.origins.list[origin]));
        self.columns.origins.of_row.push(to_origin);
        self.copy_fields(from, row);
        self.note_bytes();
        Ok(())
    }

    fn copy_fields(&mut self, from: &SpanColumns, row: usize) {
        let to = &mut self.columns;
        to.trace_ids.push(from.trace_ids[row]);
        to.span_ids.push(from.span_ids[row]);
        to.parents.push(from.parents[row]);
        to.starts.push(from.starts[row]);
        to.ends.push(from.ends[row]);
        to.kinds.push(from.kinds[row]);
        to.statuses.push(from.statuses[row]);
        to.flags.push(from.flags[row]);
        to.dropped.iter_mut().zip(&from.dropped).for_each(|(to, from)| to.push(from[row]));
        to.names.push(from.names.get(row));
        to.status_messages.push(from.status_messages.get(row));
        to.trace_states.push(from.trace_states.get(row));
        to.events.push(from.events.get(row));
        to.links.push(from.links.get(row));
    }

    /// Finds or makes what a shape of other columns is here.
    fn translate_shape(&mut self, from: &SpanColumns, shape: usize, translation: &mut Translation) -> u32 {
        let mut translated = Vec::with_capacity(from.shapes.list[shape].len());
        for &number in &from.shapes.list[shape] {
            let column = &from.attributes[number as usize];
            let to = *translation.columns[number as usize].get_or_insert_with(|| {
                match self.column(&column.key, column.values.value_type()) {
                    Some(own) => own,
                    None => self.shared_column(),
                }
            });
            translated.push(to);
        }
        let number = self.shape_number(&translated);
        translation.shapes[shape] = Some(number);
        number
    }

    fn copy_value(&mut self, from: &AttributeColumn, at: usize, to: u32) -> Result<(), Malformed> {
        let column = &mut self.columns.attributes[to as usize];
        self.content_bytes += match (&mut column.values, &from.values) {
            (Values::Text(to), Values::Text(from)) => {
                to.push(from.get(at));
                from.get(at).len()
            }
            (Values::Integers(to), Values::Integers(from)) => {
                to.push(from[at]);
                size_of::<i64>()
            }
            (Values::Floats(to), Values::Floats(from)) => {
                to.push(from[at]);
                size_of::<f64>()
            }
            (Values::Bools(to), Values::Bools(from)) => {
                to.push(from[at]);
                1
            }
            (Values::Other(to), Values::Other(values)) if column.key == from.key => {
                to.push(values.get(at));
                values.get(at).len()
            }
            // There was no room for a column of its own.
            (Values::Other(to), _) => {
                let encoded = from.attribute(at)?.encode_to_vec();
                to.push(&encoded);
                encoded.len()
            }
            _ => unreachable!("values are copied to a column of their type, or to the shared one"),
        };
        Ok(())
    }

    fn note_bytes(&mut self) {
        let columns = &self.columns;
        let last = |ends: &[usize]| ends.last().map_or(0, |end| end - ends.iter().rev().nth(1).unwrap_or(&0));
        let texts = [&columns.names, &columns.status_messages, &columns.trace_states];
        let blobs = [&columns.events, &columns.links];
        let texts: usize = texts.iter().map(|column| last(&column.ends)).sum();
        let blobs: usize = blobs.iter().map(|column| last(&column.ends)).sum();
        self.content_bytes += ROW_BYTES + texts + blobs;
    }
}

fn count_of(columns: &[u32], number: u32) -> usize {
    columns.iter().filter(|&&other| other == number).count()
}

/// Encoded messages as repeated fields of a message.
fn push_fields(field: u32, messages: &[&[u8]], to: &mut BytesBuffer, scratch: &mut Vec<u8>) {
    scratch.clear();
    for message in messages {
        encode_key(field, WireType::LengthDelimited, scratch);
        encode_varint(message.len() as u64, scratch);
        scratch.extend_from_slice(message);
    }
    to.push(scratch);
}
