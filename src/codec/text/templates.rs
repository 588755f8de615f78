//! A column as templates, the template of each row, and columns of variables.

use std::borrow::Cow;
use std::cell::OnceCell;

use memchr::memmem::Finder;

use super::joined::Joined;
use super::pattern::{Pattern, Patterns};
use super::plain::{self, Alphabet, Plain};
use super::search::Search;
use super::span::{Span, append};
use super::split::SLOT;
use super::{NOT_UTF8, TOO_LONG, TextBuffer, take_bytes};
use crate::codec::rows::RowSet;
use crate::codec::{Malformed, numbers, take_count, take_u8};

/// Invariant: `rows` are numbers of templates, `slots` of columns, and each column has as many values as the rows take.
pub struct Templates<'a> {
    /// The texts of all templates, slots included.
    texts: Joined,
    /// The text between slots: of each template one more than it has slots.
    pieces: Vec<Span>,
    /// The column of each slot, of one template after the other.
    slots: Vec<u32>,
    /// Where the slots of each template begin, and where the last ones end.
    first_slots: Vec<u32>,
    rows: Vec<u32>,
    columns: Vec<Column<'a>>,
    /// What the templates alone add to the texts of all rows.
    static_len: usize,
    decoded_bytes_max: usize,
}

pub struct Column<'a> {
    bytes: &'a [u8],
    count: usize,
    /// Whether its values are letters and digits.
    is_words: bool,
    /// The most bytes that one of its values has.
    len_max: usize,
    plain: OnceCell<Box<Plain>>,
}

impl<'a> Templates<'a> {
    pub fn open(mut bytes: &'a [u8], count: usize, max: usize) -> Result<Templates<'a>, Malformed> {
        let template_count = take_count(&mut bytes, count)?;
        let texts = Joined::open(take_bytes(&mut bytes)?, template_count, max)?;
        let column_count_max = bytes.len();
        let column_count = take_count(&mut bytes, column_count_max)?;
        let has_wholes = take_u8(&mut bytes)? != 0;
        let (mut pieces, mut first_slots) = (Vec::new(), vec![0]);
        for template in 0..template_count {
            let range = texts.spans()[template].range();
            let mut start = range.start;
            for slot in memchr::memchr_iter(SLOT, texts.get(template).as_bytes()) {
                pieces.push(Span::new(start, range.start + slot)?);
                start = range.start + slot + 1;
            }
            pieces.push(Span::new(start, range.end)?);
            first_slots.push((pieces.len() - template - 1) as u32);
        }
        let slot_count = pieces.len() - template_count;
        let mut slots = Vec::new();
        numbers::decode(take_bytes(&mut bytes)?, slot_count, column_count, &mut slots)?;
        let mut rows = Vec::new();
        numbers::decode(take_bytes(&mut bytes)?, count, template_count, &mut rows)?;

        let mut row_counts = vec![0usize; template_count];
        rows.iter().for_each(|&template| row_counts[template as usize] += 1);
        let (mut value_counts, mut static_len) = (vec![0usize; column_count], 0usize);
        for (template, &row_count) in row_counts.iter().enumerate() {
            let slots = &slots[first_slots[template] as usize..first_slots[template + 1] as usize];
            let len = texts.get(template).len() - slots.len();
            static_len = static_len.saturating_add(len.saturating_mul(row_count));
            for &column in slots {
                let value_count = &mut value_counts[column as usize];
                *value_count = value_count.saturating_add(row_count);
            }
        }
        // No variable is empty.
        if value_counts.iter().fold(0usize, |sum, &count| sum.saturating_add(count)) > max {
            return Err(TOO_LONG);
        }
        let mut columns = Vec::with_capacity(column_count);
        for (at, &count) in value_counts.iter().enumerate() {
            let is_words = !(has_wholes && at + 1 == column_count);
            let (len_max, bytes) = (take_count(&mut bytes, max)?, take_bytes(&mut bytes)?);
            columns.push(Column { bytes, count, is_words, len_max, plain: OnceCell::new() });
        }
        Ok(Templates { static_len, texts, pieces, slots, first_slots, rows, columns, decoded_bytes_max: max })
    }

    pub fn template_count(&self) -> usize {
        self.first_slots.len() - 1
    }

    /// The template of each row.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The texts of all templates.
    pub fn texts(&self) -> &Joined {
        &self.texts
    }

    /// The columns of a template's slots.
    pub fn slots(&self, template: usize) -> &[u32] {
        &self.slots[self.first_slots[template] as usize..self.first_slots[template + 1] as usize]
    }

    /// The text before a template's slot of this number, or after its last one.
    pub fn piece(&self, template: usize, slot: usize) -> &[u8] {
        let piece = self.pieces[self.first_slots[template] as usize + template + slot];
        &self.texts.padded()[piece.range()]
    }

    pub fn column(&self, column: u32) -> &Column<'a> {
        &self.columns[column as usize]
    }

    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Appends a text for every row: its own for those in `rows`, else an empty one.
    pub fn decode_rows(&self, rows: &RowSet, out: &mut TextBuffer) -> Result<(), Malformed> {
        let is_first = out.bytes.is_empty();
        let mut text = if is_first { std::mem::take(&mut out.bytes).into_bytes() } else { Vec::new() };
        let start = out.bytes.len();
        let assembled = self.assemble(rows, &mut text, |end| out.ends.push(start + end));
        let text = assembled.and_then(|()| String::from_utf8(text).map_err(|_| NOT_UTF8));
        let text = text.inspect_err(|_| out.clear())?;
        if is_first {
            out.bytes = text;
        } else {
            out.bytes.push_str(&text);
        }
        Ok(())
    }

