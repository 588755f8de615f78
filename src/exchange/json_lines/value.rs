//! A float in JSON, whatever it is.

use std::fmt::Write;

use crate::exchange::number::{NAN, push_finite};
use crate::model::metrics::STALE_NAN;

pub fn push(to: &mut String, value: f64) {
    match value.to_bits() {
        NAN => to.push_str("null"),
        STALE_NAN => to.push_str("\"stale\""),
        bits if value.is_nan() => write!(to, "\"nan:{bits:016x}\"").expect("writing to a string cannot fail"),
        _ if value == f64::INFINITY => to.push_str("\"Infinity\""),
        _ if value == f64::NEG_INFINITY => to.push_str("\"-Infinity\""),
        _ => push_finite(to, value),
    }
}

/// As it stands in the line, quotes included.
pub fn parse(text: &str) -> Option<f64> {
    match text {
        "null" | "\"NaN\"" => return Some(f64::from_bits(NAN)),
        "\"stale\"" => return Some(f64::from_bits(STALE_NAN)),
        "\"Infinity\"" | "\"+Infinity\"" | "\"+Inf\"" => return Some(f64::INFINITY),
        "\"-Infinity\"" | "\"-Inf\"" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(bits) = text.strip_prefix("\"nan:").and_then(|text| text.strip_suffix('"')) {
        let value = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
        return value.is_nan().then_some(value);
    }
    // Words that Rust reads as numbers are none in JSON.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && !text.ends_with(|c: char| c.is_alphabetic());
    if is_number { text.parse().ok() } else { None }
}
