//! An encoded OTLP `Span` taken apart in place: for the head, the log and the columns of a segment, which move
//! millions of spans and need no copy of their texts.
//!
//! What parses here also decodes with the generated types, to the same span: `prost` is the oracle of the tests.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::condition::{AttributeScope, SpanCondition, SpanField, Test, ValueRef};
use super::span::{Origin, duration_ns};
use crate::codec::{Malformed, take};
use crate::model::{Lookout, SpanId, TraceId};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpanView<'a> {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// `None` for a root.
    pub parent: Option<[u8; 8]>,
    pub trace_state: &'a str,
    pub flags: u32,
    pub name: &'a str,
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<AttributeView<'a>>,
    pub dropped_attributes: u32,
    /// Encoded `Event`s.
    pub events: Vec<&'a [u8]>,
    pub dropped_events: u32,
    /// Encoded `Link`s.
    pub links: Vec<&'a [u8]>,
    pub dropped_links: u32,
    pub status: Option<StatusView<'a>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct StatusView<'a> {
    pub code: i32,
    pub message: &'a str,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttributeView<'a> {
    pub key: &'a str,
    pub value: AttributeValue<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AttributeValue<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Anything else, as an encoded `KeyValue` without its key.
    Other(Cow<'a, [u8]>),
}

impl<'a> SpanView<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<SpanView<'a>, Malformed> {
        let (mut trace_id, mut span_id, mut parent) = (&[][..], &[][..], &[][..]);
        let mut span = SpanView::empty();
        let mut fields = Fields(bytes);
        while let Some((field, wire)) = fields.next_key()? {
            match field {
                1 => trace_id = fields.bytes(wire)?,
                2 => span_id = fields.bytes(wire)?,
                3 => span.trace_state = fields.text(wire)?,
                4 => parent = fields.bytes(wire)?,
                5 => span.name = fields.text(wire)?,
                6 => span.kind = fields.varint(wire)? as i32,
                7 => span.start = fields.fixed64(wire)?,
                8 => span.end = fields.fixed64(wire)?,
                9 => span.attributes.push(AttributeView::parse(fields.bytes(wire)?)?),
                10 => span.dropped_attributes = fields.varint(wire)? as u32,
                11 => span.events.push(checked::<Event>(fields.bytes(wire)?)?),
                12 => span.dropped_events = fields.varint(wire)? as u32,
                13 => span.links.push(checked::<Link>(fields.bytes(wire)?)?),
                14 => span.dropped_links = fields.varint(wire)? as u32,
                15 => span.status.get_or_insert_default().merge(fields.bytes(wire)?)?,
                16 => span.flags = fields.fixed32(wire)?,
                _ => fields.skip(field, wire)?,
            }
        }
        span.trace_id = TraceId::from_bytes(trace_id).ok_or(Malformed("a span without a trace id"))?;
        span.span_id = SpanId::from_bytes(span_id).ok_or(Malformed("a span without an id"))?;
        span.parent = match parent {
            [] => None,
            id => Some(id.try_into().map_err(|_| Malformed("a parent id that is not of 8 bytes"))?),
        };
        Ok(span)
    }

    fn empty() -> SpanView<'a> {
        SpanView {
            trace_id: TraceId([0; 16]),
            span_id: SpanId([0; 8]),
            parent: None,
            trace_state: "",
            flags: 0,
            name: "",
            kind: 0,
            start: 0,
            end: 0,
            attributes: Vec::new(),
            dropped_attributes: 0,
            events: Vec::new(),
            dropped_events: 0,
            links: Vec::new(),
            dropped_links: 0,
            status: None,
        }
    }

    pub fn meets(&self, condition: &SpanCondition, origin: &Origin, lookout: &Lookout<'_>) -> bool {
        match &condition.field {
            SpanField::Attribute { scope, key } => {
                self.attribute_meets(*scope, key, &condition.test, lookout)
                    || origin.meets(*scope, key, &condition.test, lookout)
            }
            field => condition.test.is_met_within(self.intrinsic(field), lookout),
        }
    }

    fn attribute_meets(&self, scope: AttributeScope, key: &str, test: &Test, lookout: &Lookout<'_>) -> bool {
        let is_met =
            |value: Option<ValueRef<'_>>| value.is_some_and(|value| test.is_met_within(value, lookout));
        scope.holds_span() && self.attributes.iter().any(|a| a.key == key && a.value.show(is_met))
    }

    /// The value of a field that every span has; of attributes there is no such one.
    pub fn intrinsic(&self, field: &SpanField) -> ValueRef<'a> {
        let status = self.status.unwrap_or_default();
        match field {
            SpanField::Name => ValueRef::Text(self.name),
            SpanField::Duration => ValueRef::Integer(duration_ns(self.start, self.end)),
            SpanField::Status => ValueRef::Integer(status.code.into()),
            SpanField::StatusMessage => ValueRef::Text(status.message),
            SpanField::Kind => ValueRef::Integer(self.kind.into()),
            SpanField::Attribute { .. } => ValueRef::Other,
        }
    }
}

