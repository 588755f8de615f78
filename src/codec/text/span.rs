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

/// Appends `span` of `from`, which must go on for [`PADDING`] bytes behind it.
#[inline(always)]
pub fn append(to: &mut Vec<u8>, from: &[u8], span: Span) {
    let (start, len) = (span.start as usize, span.len as usize);
    let end = to.len() + len;
    if len <= PADDING / 2 {
        to.extend_from_slice(&from[start..start + PADDING / 2]);
    } else if len <= PADDING {
        to.extend_from_slice(&from[start..start + PADDING]);
    } else {
        to.extend_from_slice(&from[start..start + len]);
    }
    to.truncate(end);
}
