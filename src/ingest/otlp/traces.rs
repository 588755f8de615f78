//! Spans, each kept as the bytes it came in; what is said once of many is copied once. A sender that does not name its
//! service gets the name that OpenTelemetry has for it, so that every question about services finds its spans.

use prost::encoding::encode_varint;

use super::any::{Any, key_value};
use super::attributes::SERVICE_NAME;
use super::shape::{Shape, check, check_text};
use crate::ingest::admission::{Reason, Rejection};
use crate::ingest::logs::service::UNKNOWN;
use crate::ingest::protobuf::{Message, WireError};
use crate::ingest::spans::{SpanHead, SpanIntake};

// Tags of length-delimited fields, the same in `ResourceSpans` and `ScopeSpans`: the resource or scope, the list of
// what is below it, and the schema's URL.
const HEAD: u8 = 0x0A;
const CONTENT: u8 = 0x12;
const SCHEMA_URL: u8 = 0x1A;

// Tags of a resource's or a map's list of attributes, of the key and the value of one, and of a value that is a text.
const ATTRIBUTE: u8 = 0x0A;
const KEY: u8 = 0x0A;
const VALUE: u8 = 0x12;
const TEXT: u8 = 0x0A;

/// Reads an encoded `ExportTraceServiceRequest` into `intake`.
pub fn read(body: &[u8], intake: &mut SpanIntake<'_>) -> Result<(), WireError> {
    let mut request = Message::new(body);
    let (mut resource, mut scope, mut origin) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(field) = request.next_field()? {
        if field.number != 1 {
            continue;
        }
        let of_resource = field.message()?;
        resource.clear();
        copy_heads(of_resource, Shape::Resource, &mut resource)?;
        if !names_service(of_resource)? {
            // Before the others: of attributes of one name the first counts.
            resource.splice(0..0, unknown_service());
        }
        let mut scopes = of_resource;
        while let Some(field) = scopes.next_field()? {
            if field.number != 2 {
                continue;
            }
            let of_scope = field.message()?;
            scope.clear();
            copy_heads(of_scope, Shape::Scope, &mut scope)?;
            resource.clone_into(&mut origin);
            push_field(CONTENT, &scope, &mut origin);
            intake.set_origin(&origin);
            read_spans(of_scope, intake)?;
        }
    }
    Ok(())
}

/// Copies all but the list: a head that comes in pieces is put together by whoever decodes it.
fn copy_heads(mut message: Message<'_>, shape: Shape, to: &mut Vec<u8>) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => {
                check(field.message()?, shape)?;
                push_field(HEAD, field.bytes()?, to);
            }
            3 => {
                check_text(field.message()?)?;
                push_field(SCHEMA_URL, field.bytes()?, to);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a `ResourceSpans` says which service it is of: an empty name is none, nor is a number.
fn names_service(mut message: Message<'_>) -> Result<bool, WireError> {
    while let Some(field) = message.next_field()? {
        if field.number != 1 {
            continue;
        }
        let mut resource = field.message()?;
        while let Some(field) = resource.next_field()? {
            if field.number != 1 {
                continue;
            }
            let (key, value) = key_value(field.message()?)?;
            if key == SERVICE_NAME.as_bytes() {
                return Ok(matches!(value, Any::Text(name) if !name.is_empty()));
            }
        }
    }
    Ok(false)
}

/// A resource, as a field of `ResourceSpans`, that has nothing but the name.
fn unknown_service() -> Vec<u8> {
    let (mut value, mut attribute, mut resource, mut field) = (vec![], vec![], vec![], vec![]);
    push_field(TEXT, UNKNOWN.as_bytes(), &mut value);
    push_field(KEY, SERVICE_NAME.as_bytes(), &mut attribute);
    push_field(VALUE, &value, &mut attribute);
    push_field(ATTRIBUTE, &attribute, &mut resource);
    push_field(HEAD, &resource, &mut field);
    field
}

fn push_field(tag: u8, content: &[u8], to: &mut Vec<u8>) {
    to.push(tag);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

fn read_spans(mut message: Message<'_>, intake: &mut SpanIntake<'_>) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        if field.number != 2 {
            continue;
        }
        let span = field.message()?;
        match check(span, Shape::Span).and_then(|_| head(span)) {
            Ok(head) => intake.span(&head, span.bytes()),
            Err(WireError { offset, reason }) => {
                let message = format!("invalid protobuf at byte {offset}, in a span: {reason}");
                intake.refusals.refuse(Rejection::new(Reason::Malformed, message), 1);
            }
        }
    }
    Ok(())
}

fn head<'a>(mut span: Message<'a>) -> Result<SpanHead<'a>, WireError> {
    let mut head = SpanHead::default();
    while let Some(field) = span.next_field()? {
        match field.number {
            1 => head.trace_id = field.bytes()?,
            2 => head.span_id = field.bytes()?,
            4 => head.parent_span_id = field.bytes()?,
            5 => head.name = field.bytes()?,
            7 => head.start = field.fixed64()?,
            8 => head.end = field.fixed64()?,
            _ => {}
        }
    }
    Ok(head)
}