impl<'a> StatusView<'a> {
    /// A message that comes in pieces is one: later fields replace earlier ones.
    fn merge(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields(bytes);
        while let Some((field, wire)) = fields.next_key()? {
            match field {
                2 => self.message = fields.text(wire)?,
                3 => self.code = fields.varint(wire)? as i32,
                _ => fields.skip(field, wire)?,
            }
        }
        Ok(())
    }
}

impl<'a> AttributeView<'a> {
    /// Reads an encoded `KeyValue`.
    fn parse(bytes: &'a [u8]) -> Result<AttributeView<'a>, Malformed> {
        let (mut key, mut value, mut is_plain) = ("", None, true);
        let mut fields = Fields(bytes);
        while let Some((field, wire)) = fields.next_key()? {
            match field {
                1 => key = fields.text(wire)?,
                2 if value.is_none() => value = plain_value(fields.bytes(wire)?)?,
                _ => {
                    is_plain = false;
                    fields.skip(field, wire)?;
                }
            }
        }
        if let Some(value) = value.filter(|_| is_plain) {
            return Ok(AttributeView { key, value });
        }
        let mut other = KeyValue::decode(bytes).map_err(|_| Malformed("an attribute is not a KeyValue"))?;
        other.key.clear();
        Ok(AttributeView { key, value: AttributeValue::Other(Cow::Owned(other.encode_to_vec())) })
    }
}

impl AttributeView<'_> {
    pub fn to_key_value(&self) -> KeyValue {
        let value = match &self.value {
            AttributeValue::Text(text) => Value::StringValue((*text).to_owned()),
            AttributeValue::Integer(value) => Value::IntValue(*value),
            AttributeValue::Float(value) => Value::DoubleValue(*value),
            AttributeValue::Bool(value) => Value::BoolValue(*value),
            AttributeValue::Other(bytes) => {
                let other = KeyValue::decode(&**bytes).expect("it was encoded by ourselves");
                return KeyValue { key: self.key.to_owned(), ..other };
            }
        };
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: self.key.to_owned(), value, key_strindex: 0 }
    }
}

impl AttributeValue<'_> {
    pub fn byte_len(&self) -> usize {
        match self {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Integer(_) | AttributeValue::Float(_) => 8,
            AttributeValue::Bool(_) => 1,
            AttributeValue::Other(bytes) => bytes.len(),
        }
    }

    /// Shows the value, if there is one.
    pub fn show<T>(&self, show: impl FnOnce(Option<ValueRef<'_>>) -> T) -> T {
        match self {
            AttributeValue::Text(text) => show(Some(ValueRef::Text(text))),
            AttributeValue::Integer(value) => show(Some(ValueRef::Integer(*value))),
            AttributeValue::Float(value) => show(Some(ValueRef::Float(*value))),
            AttributeValue::Bool(value) => show(Some(ValueRef::Bool(*value))),
            AttributeValue::Other(bytes) => ValueRef::of_encoded(bytes, |_, value| show(value)),
        }
    }
}

/// The value of an `AnyValue` that has exactly one field, of a simple type; anything else takes the long way.
fn plain_value(bytes: &[u8]) -> Result<Option<AttributeValue<'_>>, Malformed> {
    let mut fields = Fields(bytes);
    let Some((field, wire)) = fields.next_key()? else { return Ok(None) };
    let value = match field {
        1 => AttributeValue::Text(fields.text(wire)?),
        2 => AttributeValue::Bool(fields.varint(wire)? != 0),
        3 => AttributeValue::Integer(fields.varint(wire)? as i64),
        4 => AttributeValue::Float(f64::from_bits(fields.fixed64(wire)?)),
        _ => return Ok(None),
    };
    Ok(if fields.0.is_empty() { Some(value) } else { None })
}