    /// Appends the texts of `rows`, and tells for every row where it ends.
    fn assemble(
        &self,
        rows: &RowSet,
        out: &mut Vec<u8>,
        mut ends: impl FnMut(usize),
    ) -> Result<(), Malformed> {
        let statics = self.texts.padded();
        let plains = self.needed_columns(rows)?;
        let spans: Vec<Cow<[Span]>> =
            plains.iter().map(|plain| plain.map(Plain::spans).unwrap_or_default()).collect();
        let mut views: Vec<View> =
            plains.iter().zip(&spans).map(|(plain, spans)| View::new(*plain, spans)).collect();
        self.check_len(&spans)?;
        for (row, &template) in self.rows.iter().enumerate() {
            let template = template as usize;
            let slots = self.slots(template);
            if !rows.contains(row) {
                slots.iter().for_each(|&column| views[column as usize].next += 1);
                ends(out.len());
                continue;
            }
            let first = self.first_slots[template] as usize + template;
            let pieces = &self.pieces[first..first + slots.len() + 1];
            append(out, statics, pieces[0]);
            for (&column, &piece) in slots.iter().zip(&pieces[1..]) {
                let view = &mut views[column as usize];
                append(out, view.bytes, view.spans[view.next]);
                view.next += 1;
                append(out, statics, piece);
            }
            ends(out.len());
        }
        Ok(())
    }

    /// Refuses if the texts of all rows would be longer than allowed, as far as these columns hold them.
    fn check_len(&self, spans: &[Cow<[Span]>]) -> Result<(), Malformed> {
        let variables = spans.iter().flat_map(|spans| spans.iter()).map(|span| span.len());
        let total = variables.fold(self.static_len, usize::saturating_add);
        if total > self.decoded_bytes_max { Err(TOO_LONG) } else { Ok(()) }
    }

    /// The columns that the rows have variables in, unpacked.
    fn needed_columns(&self, rows: &RowSet) -> Result<Vec<Option<&Plain>>, Malformed> {
        let mut is_needed = vec![false; self.template_count()];
        rows.iter().for_each(|row| is_needed[self.rows[row] as usize] = true);
        let mut plains = vec![None; self.columns.len()];
        for template in (0..is_needed.len()).filter(|&template| is_needed[template]) {
            for &column in self.slots(template) {
                plains[column as usize] = Some(self.columns[column as usize].plain(self.decoded_bytes_max)?);
            }
        }
        Ok(plains)
    }

    /// Leaves the rows that the patterns hold for.
    pub fn filter(&self, patterns: &Patterns, rows: &mut RowSet) -> Result<(), Malformed> {
        let mut found = RowSet::none(self.rows.len());
        for pattern in &patterns.alternatives {
            let mut candidates = rows.clone();
            candidates.retain(|row| !found.contains(row));
            let unsure =
                Search::new(self, pattern.required(), self.decoded_bytes_max).run(&mut candidates)?;
            let unsure = match pattern {
                Pattern::Literal(_) => unsure,
                Pattern::Regex { .. } => candidates.clone(),
            };
            if !unsure.is_empty() {
                let mut texts = TextBuffer::default();
                self.decode_rows(&unsure, &mut texts)?;
                candidates.retain(|row| !unsure.contains(row) || pattern.is_in(texts.get(row)));
            }
            candidates.iter().for_each(|row| found.insert(row));
        }
        rows.retain(|row| found.contains(row) != patterns.is_negated);
        Ok(())
    }

    /// Leaves the rows whose text is `value`.
    pub fn equals(&self, value: &str, rows: &mut RowSet) -> Result<(), Malformed> {
        let needle = Finder::new(value);
        Search::new(self, &needle, self.decoded_bytes_max).run(rows)?;
        if !rows.is_empty() {
            let mut texts = TextBuffer::default();
            self.decode_rows(rows, &mut texts)?;
            rows.retain(|row| texts.get(row) == value);
        }
        Ok(())
    }
}

/// A column while rows are put together.
struct View<'v> {
    bytes: &'v [u8],
    spans: &'v [Span],
    next: usize,
}

impl<'v> View<'v> {
    fn new(plain: Option<&'v Plain>, spans: &'v [Span]) -> View<'v> {
        View { bytes: plain.map(|plain| plain.texts().padded()).unwrap_or_default(), spans, next: 0 }
    }
}

impl Column<'_> {
    /// How many bytes of `text`, from its start, a value may hold.
    pub fn may_hold(&self, text: &[u8]) -> usize {
        let alphabet = Alphabet::of(self.bytes);
        let may_hold = |byte: &u8| (!self.is_words || byte.is_ascii_alphanumeric()) && alphabet.has(*byte);
        text.iter().take(self.len_max).take_while(|byte| may_hold(byte)).count()
    }

    /// Whether a value may hold what `finder` looks for, as far as that shows without unpacking all of them.
    pub fn may_find(&self, finder: &Finder, max: usize) -> Result<bool, Malformed> {
        if self.plain.get().is_some() {
            Ok(true)
        } else {
            plain::may_hold(self.bytes, self.count, finder, max)
        }
    }

    pub fn plain(&self, max: usize) -> Result<&Plain, Malformed> {
        if self.plain.get().is_none() {
            let _ = self.plain.set(Box::new(Plain::open(self.bytes, self.count, max)?));
        }
        Ok(self.plain.get().expect("just set"))
    }
}
