//! Ids of traces and spans. A span itself has OTLP's own shape, `opentelemetry_proto::tonic::trace::v1::Span`.

use std::fmt;
use std::str::FromStr;

/// Never all zeros in what is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Never all zeros in what is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("an id of {digits} hex digits; at most {max} are allowed")]
    Length { digits: usize, max: usize },
    #[error("{found:?} in an id is not a hex digit")]
    Digit { found: char },
    #[error("an id of zeros only")]
    Zero,
}

impl TraceId {
    /// `None` unless these are 16 bytes that are not all zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<TraceId> {
        bytes.try_into().ok().filter(|id: &[u8; 16]| id.iter().any(|&b| b != 0)).map(TraceId)
    }
}

impl SpanId {
    /// `None` unless these are 8 bytes that are not all zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<SpanId> {
        bytes.try_into().ok().filter(|id: &[u8; 8]| id.iter().any(|&b| b != 0)).map(SpanId)
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    /// Of hex digits; a short one stands for one with zeros before it, as Zipkin and many tools write them.
    fn from_str(text: &str) -> Result<TraceId, IdError> {
        parse(text).map(TraceId)
    }
}

impl FromStr for SpanId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<SpanId, IdError> {
        parse(text).map(SpanId)
    }
}

fn parse<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let digits = text.chars().count();
    if digits == 0 || digits > 2 * N {
        return Err(IdError::Length { digits, max: 2 * N });
    }
    let mut id = [0; N];
    for (i, found) in text.chars().rev().enumerate() {
        let digit = found.to_digit(16).ok_or(IdError::Digit { found })? as u8;
        id[N - 1 - i / 2] |= digit << (4 * (i % 2));
    }
    if id.iter().all(|&b| b == 0) { Err(IdError::Zero) } else { Ok(id) }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_padded_with_zeros_before_it() {
        let id: TraceId = "5B8aa5a2d2c872e8321cf37308d69df".parse().unwrap();
        assert_eq!(id.to_string(), "05b8aa5a2d2c872e8321cf37308d69df");
        assert_eq!("1f".parse::<SpanId>().unwrap().0, [0, 0, 0, 0, 0, 0, 0, 0x1f]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!("".parse::<SpanId>(), Err(IdError::Length { digits: 0, max: 16 }));
        assert_eq!("1".repeat(33).parse::<TraceId>(), Err(IdError::Length { digits: 33, max: 32 }));
        assert_eq!("12x4".parse::<SpanId>(), Err(IdError::Digit { found: 'x' }));
        assert_eq!("é".parse::<SpanId>(), Err(IdError::Digit { found: 'é' }));
        assert_eq!("0000".parse::<SpanId>(), Err(IdError::Zero));
        assert_eq!(TraceId::from_bytes(&[0; 16]), None);
        assert_eq!(SpanId::from_bytes(&[1; 7]), None);
    }
}
