//! All texts of a column one after the other, compressed together.

use memchr::memmem::Finder;

use super::pattern::Patterns;
use super::span::{PADDING, Span};
use super::{Effort, NOT_UTF8, TOO_LONG, put_bytes, take_bytes};
use crate::codec::rows::RowSet;
use crate::codec::varint::write_u64;
use crate::codec::{Malformed, compressed, integers, take_count, take_u8};

const SAME_LENGTH: u8 = 0;
const SEPARATED: u8 = 1;
const LENGTHS: u8 = 2;

/// Ends a text where none holds it: then the compressor sees the lengths in their context.
const SEPARATOR: u8 = b'\n';

/// Appends the texts.
pub fn encode(texts: &[&str], effort: Effort, out: &mut Vec<u8>) {
    let first_len = texts.first().map_or(0, |text| text.len());
    let level = effort.zstd_level();
    let has_separator = || texts.iter().any(|text| memchr::memchr(SEPARATOR, text.as_bytes()).is_some());
    if texts.iter().all(|text| text.len() == first_len) {
        out.push(SAME_LENGTH);
        write_u64(out, first_len as u64);
        compressed::encode_at(level, texts.concat().as_bytes(), out);
    } else if !has_separator() {
        out.push(SEPARATED);
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(SEPARATOR);
        }
        compressed::encode_at(level, &bytes, out);
    } else {
        out.push(LENGTHS);
        let lengths: Vec<i64> = texts.iter().map(|text| text.len() as i64).collect();
        let mut packed = Vec::new();
        integers::encode(&lengths, &mut packed);
        put_bytes(out, &packed);
        compressed::encode_at(level, texts.concat().as_bytes(), out);
    }
}

/// The texts one after the other, perhaps with a byte between them; of at most `max` bytes, no text being empty.
pub fn unpack(mut bytes: &[u8], max: usize) -> Result<Vec<u8>, Malformed> {
    match take_u8(&mut bytes)? {
        SAME_LENGTH => {
            take_count(&mut bytes, max)?;
        }
        SEPARATED => return compressed::decode_block(bytes, max.saturating_mul(2), 0),
        LENGTHS => {
            take_bytes(&mut bytes)?;
        }
        _ => return Err(UNKNOWN),
    }
    compressed::decode_block(bytes, max, 0)
}

const UNKNOWN: Malformed = Malformed("unknown kind of joined texts");

/// The texts, unpacked. Invariant: spans follow each other, perhaps with a byte in between, and begin and end
/// where characters do.
pub struct Joined {
    /// With [`PADDING`] bytes at the end.
    padded: String,
    spans: Vec<Span>,
}

impl Joined {
    pub fn open(mut bytes: &[u8], count: usize, max: usize) -> Result<Joined, Malformed> {
        match take_u8(&mut bytes)? {
            SAME_LENGTH => {
                let len = take_count(&mut bytes, max)?;
                if len.saturating_mul(count) > max {
                    return Err(TOO_LONG);
                }
                let texts = compressed::decode_block(bytes, max, PADDING)?;
                Joined::new(texts, (0..count).map(|row| (row + 1) * len), 0)
            }
            SEPARATED => {
                let texts = compressed::decode_block(bytes, max.saturating_add(count), PADDING)?;
                let ends: Vec<usize> = memchr::memchr_iter(SEPARATOR, &texts).collect();
                if ends.len() != count {
                    return Err(Malformed("a column has another number of texts"));
                }
                Joined::new(texts, ends.into_iter(), 1)
            }
            LENGTHS => {
                let mut lengths = Vec::new();
                integers::decode(&mut take_bytes(&mut bytes)?, count, &mut lengths)?;
                let texts = compressed::decode_block(bytes, max, PADDING)?;
                Joined::new(texts, ends_of(&lengths, max)?.into_iter(), 0)
            }
            _ => Err(UNKNOWN),
        }
    }

    /// Texts one after the other, with `gap` bytes after each. `ends` do not decrease.
    pub fn new(
        mut texts: Vec<u8>,
        ends: impl ExactSizeIterator<Item = usize>,
        gap: usize,
    ) -> Result<Joined, Malformed> {
        let len = texts.len();
        u32::try_from(len).map_err(|_| TOO_LONG)?;
        let mut spans = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            spans.push(Span::new(start, end)?);
            start = end + gap;
        }
        if start != len {
            return Err(Malformed("the texts of a column have another length"));
        }
        texts.extend([0; PADDING]);
        let padded = String::from_utf8(texts).map_err(|_| NOT_UTF8)?;
        if !padded.is_ascii() && spans.iter().any(|span| !padded.is_char_boundary(span.range().end)) {
            return Err(NOT_UTF8);
        }
        Ok(Joined { padded, spans })
    }

    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// All texts, with the gaps between them.
    pub fn bytes(&self) -> &[u8] {
        &self.padded()[..self.padded.len() - PADDING]
    }

    /// The same, and what follows, so that [`super::span::append`] can copy each.
    pub fn padded(&self) -> &[u8] {
        self.padded.as_bytes()
    }

    /// [`Self::padded`] and [`Self::spans`].
    pub fn into_parts(self) -> (Vec<u8>, Vec<Span>) {
        (self.padded.into_bytes(), self.spans)
    }

    /// Where the texts lie in [`Self::bytes`].
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub fn get(&self, row: usize) -> &str {
        &self.padded[self.spans[row].range()]
    }

    /// Leaves the rows that the patterns hold for.
    pub fn filter(&self, patterns: &Patterns, rows: &mut RowSet) {
        // Below that, going from row to row is quicker than one search through all the bytes.
        const SPARSE: usize = 8;
        if rows.count() * SPARSE < self.count() {
            rows.retain(|row| patterns.holds_for(self.get(row)));
            return;
        }
        let mut found = RowSet::none(self.count());
        for pattern in &patterns.alternatives {
            self.find(pattern.required(), |row| pattern.is_in_candidate(self.get(row)), &mut found);
        }
        if patterns.is_negated {
            rows.subtract(&found);
        } else {
            rows.intersect(&found);
        }
    }

    /// Puts the rows that hold `needle` into `found`, if they are a match.
    pub fn find(&self, needle: &Finder, is_match: impl Fn(usize) -> bool, found: &mut RowSet) {
        if needle.needle().is_empty() {
            (0..self.count()).filter(|&row| is_match(row)).for_each(|row| found.insert(row));
            return;
        }
        let mut row = 0;
        while row < self.count() {
            let start = self.spans[row].range().start;
            let Some(hit) = needle.find(&self.bytes()[start..]) else {
                break;
            };
            let hit = start + hit;
            row += self.spans[row..].partition_point(|span| span.range().end <= hit);
            let Some(span) = self.spans.get(row) else {
                break;
            };
            // What begins or ends outside a text is held by two texts together.
            let is_inside = hit >= span.range().start && hit + needle.needle().len() <= span.range().end;
            if is_inside && is_match(row) {
                found.insert(row);
            }
            // A needle that begins in the gap before this row may occur in it again.
            if hit >= span.range().start {
                row += 1;
            }
        }
    }
}

/// Where texts of these lengths end, of at most `max` bytes together.
fn ends_of(lengths: &[i64], max: usize) -> Result<Vec<usize>, Malformed> {
    let mut end = 0usize;
    let mut ends = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let length = usize::try_from(length).map_err(|_| TOO_LONG)?;
        end = end.checked_add(length).filter(|&end| end <= max).ok_or(TOO_LONG)?;
        ends.push(end);
    }
    Ok(ends)
}
