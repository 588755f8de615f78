//! JSON bodies: bounded before they are parsed, and read field by field into messages of our own.
//!
//! A linear scan before the parser bounds the depth and the number of values, and with them the memory.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::IngestError;

const DEPTH_MAX: usize = 64;

// A parsed value costs about 100 bytes with its key: 100 MB. A point has some twenty, a log entry three.
const VALUES_MAX: usize = 1_000_000;

/// The object that a body is.
pub(super) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, IngestError> {
    match parse(body)? {
        Value::Object(root) => Ok(root),
        _ => Err(malformed(0, "not an object".to_owned())),
    }
}

/// A body of any shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, IngestError> {
    scan(body)?;
    serde_json::from_slice(body).map_err(|e| malformed(offset_of(&e, body), e.to_string()))
}

fn malformed(offset: usize, reason: String) -> IngestError {
    IngestError::Malformed { what: "JSON", offset, reason }
}

/// Refuses what is nested too deep or has too many values, whatever else may be wrong with it.
fn scan(body: &[u8]) -> Result<(), IngestError> {
    let (mut depth, mut values, mut at) = (0usize, 0usize, 0usize);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => at = end_of_text(body, at),
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(malformed(at, format!("nested deeper than {DEPTH_MAX}")));
        }
        if values > VALUES_MAX {
            return Err(malformed(at, format!("more than {VALUES_MAX} values")));
        }
        at += 1;
    }
    Ok(())
}

/// Where the text that starts at `at` has its closing quote.
fn end_of_text(body: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The parser counts lines and columns from 1.
fn offset_of(error: &serde_json::Error, body: &[u8]) -> usize {
    let lines = body.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)).min(body.len())
}

/// A message: `null` and a missing key are the same.
#[derive(Clone, Copy)]
pub(super) struct Object<'a>(pub &'a Map<String, Value>);

impl<'a> Object<'a> {
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub fn read<T>(
        self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, IngestError> {
        let bad = || IngestError::BadField { field: key, expected };
        self.get(key).map(|value| read(value).ok_or_else(bad)).transpose()
    }

    pub fn object<T>(
        self,
        key: &'static str,
        read: impl FnOnce(Object<'a>) -> Result<T, IngestError>,
    ) -> Result<Option<T>, IngestError> {
        self.read(key, "an object", Value::as_object)?.map(|object| read(Object(object))).transpose()
    }

    pub fn objects<T>(
        self,
        key: &'static str,
        mut read: impl FnMut(Object<'a>) -> Result<T, IngestError>,
    ) -> Result<Vec<T>, IngestError> {
        let list = self.read(key, "a list of objects", Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let bad = || IngestError::BadField { field: key, expected: "a list of objects" };
        list.iter().map(|value| read(Object(value.as_object().ok_or_else(bad)?))).collect()
    }

    pub fn numbers<T>(
        self,
        key: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, IngestError> {
        let list = self.read(key, "a list of numbers", Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let bad = || IngestError::BadField { field: key, expected: "a list of numbers" };
        list.iter().map(|value| read(value).ok_or_else(bad)).collect()
    }

    pub fn text(self, key: &'static str) -> Result<String, IngestError> {
        Ok(self.read(key, "a text", Value::as_str)?.unwrap_or_default().to_owned())
    }

    pub fn bool(self, key: &'static str) -> Result<bool, IngestError> {
        Ok(self.read(key, "true or false", Value::as_bool)?.unwrap_or_default())
    }

    pub fn u64(self, key: &'static str) -> Result<u64, IngestError> {
        Ok(self.read(key, "an unsigned 64-bit integer", u64_of)?.unwrap_or_default())
    }

    pub fn u32(self, key: &'static str) -> Result<u32, IngestError> {
        let read = |value| u64_of(value).and_then(|number| u32::try_from(number).ok());
        Ok(self.read(key, "an unsigned 32-bit integer", read)?.unwrap_or_default())
    }

    pub fn i32(self, key: &'static str) -> Result<i32, IngestError> {
        let read = |value| i64_of(value).and_then(|number| i32::try_from(number).ok());
        Ok(self.read(key, "a 32-bit integer", read)?.unwrap_or_default())
    }

    pub fn i64(self, key: &'static str) -> Result<Option<i64>, IngestError> {
        self.read(key, "a 64-bit integer", i64_of)
    }

    pub fn f64(self, key: &'static str) -> Result<Option<f64>, IngestError> {
        self.read(key, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", f64_of)
    }

    pub fn hex(self, key: &'static str) -> Result<Vec<u8>, IngestError> {
        let read = |value: &Value| hex_bytes(value.as_str()?);
        Ok(self.read(key, "a text of hexadecimal digits", read)?.unwrap_or_default())
    }
}

pub(super) fn u64_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_u64().or_else(|| whole(value).and_then(|v| (v >= 0.0).then_some(v as u64))),
    }
}

fn i64_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_i64().or_else(|| whole(value).map(|v| v as i64)),
    }
}

/// Protobuf's JSON allows `1.0` and `1e3` for integers.
fn whole(value: &Value) -> Option<f64> {
    // Up to 2^63 the conversion back to an integer is exact.
    value.as_f64().filter(|v| v.fract() == 0.0 && v.abs() < 9.2e18)
}

pub(super) fn f64_of(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => value.as_f64(),
    }
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_number_of_values_are_bounded_before_parsing() {
        let error = |body: &str| parse::<Value>(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(&"[".repeat(100_000)), "invalid JSON at byte 64: nested deeper than 64");
        let wide = format!("[{}", "0,".repeat(VALUES_MAX + 1));
        assert!(error(&wide).ends_with("more than 1000000 values"), "{}", error(&wide));
        // Brackets within a text are text.
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(100));
        assert_eq!(parse_object(text.as_bytes()).unwrap().len(), 1);
    }
}
