//! Columns of texts: log lines, metadata values, span names, string attributes.
//!
//! `storage-format.md` §1 "texts". A column is stored in the form that is smallest: one text for all rows, few texts
//! and numbers that pick them, or all texts one after the other, compressed. Conditions are tried on the stored
//! form, so that a text that is not wanted is not put together. Bytes of a column may be anything: they give
//! an error or some texts, but no panic, and no more text than the caller allows.

mod buffer;
mod dictionary;
mod joined;
mod pattern;

pub use buffer::TextBuffer;

use super::rows::RowSet;
use super::varint::write_u64;
use super::{Malformed, take_count, take_u8};
use crate::model::LineFilter;
use dictionary::Dictionary;
use joined::Joined;
use pattern::Patterns;

const CONSTANT: u8 = 0;
const DICTIONARY: u8 = 1;
const JOINED: u8 = 2;

/// How hard to look for a small form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// When a generation is sealed: the column will be merged soon.
    Fast,
    /// When segments are merged: the column will stay.
    Best,
}

impl Effort {
    fn zstd_level(self) -> i32 {
        match self {
            Effort::Fast => 1,
            Effort::Best => 6,
        }
    }
}

/// Appends the texts; their count is not written.
pub fn encode(texts: &TextBuffer, effort: Effort, out: &mut Vec<u8>) {
    if texts.iter().all(|text| text == texts.get(0)) {
        out.push(CONSTANT);
        out.extend_from_slice(texts.iter().next().unwrap_or_default().as_bytes());
        return;
    }
    let start = out.len();
    out.push(JOINED);
    joined::encode(texts, effort, out);
    let Some(dictionary) = dictionary::encode(texts, effort) else {
        return;
    };
    if dictionary.len() < out.len() - start {
        out.truncate(start);
        out.push(DICTIONARY);
        out.extend_from_slice(&dictionary);
    }
}

/// A column opened for reading: what it takes to find rows is unpacked, the texts are not put together.
pub struct TextColumn<'a> {
    count: usize,
    form: Form<'a>,
}

enum Form<'a> {
    Constant(&'a str),
    Dictionary(Dictionary),
    Joined(Joined),
}

impl<'a> TextColumn<'a> {
    /// Opens a column of `count` texts that have at most `decoded_bytes_max` bytes together.
    pub fn open(
        mut bytes: &'a [u8],
        count: usize,
        decoded_bytes_max: usize,
    ) -> Result<TextColumn<'a>, Malformed> {
        let form = match take_u8(&mut bytes)? {
            CONSTANT => {
                let text = std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
                if text.len().saturating_mul(count) > decoded_bytes_max {
                    return Err(TOO_LONG);
                }
                Form::Constant(text)
            }
            DICTIONARY => Form::Dictionary(Dictionary::open(bytes, count, decoded_bytes_max)?),
            JOINED => Form::Joined(Joined::open(bytes, count, decoded_bytes_max)?),
            _ => return Err(Malformed("unknown form of a text column")),
        };
        Ok(TextColumn { count, form })
    }

    /// Appends the texts of all rows.
    pub fn decode(&self, out: &mut TextBuffer) -> Result<(), Malformed> {
        self.decode_rows(&RowSet::all(self.count), out)
    }

    /// Appends a text for every row: its own for those in `rows`, else an empty one.
    pub fn decode_rows(&self, rows: &RowSet, out: &mut TextBuffer) -> Result<(), Malformed> {
        let mut append = |text_of: &dyn Fn(usize) -> &'a str| {
            (0..self.count).for_each(|row| out.push(if rows.contains(row) { text_of(row) } else { "" }));
        };
        match &self.form {
            Form::Constant(text) => append(&|_| text),
            Form::Dictionary(dictionary) => dictionary.decode_rows(rows, out),
            Form::Joined(joined) => joined.decode_rows(rows, out),
        }
        Ok(())
    }

    /// Leaves the rows whose text the filter holds for.
    pub fn filter(&self, filter: &LineFilter, rows: &mut RowSet) -> Result<(), Malformed> {
        let patterns = Patterns::new(filter);
        match &self.form {
            Form::Constant(text) => {
                if !patterns.holds_for(text) {
                    rows.clear();
                }
            }
            Form::Dictionary(dictionary) => dictionary.retain(rows, |text| patterns.holds_for(text)),
            Form::Joined(joined) => joined.filter(&patterns, rows),
        }
        Ok(())
    }

    /// Leaves the rows whose text is `value`.
    pub fn equals(&self, value: &str, rows: &mut RowSet) -> Result<(), Malformed> {
        match &self.form {
            Form::Constant(text) => {
                if *text != value {
                    rows.clear();
                }
            }
            Form::Dictionary(dictionary) => dictionary.retain(rows, |text| text == value),
            Form::Joined(joined) => rows.retain(|row| joined.get(row) == value),
        }
        Ok(())
    }

    /// The different texts of the column, if these are few and known without looking at every row.
    pub fn distinct(&self) -> Option<Vec<&str>> {
        match &self.form {
            Form::Constant(text) => Some(vec![text]),
            Form::Dictionary(dictionary) => Some(dictionary.texts().collect()),
            Form::Joined(_) => None,
        }
    }
}

const NOT_UTF8: Malformed = Malformed("a text is not UTF-8");
const TOO_LONG: Malformed = Malformed("the texts of a column are longer than allowed");

/// Takes bytes that a varint counts off the front.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = take_count(bytes, bytes.len())?;
    super::take(bytes, len)
}

/// Appends bytes and their count before them.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
