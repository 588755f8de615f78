//! The rows of a block as columns in memory: sealing fills them from spans, merging from other blocks, and reading
//! takes spans from them.
//!
//! Attributes of one key and type make a column. A row's shape lists the columns of its attributes in their order, so
//! the order, repeated keys and what is missing come back; the values of a column are those of the rows that have it,
//! one after the other. Walking rows therefore takes a [`RowCursor`], which knows how far each column is used up.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use crate::codec::Malformed;
use crate::codec::text::TextBuffer;
use crate::model::{SpanId, TraceId};

#[derive(Debug, Default)]
pub(super) struct SpanColumns {
    pub trace_ids: Vec<TraceId>,
    pub span_ids: Vec<SpanId>,
    pub parents: Vec<Option<[u8; 8]>>,
    pub starts: Vec<u64>,
    pub ends: Vec<u64>,
    pub kinds: Vec<i64>,
    /// As [`status_number`] has them.
    pub statuses: Vec<i64>,
    pub flags: Vec<i64>,
    /// Of attributes, events, links.
    pub dropped: [Vec<i64>; 3],
    pub names: TextBuffer,
    pub status_messages: TextBuffer,
    pub trace_states: TextBuffer,
    /// Encoded as fields of a `Span`, as links are.
    pub events: BytesBuffer,
    pub links: BytesBuffer,
    pub origins: Origins,
    pub shapes: Shapes,
    pub attributes: Vec<AttributeColumn>,
}

/// The different origins of a block, encoded, and which one is each row's.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub list: Vec<Arc<[u8]>>,
    pub of_row: Vec<u32>,
}

/// The different shapes of a block, each a list of columns, and which one is each row's.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    pub list: Vec<Box<[u32]>>,
    pub of_row: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct AttributeColumn {
    pub key: Box<str>,
    pub values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    Text(TextBuffer),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    /// 0 or 1.
    Bools(Vec<u32>),
    /// Encoded `KeyValue`s without their key. Under the key "" they have keys of their own: there are also those for
    /// which the block has no room for columns.
    Other(BytesBuffer),
}

/// The type of a column's values, by its number on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ValueType {
    Text = 0,
    Integer = 1,
    Float = 2,
    Bool = 3,
    Other = 4,
}

/// Byte strings of rows, one after the other.
#[derive(Debug, Default)]
pub(super) struct BytesBuffer {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl BytesBuffer {
    pub fn get(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[at]]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }
}

impl ValueType {
    pub const ALL: [ValueType; 5] =
        [ValueType::Text, ValueType::Integer, ValueType::Float, ValueType::Bool, ValueType::Other];
}

impl Values {
    pub fn new(of: ValueType) -> Values {
        match of {
            ValueType::Text => Values::Text(TextBuffer::default()),
            ValueType::Integer => Values::Integers(Vec::new()),
            ValueType::Float => Values::Floats(Vec::new()),
            ValueType::Bool => Values::Bools(Vec::new()),
            ValueType::Other => Values::Other(BytesBuffer::default()),
        }
    }

    pub fn value_type(&self) -> ValueType {
        match self {
            Values::Text(_) => ValueType::Text,
            Values::Integers(_) => ValueType::Integer,
            Values::Floats(_) => ValueType::Float,
            Values::Bools(_) => ValueType::Bool,
            Values::Other(_) => ValueType::Other,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Bools(values) => values.len(),
            Values::Other(values) => values.ends.len(),
        }
    }
}

impl AttributeColumn {
    /// A value as the attribute it came from.
    pub fn attribute(&self, at: usize) -> Result<KeyValue, Malformed> {
        let value = match &self.values {
            Values::Text(values) => Value::StringValue(values.get(at).to_owned()),
            Values::Integers(values) => Value::IntValue(values[at]),
            Values::Floats(values) => Value::DoubleValue(values[at]),
            Values::Bools(values) => Value::BoolValue(values[at] != 0),
            Values::Other(values) => {
                let mut other = decode_key_value(values.get(at))?;
                if !self.key.is_empty() {
                    other.key = self.key.to_string();
                }
                return Ok(other);
            }
        };
        let value = Some(AnyValue { value: Some(value) });
        Ok(KeyValue { key: self.key.to_string(), value, key_strindex: 0 })
    }
}

pub(super) fn decode_key_value(bytes: &[u8]) -> Result<KeyValue, Malformed> {
    KeyValue::decode(bytes).map_err(|_| Malformed("an attribute is not a KeyValue"))
}

