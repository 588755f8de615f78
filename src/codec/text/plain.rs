//! A column without templates: one text for all rows, few texts, numbers, hexadecimal digits, or just texts.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::dictionary::{self, Dictionary};
use super::digits;
use super::joined::{self, Joined};
use super::pattern::Patterns;
use super::span::Span;
use super::{Effort, TOO_LONG, TextBuffer};
use crate::codec::rows::RowSet;
use crate::codec::{Malformed, take_u8};

const CONSTANT: u8 = 0;
const DICTIONARY: u8 = 1;
const JOINED: u8 = 2;
const DECIMAL: u8 = 3;
const HEXADECIMAL: u8 = 4;

/// Appends the texts if a form for few texts or for numbers fits them well; otherwise nothing.
pub fn encode_simple(texts: &[&str], effort: Effort, out: &mut Vec<u8>) -> bool {
    // So few that what tells them apart hardly counts.
    const TIMES_MIN: usize = 16;
    if encode_constant(texts, out) || encode_numbers(texts, effort, out) {
        return true;
    }
    let start = out.len();
    out.push(DICTIONARY);
    if dictionary::encode(texts, effort, dictionary::Limits::of_texts(texts.len() / TIMES_MIN), out) {
        return true;
    }
    out.truncate(start);
    false
}

/// Appends the texts in the smallest form.
pub fn encode(texts: &[&str], effort: Effort, out: &mut Vec<u8>) {
    if encode_constant(texts, out) || encode_numbers(texts, effort, out) {
        return;
    }
    let start = out.len();
    out.push(JOINED);
    joined::encode(texts, effort, out);
    replace_with_dictionary(texts, effort, dictionary::Limits::of_texts(16 + texts.len() / 2), start, out);
}

/// Replaces what there is from `start` on, if a dictionary is smaller.
fn replace_with_dictionary(
    texts: &[&str],
    effort: Effort,
    limits: dictionary::Limits,
    start: usize,
    out: &mut Vec<u8>,
) {
    let mut other = vec![DICTIONARY];
    if dictionary::encode(texts, effort, limits, &mut other) && other.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut other);
    }
}

fn encode_constant(texts: &[&str], out: &mut Vec<u8>) -> bool {
    let first = texts.first().copied().unwrap_or_default();
    if !texts.iter().all(|&text| text == first) {
        return false;
    }
    out.push(CONSTANT);
    out.extend_from_slice(first.as_bytes());
    true
}

/// Appends the texts as numbers, if they are.
fn encode_numbers(texts: &[&str], effort: Effort, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(DECIMAL);
    if !digits::encode_decimal(texts, out) {
        out[start] = HEXADECIMAL;
        if !digits::encode_hexadecimal(texts, effort, out) {
            out.truncate(start);
            return false;
        }
    }
    let bits = (out.len() - start) * 8 / texts.len();
    replace_with_dictionary(texts, effort, dictionary::Limits::of_numbers(texts.len(), bits), start, out);
    true
}

/// What the texts of a column are made of, known before they are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    Decimal,
    Hexadecimal,
    Any,
}

impl Alphabet {
    /// Of the column stored as `bytes`.
    pub fn of(bytes: &[u8]) -> Alphabet {
        // A prefix, whose length comes first, may be of anything.
        match bytes {
            [DECIMAL, 0, ..] => Alphabet::Decimal,
            [HEXADECIMAL, 0, ..] => Alphabet::Hexadecimal,
            _ => Alphabet::Any,
        }
    }

    pub fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Decimal => byte.is_ascii_digit(),
            Alphabet::Hexadecimal => byte.is_ascii_hexdigit(),
            Alphabet::Any => true,
        }
    }
}

/// Whether a text of the column may hold what `finder` looks for, as far as that shows before it is known where each
/// text lies.
pub fn may_hold(mut bytes: &[u8], finder: &Finder, max: usize) -> Result<bool, Malformed> {
    Ok(match take_u8(&mut bytes)? {
        CONSTANT => finder.find(bytes).is_some(),
        DICTIONARY => finder.find(&dictionary::joined_texts(bytes, max)?).is_some(),
        JOINED => finder.find(&joined::unpack(bytes, max)?).is_some(),
        _ => true,
    })
}

/// Texts of a column, ready to be copied.
#[derive(Default)]
pub struct Values<'v> {
    /// As [`Joined::padded`].
    pub bytes: Cow<'v, [u8]>,
    /// Where each text lies in them.
    pub spans: Cow<'v, [Span]>,
}

impl Values<'static> {
    /// Of a column as [`Plain::open`] takes it, only the texts of the rows in `wanted`, which increase. Most columns
    /// are numbers: those of other rows are not made texts.
    pub fn open(bytes: &[u8], count: usize, wanted: &[u32], max: usize) -> Result<Self, Malformed> {
        let (bytes, spans) = match bytes.split_first() {
            Some((&DECIMAL, bytes)) => digits::open_decimal(bytes, count, Some(wanted), max)?.into_parts(),
            Some((&HEXADECIMAL, bytes)) => {
                digits::open_hexadecimal(bytes, count, Some(wanted), max)?.into_parts()
            }
            _ => {
                let plain = Plain::open(bytes, count, max)?;
                let spans = wanted.iter().map(|&row| plain.span(row as usize)).collect();
                (plain.into_texts().into_parts().0, spans)
            }
        };
        Ok(Values { bytes: Cow::Owned(bytes), spans: Cow::Owned(spans) })
    }
}

