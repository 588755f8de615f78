//! Texts laid out for being copied, many short ones in a row.

use super::TOO_LONG;
use super::plain::Plain;
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

    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.start as usize + self.len as usize]
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

/// The values of a column.
pub struct Values {
    /// With [`PADDING`] bytes at the end.
    bytes: Vec<u8>,
    spans: Vec<Span>,
    len_max: usize,
}

impl Values {
    pub fn new(plain: &Plain) -> Result<Values, Malformed> {
        let mut bytes = Vec::with_capacity(plain.bytes().len() + PADDING);
        bytes.extend_from_slice(plain.bytes());
        bytes.extend([0; PADDING]);
        let spans = match plain {
            Plain::Constant { text, count } => vec![Span::new(0, text.len())?; *count],
            Plain::Dictionary(dictionary) => {
                let texts = dictionary.texts();
                let spans =
                    (0..texts.count()).map(|text| Span::new(texts.range(text).start, texts.range(text).end));
                let spans = spans.collect::<Result<Vec<_>, _>>()?;
                dictionary.picks().iter().map(|&pick| spans[pick as usize]).collect()
            }
            Plain::Joined(joined) => {
                let spans =
                    (0..joined.count()).map(|row| Span::new(joined.range(row).start, joined.range(row).end));
                spans.collect::<Result<_, _>>()?
            }
        };
        let len_max = spans.iter().map(|span| span.len()).max().unwrap_or(0);
        Ok(Values { bytes, spans, len_max })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub fn len_max(&self) -> usize {
        self.len_max
    }
}