/// The bytes, which decode as a message.
fn checked<M: Message + Default>(bytes: &[u8]) -> Result<&[u8], Malformed> {
    M::decode(bytes).map_err(|_| Malformed("an event or a link is not what it should be"))?;
    Ok(bytes)
}

/// The fields of an encoded message, one after the other.
struct Fields<'a>(&'a [u8]);

const BAD_FIELD: Malformed = Malformed("a span is not a protobuf message");

impl<'a> Fields<'a> {
    fn next_key(&mut self) -> Result<Option<(u32, WireType)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        decode_key(&mut self.0).map(Some).map_err(|_| BAD_FIELD)
    }

    fn bytes(&mut self, wire: WireType) -> Result<&'a [u8], Malformed> {
        expect(wire, WireType::LengthDelimited)?;
        let len = decode_varint(&mut self.0).map_err(|_| BAD_FIELD)?;
        take(&mut self.0, usize::try_from(len).map_err(|_| BAD_FIELD)?)
    }

    fn text(&mut self, wire: WireType) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(wire)?).map_err(|_| Malformed("a text of a span is not UTF-8"))
    }

    fn varint(&mut self, wire: WireType) -> Result<u64, Malformed> {
        expect(wire, WireType::Varint)?;
        decode_varint(&mut self.0).map_err(|_| BAD_FIELD)
    }

    fn fixed64(&mut self, wire: WireType) -> Result<u64, Malformed> {
        expect(wire, WireType::SixtyFourBit)?;
        Ok(u64::from_le_bytes(take(&mut self.0, 8)?.try_into().expect("eight bytes")))
    }

    fn fixed32(&mut self, wire: WireType) -> Result<u32, Malformed> {
        expect(wire, WireType::ThirtyTwoBit)?;
        Ok(u32::from_le_bytes(take(&mut self.0, 4)?.try_into().expect("four bytes")))
    }

    fn skip(&mut self, field: u32, wire: WireType) -> Result<(), Malformed> {
        skip_field(wire, field, &mut self.0, DecodeContext::default()).map_err(|_| BAD_FIELD)
    }
}

fn expect(wire: WireType, wanted: WireType) -> Result<(), Malformed> {
    if wire == wanted { Ok(()) } else { Err(BAD_FIELD) }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::traces::test_spans::any_span;

    /// A view as the generated type has it.
    fn to_span(view: &SpanView<'_>) -> Span {
        let mut span = Span {
            trace_id: view.trace_id.0.to_vec(),
            span_id: view.span_id.0.to_vec(),
            trace_state: view.trace_state.to_owned(),
            parent_span_id: view.parent.map(|id| id.to_vec()).unwrap_or_default(),
            flags: view.flags,
            name: view.name.to_owned(),
            kind: view.kind,
            start_time_unix_nano: view.start,
            end_time_unix_nano: view.end,
            dropped_attributes_count: view.dropped_attributes,
            dropped_events_count: view.dropped_events,
            dropped_links_count: view.dropped_links,
            ..Span::default()
        };
        span.events = view.events.iter().map(|e| Event::decode(*e).unwrap()).collect();
        span.links = view.links.iter().map(|l| Link::decode(*l).unwrap()).collect();
        span.status = view.status.map(|s| opentelemetry_proto::tonic::trace::v1::Status {
            code: s.code,
            message: s.message.to_owned(),
        });
        span.attributes = view.attributes.iter().map(AttributeView::to_key_value).collect();
        span
    }

    proptest! {
        #[test]
        fn a_view_shows_what_was_encoded(span in any_span()) {
            let bytes = span.encode_to_vec();
            prop_assert_eq!(to_span(&SpanView::parse(&bytes).unwrap()), span);
        }

        #[test]
        fn what_parses_decodes_to_the_same_span(
            span in any_span(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = span.encode_to_vec();
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(view) = SpanView::parse(bytes) {
                    let decoded = Span::decode(bytes).unwrap();
                    prop_assert_eq!(to_span(&view).encode_to_vec(), decoded.encode_to_vec());
                }
            }
        }
    }
}
