//! All texts of a column one after the other, compressed together.

use std::ops::Range;

use super::pattern::{Pattern, Patterns};
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

/// The texts, unpacked. Invariant: ends do not decrease and are characters' boundaries of `bytes`.
pub struct Joined {
    bytes: String,
    ends: Vec<usize>,
    /// Bytes between two texts: 1 where a separator ends each.
    gap: usize,
}

impl Joined {
    pub fn open(mut bytes: &[u8], count: usize, max: usize) -> Result<Joined, Malformed> {
        let unpack = |bytes: &[u8], max: usize| {
            String::from_utf8(compressed::decode_block(bytes, max)?).map_err(|_| NOT_UTF8)
        };
        let (bytes, ends, gap) = match take_u8(&mut bytes)? {
            SAME_LENGTH => {
                let len = take_count(&mut bytes, max)?;
                if len.saturating_mul(count) > max {
                    return Err(TOO_LONG);
                }
                (unpack(bytes, max)?, (1..=count).map(|n| n * len).collect(), 0)
            }
            SEPARATED => {
                let bytes = unpack(bytes, max.saturating_add(count))?;
                let ends: Vec<usize> = memchr::memchr_iter(SEPARATOR, bytes.as_bytes()).collect();
                if ends.len() != count {
                    return Err(Malformed("a column has another number of texts"));
                }
                (bytes, ends, 1)
            }
            LENGTHS => {
                let mut lengths = Vec::new();
                integers::decode(&mut take_bytes(&mut bytes)?, count, &mut lengths)?;
                (unpack(bytes, max)?, ends_of(&lengths, max)?, 0)
            }
            _ => return Err(Malformed("unknown kind of joined texts")),
        };
        Joined::new(bytes, ends, gap)
    }

    /// Texts that lie in `bytes`, with `gap` bytes after each.
    pub fn new(bytes: String, ends: Vec<usize>, gap: usize) -> Result<Joined, Malformed> {
        if ends.last().map_or(0, |end| end + gap) != bytes.len() {
            return Err(Malformed("the texts of a column have another length"));
        }
        if !bytes.is_ascii() && ends.iter().any(|&end| !bytes.is_char_boundary(end)) {
            return Err(NOT_UTF8);
        }
        Ok(Joined { bytes, ends, gap })
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All texts, with the gaps between them.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    /// Where a text lies in [`Self::bytes`].
    pub fn range(&self, row: usize) -> Range<usize> {
        self.start(row)..self.ends[row]
    }

    pub fn get(&self, row: usize) -> &str {
        &self.bytes[self.range(row)]
    }

    fn start(&self, row: usize) -> usize {
        if row == 0 { 0 } else { self.ends[row - 1] + self.gap }
    }

    /// Leaves the rows that the patterns hold for.
    pub fn filter(&self, patterns: &Patterns, rows: &mut RowSet) {
        // Below that, going from row to row is quicker than one search through all the bytes.
        const SPARSE: usize = 8;
        if rows.count() * SPARSE < self.ends.len() {
            rows.retain(|row| patterns.holds_for(self.get(row)));
            return;
        }
        let mut found = RowSet::none(self.ends.len());
        patterns.alternatives.iter().for_each(|pattern| self.find(pattern, &mut found));
        rows.retain(|row| found.contains(row) != patterns.is_negated);
    }

    /// Puts the rows that the pattern is in into `found`.
    fn find(&self, pattern: &Pattern, found: &mut RowSet) {
        let needle = pattern.required();
        let is_match = |row| match pattern {
            Pattern::Literal(_) => true,
            Pattern::Regex { regex, .. } => regex.is_match(self.get(row).as_bytes()),
        };
        if needle.needle().is_empty() {
            (0..self.ends.len()).filter(|&row| is_match(row)).for_each(|row| found.insert(row));
            return;
        }
        let mut row = 0;
        while row < self.ends.len() {
            let start = self.start(row);
            let Some(hit) = needle.find(&self.bytes.as_bytes()[start..]) else {
                break;
            };
            let hit = start + hit;
            row += self.ends[row..].partition_point(|&end| end <= hit);
            if row == self.ends.len() {
                break;
            }
            // What begins or ends outside a text is held by two texts together.
            let is_inside = hit >= self.start(row) && hit + needle.needle().len() <= self.ends[row];
            if is_inside && is_match(row) {
                found.insert(row);
            }
            // A needle that begins in the gap before this row may occur in it again.
            if hit >= self.start(row) {
                row += 1;
            }
        }
    }
}

/// Where texts of these lengths end, of at most `max` bytes together.
pub fn ends_of(lengths: &[i64], max: usize) -> Result<Vec<usize>, Malformed> {
    let mut end = 0usize;
    let mut ends = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let length = usize::try_from(length).map_err(|_| TOO_LONG)?;
        end = end.checked_add(length).filter(|&end| end <= max).ok_or(TOO_LONG)?;
        ends.push(end);
    }
    Ok(ends)
}