/// An unpacked column.
pub enum Plain {
    Constant { text: Joined, count: usize },
    Dictionary(Dictionary),
    Joined(Joined),
}

impl Plain {
    /// Opens a column of `count` texts that have at most `max` bytes together.
    pub fn open(mut bytes: &[u8], count: usize, max: usize) -> Result<Plain, Malformed> {
        Ok(match take_u8(&mut bytes)? {
            CONSTANT => {
                if bytes.len().saturating_mul(count) > max {
                    return Err(TOO_LONG);
                }
                Plain::Constant { text: Joined::new(bytes.to_vec(), [bytes.len()].into_iter(), 0)?, count }
            }
            DICTIONARY => Plain::Dictionary(Dictionary::open(bytes, count, max)?),
            JOINED => Plain::Joined(Joined::open(bytes, count, max)?),
            DECIMAL => Plain::Joined(digits::open_decimal(bytes, count, None, max)?),
            HEXADECIMAL => Plain::Joined(digits::open_hexadecimal(bytes, count, None, max)?),
            _ => return Err(Malformed("unknown form of a text column")),
        })
    }

    pub fn count(&self) -> usize {
        match self {
            Plain::Constant { count, .. } => *count,
            Plain::Dictionary(dictionary) => dictionary.picks().len(),
            Plain::Joined(joined) => joined.count(),
        }
    }

    pub fn get(&self, row: usize) -> &str {
        match self {
            Plain::Constant { text, .. } => text.get(0),
            Plain::Dictionary(dictionary) => dictionary.get(row),
            Plain::Joined(joined) => joined.get(row),
        }
    }

    /// Where every text of the column lies, and of what it is a part.
    pub fn values(&self) -> Values<'_> {
        let (texts, spans) = match self {
            Plain::Constant { text, count } => (text, Cow::Owned(vec![text.spans()[0]; *count])),
            Plain::Dictionary(dictionary) => {
                let texts = dictionary.texts();
                let picks = dictionary.picks().iter();
                (texts, picks.map(|&pick| texts.spans()[pick as usize]).collect())
            }
            Plain::Joined(joined) => (joined, Cow::Borrowed(joined.spans())),
        };
        Values { bytes: Cow::Borrowed(texts.padded()), spans }
    }

    /// The different texts of the column, and perhaps some more than once.
    pub fn texts(&self) -> &Joined {
        match self {
            Plain::Constant { text: texts, .. } | Plain::Joined(texts) => texts,
            Plain::Dictionary(dictionary) => dictionary.texts(),
        }
    }

    /// The same of the rows in `wanted`.
    pub fn values_of(&self, wanted: &[u32]) -> Values<'_> {
        let spans = wanted.iter().map(|&row| self.span(row as usize)).collect();
        Values { bytes: Cow::Borrowed(self.texts().padded()), spans }
    }

    fn span(&self, row: usize) -> Span {
        match self {
            Plain::Constant { text, .. } => text.spans()[0],
            Plain::Dictionary(dictionary) => dictionary.texts().spans()[dictionary.picks()[row] as usize],
            Plain::Joined(joined) => joined.spans()[row],
        }
    }

    fn into_texts(self) -> Joined {
        match self {
            Plain::Constant { text: texts, .. } | Plain::Joined(texts) => texts,
            Plain::Dictionary(dictionary) => dictionary.into_texts(),
        }
    }

    pub fn decode_rows(&self, rows: &RowSet, out: &mut TextBuffer) {
        (0..self.count()).for_each(|row| out.push(if rows.contains(row) { self.get(row) } else { "" }));
    }

    pub fn filter(&self, patterns: &Patterns, rows: &mut RowSet) {
        match self {
            Plain::Joined(joined) => joined.filter(patterns, rows),
            _ => self.retain(rows, |text| patterns.holds_for(text)),
        }
    }

    /// Leaves the rows whose text `holds`; each of few texts is asked about once.
    pub fn retain(&self, rows: &mut RowSet, holds: impl Fn(&str) -> bool) {
        match self {
            Plain::Constant { text, .. } => {
                if !holds(text.get(0)) {
                    rows.clear();
                }
            }
            Plain::Dictionary(dictionary) => dictionary.retain(rows, holds),
            Plain::Joined(joined) => rows.retain(|row| holds(joined.get(row))),
        }
    }

    pub fn distinct(&self) -> Option<Vec<&str>> {
        match self {
            Plain::Constant { text, .. } => Some(vec![text.get(0)]),
            Plain::Dictionary(dictionary) => {
                let texts = dictionary.texts();
                Some((0..texts.count()).map(|text| texts.get(text)).collect())
            }
            Plain::Joined(_) => None,
        }
    }
}
