//! Texts laid out for being copied, many short ones in a row.

use std::ops::Range;

use super::TOO_LONG;
use crate::codec::Malformed;

/// Short texts are copied as this many bytes, whatever their length: a copy of a fixed length is a few
/// instructions, one of any length a call.
pub const PADDING: usize = 32;

/// Where a text lies.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Result<Span, Malformed> {
        let end = u32::try_from(end).map_err(|_| TOO_LONG)?;
        Ok(Span { start: start as u32, len: end - start as u32 })
    }

    pub fn len(self) -> usize {
        self.len as usize
    }

    pub fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Copies `span` of `from` to `to[at..]` and gives the end. Both must go on for [`PADDING`] bytes behind it.
#[inline(always)]
pub fn put(to: &mut [u8], at: usize, from: &[u8], span: Span) -> usize {
    let (start, len) = (span.start as usize, span.len as usize);
    if len <= 16 {
        to[at..at + 16].copy_from_slice(&from[start..start + 16]);
    } else if len <= PADDING {
        to[at..at + PADDING].copy_from_slice(&from[start..start + PADDING]);
    } else {
        to[at..at + len].copy_from_slice(&from[start..start + len]);
    }
    at + len
}
