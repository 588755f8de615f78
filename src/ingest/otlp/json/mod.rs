//! OTLP's JSON, as its specification narrows protobuf's: keys in lowerCamelCase, unknown ones ignored, 64-bit
//! integers as numbers or texts, enumerations as numbers, ids in hex, bytes in base64. A span or a log record with a
//! field that is not so is refused alone.

pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod traces;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;

use crate::ingest::IngestError;
use crate::ingest::admission::{Reason, Rejection};
use crate::ingest::json::Object;
use crate::ingest::refusals::Refusals;

/// The messages of a list, those refused alone that cannot be read; `name` says which one it is.
fn one_by_one<'a, T>(
    of: Object<'a>,
    key: &'static str,
    refusals: &mut Refusals,
    name: impl Fn(Object<'a>) -> String,
    read: impl Fn(Object<'a>) -> Result<T, IngestError>,
) -> Result<Vec<T>, IngestError> {
    let values = of.read(key, "a list of objects", Value::as_array)?.map_or(&[][..], Vec::as_slice);
    let mut messages = Vec::new();
    for value in values {
        let read = match value.as_object() {
            Some(object) => read(Object(object)).map_err(|e| format!("{}: {e}", name(Object(object)))),
            None => Err(format!("{key} has what is not an object")),
        };
        match read {
            Ok(message) => messages.push(message),
            Err(message) => refusals.refuse(Rejection::new(Reason::Malformed, message), 1),
        }
    }
    Ok(messages)
}

fn resource(object: Object<'_>) -> Result<Resource, IngestError> {
    Ok(Resource {
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
        ..Default::default()
    })
}

fn scope(object: Object<'_>) -> Result<InstrumentationScope, IngestError> {
    Ok(InstrumentationScope {
        name: object.text("name")?,
        version: object.text("version")?,
        attributes: object.objects("attributes", key_value)?,
        dropped_attributes_count: object.u32("droppedAttributesCount")?,
    })
}

fn key_value(object: Object<'_>) -> Result<KeyValue, IngestError> {
    Ok(KeyValue { key: object.text("key")?, value: object.object("value", any_value)?, ..Default::default() })
}

/// Nested as deep as the scan let through.
fn any_value(object: Object<'_>) -> Result<AnyValue, IngestError> {
    use any_value::Value as Any;
    let value = if let Some(text) = object.read("stringValue", "a text", Value::as_str)? {
        Some(Any::StringValue(text.to_owned()))
    } else if let Some(yes) = object.read("boolValue", "true or false", Value::as_bool)? {
        Some(Any::BoolValue(yes))
    } else if let Some(number) = object.i64("intValue")? {
        Some(Any::IntValue(number))
    } else if let Some(number) = object.f64("doubleValue")? {
        Some(Any::DoubleValue(number))
    } else if let Some(list) = object.object("arrayValue", |list| list.objects("values", any_value))? {
        Some(Any::ArrayValue(ArrayValue { values: list }))
    } else if let Some(map) = object.object("kvlistValue", |map| map.objects("values", key_value))? {
        Some(Any::KvlistValue(KeyValueList { values: map }))
    } else {
        let read = |value: &Value| BASE64.decode(value.as_str()?).ok();
        object.read("bytesValue", "a text in base64", read)?.map(Any::BytesValue)
    };
    Ok(AnyValue { value })
}
