//! The shape of OTLP's messages below a request, checked in place: what passes is decoded by any protobuf decoder.
//!
//! Known fields have their wire types, texts are UTF-8, and nothing is nested deeper than a decoder goes.

use crate::ingest::protobuf::{Message, Value, WireError};

// Decoders stop at 100 messages in each other; those around a span and what answers wrap it in need a few.
const DEPTH_MAX: usize = 90;

/// As many messages are decoded at once: two bytes on the wire may be a hundred in memory.
pub const DECODED_MAX: usize = 1 << 16;

/// A message whose fields we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Resource,
    Scope,
    Span,
    Event,
    Link,
    Status,
    Exemplar,
    KeyValue,
    AnyValue,
    List,
    Map,
    EntityRef,
}

enum Kind {
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Text,
    Message(Shape),
}

impl Shape {
    /// By the numbers of the protocol; `None` for a field we do not know, which may hold anything.
    fn kind(self, number: u32) -> Option<Kind> {
        use Kind::*;
        Some(match (self, number) {
            (Shape::KeyValue, 1) | (Shape::AnyValue, 1) => Text,
            (Shape::KeyValue, 2) | (Shape::List, 1) => Message(Shape::AnyValue),
            (Shape::AnyValue, 2 | 3 | 8) | (Shape::KeyValue, 3) => Varint,
            (Shape::AnyValue, 4) => Fixed64,
            (Shape::AnyValue, 5) => Message(Shape::List),
            (Shape::AnyValue, 6) => Message(Shape::Map),
            (Shape::AnyValue, 7) => Bytes,
            (Shape::Map | Shape::Resource, 1) => Message(Shape::KeyValue),

            (Shape::Span, 1 | 2 | 4) => Bytes,
            (Shape::Span, 3 | 5) => Text,
            (Shape::Span, 6 | 10 | 12 | 14) => Varint,
            (Shape::Span, 7 | 8) => Fixed64,
            (Shape::Span, 9) => Message(Shape::KeyValue),
            (Shape::Span, 11) => Message(Shape::Event),
            (Shape::Span, 13) => Message(Shape::Link),
            (Shape::Span, 15) => Message(Shape::Status),
            (Shape::Span, 16) => Fixed32,

            (Shape::Event, 1) => Fixed64,
            (Shape::Event, 2) => Text,
            (Shape::Event, 3) => Message(Shape::KeyValue),
            (Shape::Event, 4) => Varint,

            (Shape::Link, 1 | 2) => Bytes,
            (Shape::Link, 3) => Text,
            (Shape::Link, 4) => Message(Shape::KeyValue),
            (Shape::Link, 5) => Varint,
            (Shape::Link, 6) => Fixed32,

            (Shape::Status, 2) => Text,
            (Shape::Status, 3) => Varint,

            (Shape::Exemplar, 2 | 3 | 6) => Fixed64,
            (Shape::Exemplar, 4 | 5) => Bytes,
            (Shape::Exemplar, 7) => Message(Shape::KeyValue),

            (Shape::Resource, 2) => Varint,
            (Shape::Resource, 3) => Message(Shape::EntityRef),
            (Shape::EntityRef, 1..=4) => Text,

            (Shape::Scope, 1 | 2) => Text,
            (Shape::Scope, 3) => Message(Shape::KeyValue),
            (Shape::Scope, 4) => Varint,
            _ => return None,
        })
    }
}

/// Refuses a message that has not its shape, and says how many messages it is, those in it counted.
pub fn check(message: Message<'_>, shape: Shape) -> Result<usize, WireError> {
    check_below(message, shape, 0)
}

fn check_below(mut message: Message<'_>, shape: Shape, depth: usize) -> Result<usize, WireError> {
    if depth > DEPTH_MAX {
        return Err(WireError { offset: message.offset(), reason: "nested deeper than 90" });
    }
    let mut message_count = 1;
    while let Some(field) = message.next_field()? {
        let Some(kind) = shape.kind(field.number) else { continue };
        match (kind, field.value) {
            (Kind::Varint, Value::Varint(_))
            | (Kind::Fixed64, Value::Fixed64(_))
            | (Kind::Fixed32, Value::Fixed32(_))
            | (Kind::Bytes, Value::Bytes(_)) => {}
            (Kind::Message(inner), Value::Bytes(content)) => {
                message_count += check_below(content, inner, depth + 1)?;
            }
            (Kind::Text, Value::Bytes(text)) => {
                check_text(text)?;
            }
            _ => return Err(field.mistyped()),
        }
    }
    Ok(message_count)
}

