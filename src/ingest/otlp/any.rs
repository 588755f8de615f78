//! OTLP's values, read in place. Texts that are not UTF-8 are mended, since what comes of them is to be read by people.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use super::attributes::double;
use crate::ingest::logs::Pairs;
use crate::ingest::protobuf::{Message, WireError, mended};

// Nobody nests by hand, and 64 is what JSON is allowed.
const DEPTH_MAX: usize = 64;

/// An `AnyValue`; a list or a map is not read further yet.
#[derive(Clone, Copy, Debug)]
pub enum Any<'a> {
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Message<'a>),
    Map(Message<'a>),
    Bytes(&'a [u8]),
}

impl<'a> Any<'a> {
    pub fn read(mut message: Message<'a>) -> Result<Any<'a>, WireError> {
        let mut value = Any::Empty;
        while let Some(field) = message.next_field()? {
            value = match field.number {
                1 => Any::Text(field.bytes()?),
                2 => Any::Bool(field.varint()? != 0),
                3 => Any::Int(field.varint()? as i64),
                4 => Any::Double(field.double()?),
                5 => Any::List(field.message()?),
                6 => Any::Map(field.message()?),
                7 => Any::Bytes(field.bytes()?),
                // A reference into a table that only profiles have, or what is not known yet.
                _ => continue,
            };
        }
        Ok(value)
    }

    /// As text; lists and maps as JSON.
    pub fn write(self, to: &mut String) -> Result<(), WireError> {
        match self {
            Any::Empty => {}
            Any::Text(text) => to.push_str(&mended(text)),
            Any::Bool(yes) => to.push_str(if yes { "true" } else { "false" }),
            Any::Int(number) => write!(to, "{number}").expect("a String takes all"),
            Any::Double(number) => to.push_str(&double(number)),
            Any::Bytes(bytes) => BASE64.encode_string(bytes, to),
            Any::List(_) | Any::Map(_) => {
                let json = self.json(DEPTH_MAX)?;
                write!(to, "{json}").expect("a String takes all");
            }
        }
        Ok(())
    }

    fn json(self, depth_left: usize) -> Result<Json, WireError> {
        Ok(match self {
            Any::Empty => Json::Null,
            Any::Text(text) => mended(text).into(),
            Any::Bool(yes) => yes.into(),
            Any::Int(number) => number.into(),
            Any::Double(number) => number.into(),
            Any::Bytes(bytes) => BASE64.encode(bytes).into(),
            Any::List(list) => {
                let mut values = Vec::new();
                each_field_1(list, depth_left, |value, depth_left| {
                    values.push(Any::read(value)?.json(depth_left)?);
                    Ok(())
                })?;
                values.into()
            }
            Any::Map(map) => {
                let mut values = serde_json::Map::new();
                each_field_1(map, depth_left, |entry, depth_left| {
                    let (key, value) = key_value(entry)?;
                    values.insert(mended(key).into_owned(), value.json(depth_left)?);
                    Ok(())
                })?;
                values.into()
            }
        })
    }
}

/// Calls `each` with every element of a list or a map, and how deep these may nest.
fn each_field_1<'a>(
    mut elements: Message<'a>,
    depth_left: usize,
    mut each: impl FnMut(Message<'a>, usize) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while let Some(field) = elements.next_field()? {
        if field.number == 1 {
            let reason = "nested deeper than 64";
            let depth_left = depth_left.checked_sub(1).ok_or(WireError { offset: field.offset, reason })?;
            each(field.message()?, depth_left)?;
        }
    }
    Ok(())
}

/// A `KeyValue`.
pub fn key_value<'a>(mut message: Message<'a>) -> Result<(&'a [u8], Any<'a>), WireError> {
    let (mut key, mut value) = (&[][..], Any::Empty);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = Any::read(field.message()?)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Adds an attribute to `pairs`, a map as one pair for each of its entries: `parent.child`.
pub fn flatten(key: &[u8], value: Any<'_>, pairs: &mut Pairs) -> Result<(), WireError> {
    let key = mended(key);
    match value {
        Any::Map(map) => flatten_map(&mut key.into_owned(), map, DEPTH_MAX, pairs),
        Any::Empty => Ok(()),
        Any::Text(text) => {
            pairs.push(&key, &mended(text));
            Ok(())
        }
        _ => {
            let mut written = Ok(());
            pairs.push_with(&key, |to| written = value.write(to));
            written
        }
    }
}

/// `path` is the same before and after.
fn flatten_map(
    path: &mut String,
    map: Message<'_>,
    depth_left: usize,
    pairs: &mut Pairs,
) -> Result<(), WireError> {
    each_field_1(map, depth_left, |entry, depth_left| {
        let (key, value) = key_value(entry)?;
        let parent_len = path.len();
        path.push('.');
        path.push_str(&mended(key));
        match value {
            Any::Map(map) => flatten_map(path, map, depth_left, pairs)?,
            _ => {
                let mut written = Ok(());
                pairs.push_with(path, |to| written = value.write(to));
                written?;
            }
        }
        path.truncate(parent_len);
        Ok(())
    })
}
