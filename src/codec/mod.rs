//! Bytes to values and back: pure functions on slices that know no signal and no file.

mod ans;
pub mod bits;
pub mod chunks;
mod coded;
pub mod compressed;
pub mod crc32c;
pub mod floats;
pub mod fuse;
pub mod histograms;
pub mod integers;
mod near_decimals;
pub mod numbers;
mod patches;
pub mod rows;
pub mod states;
pub mod text;
pub mod timestamps;
pub mod varint;
mod whole;

/// How hard to look for a small form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// When a generation is sealed: what is small will be merged soon.
    Fast,
    /// When it is merged for good: the column will stay.
    Best,
}

/// Bytes that are not what their format says. Whoever knows file and offset adds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl From<varint::VarintError> for Malformed {
    fn from(error: varint::VarintError) -> Malformed {
        match error {
            varint::VarintError::Truncated => Malformed("ends inside an integer"),
            varint::VarintError::Malformed => Malformed("an integer is longer than it needs to be"),
        }
    }
}

/// Takes `len` bytes off the front.
pub fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(Malformed("ends too early"))?;
    *bytes = rest;
    Ok(head)
}

/// Takes one byte off the front.
pub fn take_u8(bytes: &mut &[u8]) -> Result<u8, Malformed> {
    Ok(take(bytes, 1)?[0])
}

/// Takes a count off the front that must not exceed `max`.
pub fn take_count(bytes: &mut &[u8], max: usize) -> Result<usize, Malformed> {
    let count = varint::read_u64(bytes)?;
    usize::try_from(count).ok().filter(|&c| c <= max).ok_or(Malformed("a count exceeds what is possible"))
}

/// Takes a text (varint length, UTF-8) off the front.
pub fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    let len = take_count(bytes, bytes.len())?;
    std::str::from_utf8(take(bytes, len)?).map_err(|_| Malformed("a text is not UTF-8"))
}

pub fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::write_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