/// Decodes a message of this shape, counted as [`check_counted`] counts.
pub fn decode<M: prost::Message + Default>(
    message: Message<'_>,
    shape: Shape,
    messages_left: &mut usize,
) -> Result<M, WireError> {
    check_counted(message, shape, messages_left)?;
    Ok(M::decode(message.bytes()).expect("what has its shape can be decoded"))
}

/// As [`check`]; `messages_left` counts down from [`DECODED_MAX`] over all that are held at once.
pub fn check_counted(message: Message<'_>, shape: Shape, messages_left: &mut usize) -> Result<(), WireError> {
    let left = messages_left.checked_sub(check(message, shape)?);
    let reason = "more than 65536 messages in each other or of one list";
    *messages_left = left.ok_or(WireError { offset: message.offset(), reason })?;
    Ok(())
}

pub fn check_text(text: Message<'_>) -> Result<&str, WireError> {
    match std::str::from_utf8(text.bytes()) {
        Ok(text) => Ok(text),
        Err(e) => Err(WireError { offset: text.offset() + e.valid_up_to(), reason: "a text is not UTF-8" }),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::metrics::v1::Exemplar;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::ingest::otlp::generated;

    fn is_well_shaped(bytes: &[u8]) -> bool {
        check(Message::new(bytes), Shape::Span).is_ok()
    }

    fn nested(levels: usize) -> Vec<u8> {
        // Lists in lists, innermost first; each level is an AnyValue and an ArrayValue.
        let mut value = Vec::new();
        for tag in [0x0A, 0x2A].repeat(levels) {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.append(&mut value);
            value = outer;
        }
        for tag in [0x12, 0x4A] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.append(&mut value);
            value = outer;
        }
        value
    }

    #[test]
    fn what_nests_as_deep_as_a_decoder_goes_is_refused() {
        assert!(is_well_shaped(&nested(44)) && Span::decode(&*nested(44)).is_ok());
        assert!(!is_well_shaped(&nested(45)));
        assert!(!is_well_shaped(&nested(100_000)));
    }

    #[test]
    fn a_text_that_is_none_is_refused_at_its_byte() {
        let span = [0x2A, 3, b'a', 0xFF, b'b'];
        let error = check(Message::new(&span), Shape::Span).unwrap_err();
        assert_eq!(error, WireError { offset: 3, reason: "a text is not UTF-8" });
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_well_shaped(span in generated::span()) {
            prop_assert!(is_well_shaped(&span.encode_to_vec()));
        }

        #[test]
        fn what_passes_is_what_a_decoder_takes(
            span in generated::span(),
            exemplar in generated::exemplar(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let damaged = |mut bytes: Vec<u8>| {
                for (at, byte) in &changes {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = *byte;
                    }
                }
                if let Some(cut) = cut && !bytes.is_empty() {
                    bytes.truncate(cut.index(bytes.len()));
                }
                bytes
            };
            let span = damaged(span.encode_to_vec());
            let exemplar = damaged(exemplar.encode_to_vec());
            for (bytes, shape, is_decoded) in [
                (&span, Shape::Span, Span::decode(&*span).is_ok()),
                (&exemplar, Shape::Exemplar, Exemplar::decode(&*exemplar).is_ok()),
            ] {
                let checked = check(Message::new(bytes), shape);
                // Groups, which prost steps over, are the one thing that only it takes.
                if !matches!(checked, Err(e) if e.reason.contains("groups")) {
                    prop_assert_eq!(checked.is_ok(), is_decoded);
                }
            }
        }

        #[test]
        fn what_is_decoded_is_what_a_decoder_makes_of_it(span in generated::span()) {
            let bytes = span.encode_to_vec();
            let mut left = DECODED_MAX;
            let decoded: Span = decode(Message::new(&bytes), Shape::Span, &mut left).unwrap();
            prop_assert_eq!(decoded.encode_to_vec(), bytes);
        }
    }

    #[test]
    fn what_would_take_much_more_memory_than_bytes_is_not_decoded() {
        // Empty values in a list in a value, each of two bytes.
        let list = |values: usize| {
            let (mut list, mut value) = (Vec::new(), vec![0x2A]);
            list.extend([0x0A, 0].repeat(values));
            prost::encoding::encode_varint(list.len() as u64, &mut value);
            [value, list].concat()
        };
        let decoded = |values: usize| {
            let (value, mut left) = (list(values), DECODED_MAX);
            decode::<AnyValue>(Message::new(&value), Shape::AnyValue, &mut left).map(|_| left)
        };
        assert_eq!(decoded(DECODED_MAX - 2), Ok(0));
        assert_eq!(
            decoded(DECODED_MAX - 1).unwrap_err().reason,
            "more than 65536 messages in each other or of one list"
        );
    }
}
