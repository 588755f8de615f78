//! Columns of texts: log lines, metadata values, span names, string attributes.
//!
//! `storage-format.md` §1 "texts". A column is stored in the form that is smallest: one text for all rows, few texts
//! and numbers that pick them, or all texts one after the other, compressed. Conditions are tried on the stored
//! form, so that a text that is not wanted is not put together. Bytes of a column may be anything: they give
//! an error or some texts, but no panic, and no more text than the caller allows.

mod anchor;
mod buffer;
mod dictionary;
mod digits;
mod grams;
mod joined;
mod pattern;
mod places;
mod plain;
mod search;
mod slots;
mod span;
mod split;
mod template_writer;
mod templates;

pub use super::Effort;
pub use buffer::TextBuffer;
pub use grams::{GramFilter, Grams};

use super::rows::RowSet;
use super::varint::write_u64;
use super::{Malformed, take_count};
use crate::model::{LineFilter, Lookout};
use pattern::Patterns;
use plain::Plain;
use template_writer::Fit;
use templates::Templates;

/// The form of a column with templates; others are [`plain`]'s.
const TEMPLATES: u8 = 5;

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
    encode_noting(texts, effort, None, out);
}

/// As [`encode`], and tells the grams of the texts.
pub fn encode_with_grams(texts: &TextBuffer, effort: Effort, out: &mut Vec<u8>) -> Grams {
    let mut grams = Grams::new();
    encode_noting(texts, effort, Some(&mut grams), out);
    grams
}

fn encode_noting(texts: &TextBuffer, effort: Effort, mut grams: Option<&mut Grams>, out: &mut Vec<u8>) {
    let texts: Vec<&str> = texts.iter().collect();
    if plain::encode_simple(&texts, effort, out) {
        if let Some(grams) = grams {
            grams.add_all(&texts);
        }
        return;
    }
    let start = out.len();
    out.push(TEMPLATES);
    let fit = template_writer::encode(&texts, effort, grams.as_deref_mut(), out);
    if let Some(grams) = grams.filter(|_| fit == Fit::None) {
        grams.add_all(&texts);
    }
    if fit != Fit::Good {
        let mut other = Vec::new();
        plain::encode(&texts, effort, &mut other);
        if fit == Fit::None || other.len() < out.len() - start {
            out.truncate(start);
            out.append(&mut other);
        }
    }
}

/// A column opened for reading: what it takes to find rows is unpacked, the texts are not put together.
pub struct TextColumn<'a> {
    count: usize,
    form: Form<'a>,
}

enum Form<'a> {
    Plain(Plain),
    Templates(Box<Templates<'a>>),
}

impl<'a> TextColumn<'a> {
    /// Opens a column of `count` texts that have at most `decoded_bytes_max` bytes together.
    pub fn open(
        bytes: &'a [u8],
        count: usize,
        decoded_bytes_max: usize,
    ) -> Result<TextColumn<'a>, Malformed> {
        let form = match bytes.split_first() {
            Some((&TEMPLATES, rest)) => {
                Form::Templates(Box::new(Templates::open(rest, count, decoded_bytes_max)?))
            }
            _ => Form::Plain(Plain::open(bytes, count, decoded_bytes_max)?),
        };
        Ok(TextColumn { count, form })
    }

    /// Appends the texts of all rows.
    pub fn decode(&self, out: &mut TextBuffer) -> Result<(), Malformed> {
        self.decode_rows(&RowSet::all(self.count), out)
    }

    /// Appends a text for every row: its own for those in `rows`, else an empty one.
    pub fn decode_rows(&self, rows: &RowSet, out: &mut TextBuffer) -> Result<(), Malformed> {
        match &self.form {
            Form::Plain(plain) => {
                plain.decode_rows(rows, out);
                Ok(())
            }
            Form::Templates(templates) => templates.decode_rows(rows, out),
        }
    }

    /// Leaves the rows whose text the filter holds for. What is left means nothing once the lookout has given up.
    pub fn filter(
        &self,
        filter: &LineFilter,
        lookout: &Lookout<'_>,
        rows: &mut RowSet,
    ) -> Result<(), Malformed> {
        let patterns = Patterns::new(filter, lookout);
        match &self.form {
            Form::Plain(plain) => {
                plain.filter(&patterns, rows);
                Ok(())
            }
            Form::Templates(templates) => templates.filter(&patterns, rows),
        }
    }

    /// Leaves the rows whose text is `value`.
    pub fn equals(&self, value: &str, rows: &mut RowSet) -> Result<(), Malformed> {
        match &self.form {
            Form::Plain(plain) => {
                plain.retain(rows, |text| text == value);
                Ok(())
            }
            Form::Templates(templates) => templates.equals(value, rows),
        }
    }

    /// The different texts of the column, if these are few and known without looking at every row.
    pub fn distinct(&self) -> Option<Vec<&str>> {
        match &self.form {
            Form::Plain(plain) => plain.distinct(),
            Form::Templates(_) => None,
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