/// 0 for a span without a status, so that it differs from one that is unset.
pub(super) fn status_number(code: Option<i32>) -> i64 {
    code.map_or(0, |code| 1 + (i64::from(code) << 1 ^ i64::from(code) >> 31))
}

/// The inverse of [`status_number`].
pub(super) fn status_code(number: i64) -> Option<i32> {
    let zigzag = number.checked_sub(1).filter(|&zigzag| zigzag >= 0)?;
    Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
}

/// Walks rows in order. Invariant: `used` says of each column how many values the rows before `row` have.
#[derive(Clone, Debug)]
pub(super) struct RowCursor {
    pub row: usize,
    pub used: Vec<usize>,
}

impl RowCursor {
    pub fn first(columns: &SpanColumns) -> RowCursor {
        RowCursor { row: 0, used: vec![0; columns.attributes.len()] }
    }

    /// Behind the last row.
    pub fn end(columns: &SpanColumns) -> RowCursor {
        let used = columns.attributes.iter().map(|column| column.values.len()).collect();
        RowCursor { row: columns.len(), used }
    }

    pub fn next(&mut self, columns: &SpanColumns) {
        columns.shape(self.row).iter().for_each(|&column| self.used[column as usize] += 1);
        self.row += 1;
    }

    pub fn back(&mut self, columns: &SpanColumns) {
        self.row -= 1;
        columns.shape(self.row).iter().for_each(|&column| self.used[column as usize] -= 1);
    }
}

impl SpanColumns {
    pub fn len(&self) -> usize {
        self.trace_ids.len()
    }

    /// The columns of a row's attributes.
    pub fn shape(&self, row: usize) -> &[u32] {
        &self.shapes.list[self.shapes.of_row[row] as usize]
    }

    /// What rows are sorted by.
    pub fn key(&self, row: usize) -> (TraceId, u64, SpanId) {
        (self.trace_ids[row], self.starts[row], self.span_ids[row])
    }

    pub fn origin(&self, row: usize) -> &Arc<[u8]> {
        &self.origins.list[self.origins.of_row[row] as usize]
    }

    /// The span of the row that the cursor is at.
    pub fn span(&self, at: &RowCursor) -> Result<Span, Malformed> {
        let row = at.row;
        // Events and links are kept as fields of a span.
        let mut span = Span::default();
        for fields in [self.events.get(row), self.links.get(row)] {
            span.merge(fields).map_err(|_| Malformed("an event or a link is not what it should be"))?;
        }
        span.attributes = self.attributes_of(at)?;
        span.trace_id = self.trace_ids[row].0.to_vec();
        span.span_id = self.span_ids[row].0.to_vec();
        span.parent_span_id = self.parents[row].map(|id| id.to_vec()).unwrap_or_default();
        span.trace_state = self.trace_states.get(row).to_owned();
        span.flags = self.flags[row] as u32;
        span.name = self.names.get(row).to_owned();
        span.kind = self.kinds[row] as i32;
        span.start_time_unix_nano = self.starts[row];
        span.end_time_unix_nano = self.ends[row];
        let [attributes, events, links] = &self.dropped;
        span.dropped_attributes_count = attributes[row] as u32;
        span.dropped_events_count = events[row] as u32;
        span.dropped_links_count = links[row] as u32;
        let message = self.status_messages.get(row);
        span.status =
            status_code(self.statuses[row]).map(|code| Status { code, message: message.to_owned() });
        Ok(span)
    }

    fn attributes_of(&self, at: &RowCursor) -> Result<Vec<KeyValue>, Malformed> {
        let shape = self.shape(at.row);
        let mut attributes = Vec::with_capacity(shape.len());
        for (place, &number) in shape.iter().enumerate() {
            // A key that comes twice has two values one after the other.
            let before = shape[..place].iter().filter(|&&other| other == number).count();
            let column = &self.attributes[number as usize];
            attributes.push(column.attribute(at.used[number as usize] + before)?);
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_number_and_none_has_zero() {
        assert_eq!(status_code(status_number(None)), None);
        for code in [0, 1, 2, -1, i32::MAX, i32::MIN] {
            assert!(status_number(Some(code)) > 0);
            assert_eq!(status_code(status_number(Some(code))), Some(code));
        }
        assert_eq!(status_code(i64::MIN), None);
    }
}
