//! A column as templates, the template of each row, and columns of variables.
//!
//! What lies behind the templates' own texts is unpacked when it is needed first: most searches end before.

use std::cell::OnceCell;

use memchr::memmem::Finder;

use super::joined::Joined;
use super::pattern::{Pattern, Patterns};
use super::plain::{self, Plain, Values};
use super::search::Search;
use super::slots::{Columns, Slots};
use super::span::{PADDING, Span, append};
use super::{NOT_UTF8, TOO_LONG, TextBuffer, take_bytes};
use crate::codec::rows::RowSet;
use crate::codec::{Malformed, numbers, take_count, take_u8};

pub struct Templates<'a> {
    /// The texts of all templates, slots included.
    texts: Joined,
    column_count: usize,
    has_wholes: bool,
    /// The column of each slot, the template of each row, and the columns.
    packed: &'a [u8],
    columns: OnceCell<Columns<'a>>,
    slots: OnceCell<Slots>,
    rows: OnceCell<Rows>,
    count: usize,
    decoded_bytes_max: usize,
}

/// Invariant: `templates` are numbers of templates.
struct Rows {
    /// The template of each row.
    templates: Vec<u32>,
    /// Of each column, how many values the rows take.
    value_counts: Vec<usize>,
    /// What the templates alone add to the texts of all rows.
    static_len: usize,
}

impl<'a> Templates<'a> {
    pub fn open(mut bytes: &'a [u8], count: usize, max: usize) -> Result<Templates<'a>, Malformed> {
        let template_count = take_count(&mut bytes, count)?;
        let texts = Joined::open(take_bytes(&mut bytes)?, template_count, max)?;
        let column_count_max = bytes.len();
        let column_count = take_count(&mut bytes, column_count_max)?;
        let has_wholes = take_u8(&mut bytes)? != 0;
        let (columns, slots, rows) = Default::default();
        Ok(Templates {
            texts,
            column_count,
            has_wholes,
            packed: bytes,
            columns,
            slots,
            rows,
            count,
            decoded_bytes_max: max,
        })
    }

    pub fn columns(&self) -> Result<&Columns<'a>, Malformed> {
        if self.columns.get().is_none() {
            let columns = Columns::open(
                self.packed,
                &self.texts,
                self.column_count,
                self.has_wholes,
                self.decoded_bytes_max,
            )?;
            let _ = self.columns.set(columns);
        }
        Ok(self.columns.get().expect("just set"))
    }

    pub fn slots(&self) -> Result<&Slots, Malformed> {
        if self.slots.get().is_none() {
            let _ = self.slots.set(Slots::find(&self.texts, self.columns()?)?);
        }
        Ok(self.slots.get().expect("just set"))
    }

    fn rows(&self) -> Result<&Rows, Malformed> {
        if self.rows.get().is_none() {
            let _ = self.rows.set(self.open_rows()?);
        }
        Ok(self.rows.get().expect("just set"))
    }

    fn open_rows(&self) -> Result<Rows, Malformed> {
        let slots = self.slots()?;
        let mut templates = Vec::new();
        numbers::decode(self.columns()?.packed_rows(), self.count, self.texts.count(), &mut templates)?;
        let mut row_counts = vec![0usize; self.texts.count()];
        templates.iter().for_each(|&template| row_counts[template as usize] += 1);
        let (mut value_counts, mut static_len) = (vec![0usize; self.column_count], 0usize);
        for (template, &row_count) in row_counts.iter().enumerate() {
            let columns = slots.columns_of(template);
            let len = self.texts.get(template).len() - columns.len();
            static_len = static_len.saturating_add(len.saturating_mul(row_count));
            for &column in columns {
                let value_count = &mut value_counts[column as usize];
                *value_count = value_count.saturating_add(row_count);
            }
        }
        // No variable is empty.
        let len_min = value_counts.iter().fold(static_len, |sum, &count| sum.saturating_add(count));
        if len_min > self.decoded_bytes_max {
            return Err(TOO_LONG);
        }
        Ok(Rows { templates, value_counts, static_len })
    }

    /// The template of each row.
    pub fn of_rows(&self) -> Result<&[u32], Malformed> {
        Ok(&self.rows()?.templates)
    }

    /// The texts of all templates.
    pub fn texts(&self) -> &Joined {
        &self.texts
    }

    pub fn column_count(&self) -> usize {
        self.column_count
    }

    /// Whether there are texts that were not split: the last column has them.
    pub fn has_wholes(&self) -> bool {
        self.has_wholes
    }

    /// The column, unpacked.
    pub fn plain(&self, column: u32) -> Result<&Plain, Malformed> {
        let cell = &self.columns()?.get(column).plain;
        if cell.get().is_none() {
            let (bytes, count) = self.packed(column)?;
            let _ = cell.set(Box::new(Plain::open(bytes, count, self.decoded_bytes_max)?));
        }
        Ok(cell.get().expect("just set"))
    }

    /// Whether a value of the column may hold what `finder` looks for, as far as that shows without unpacking all of
    /// them.
    pub fn may_find(&self, column: u32, finder: &Finder) -> Result<bool, Malformed> {
        let column = self.columns()?.get(column);
        if column.plain.get().is_some() {
            return Ok(true);
        }
        plain::may_hold(column.bytes, finder, self.decoded_bytes_max)
    }

    /// A column as it is stored, and how many values it has.
    fn packed(&self, column: u32) -> Result<(&'a [u8], usize), Malformed> {
        Ok((self.columns()?.get(column).bytes, self.rows()?.value_counts[column as usize]))
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
        // Of more rows, to single out the variables costs as much as to unpack all.
        const SPARSE: usize = 2;
        let (slots, templates) = (self.slots()?, self.of_rows()?);
        let statics = self.texts.padded();
        let is_sparse = rows.count() * SPARSE < self.count;
        let values = if is_sparse { self.values_of(rows)? } else { self.values()? };
        let len = self.checked_len(&values)?;
        if !is_sparse {
            // A copy of a short text goes a little too far.
            out.reserve(len + PADDING);
        }
        let mut views: Vec<View> = values
            .iter()
            .map(|values| View { bytes: &values.bytes, spans: &values.spans, next: 0 })
            .collect();
        for (row, &template) in templates.iter().enumerate() {
            let template = template as usize;
            if !rows.contains(row) {
                if !is_sparse {
                    slots.columns_of(template).iter().for_each(|&column| views[column as usize].next += 1);
                }
                ends(out.len());
                continue;
            }
            let pieces = slots.pieces_of(template);
            append(out, statics, pieces[0]);
            for (&column, &piece) in slots.columns_of(template).iter().zip(&pieces[1..]) {
                let view = &mut views[column as usize];
                append(out, view.bytes, view.spans[view.next]);
                view.next += 1;
                append(out, statics, piece);
            }
            ends(out.len());
        }
        Ok(())
    }

    /// The bytes of all rows' texts, as far as these values tell; refuses if that is more than allowed.
    fn checked_len(&self, values: &[Values]) -> Result<usize, Malformed> {
        let variables = values.iter().flat_map(|values| values.spans.iter()).map(|span| span.len());
        let total = variables.fold(self.rows()?.static_len, usize::saturating_add);
        if total > self.decoded_bytes_max { Err(TOO_LONG) } else { Ok(total) }
    }

    /// Of each column all values.
    fn values(&self) -> Result<Vec<Values<'_>>, Malformed> {
        (0..self.column_count as u32).map(|column| Ok(self.plain(column)?.values())).collect()
    }

    /// Of each column the values that the rows take.
    fn values_of(&self, rows: &RowSet) -> Result<Vec<Values<'_>>, Malformed> {
        let (slots, columns) = (self.slots()?, self.columns()?);
        let mut nexts = vec![0u32; self.column_count];
        let mut wanted: Vec<Vec<u32>> = vec![Vec::new(); self.column_count];
        let last = rows.last().map_or(0, |row| row + 1);
        for (row, &template) in self.of_rows()?[..last].iter().enumerate() {
            let is_wanted = rows.contains(row);
            for &column in slots.columns_of(template as usize) {
                let next = &mut nexts[column as usize];
                if is_wanted {
                    wanted[column as usize].push(*next);
                }
                *next += 1;
            }
        }
        let values = wanted.iter().zip(0..).map(|(wanted, column)| match columns.get(column).plain.get() {
            _ if wanted.is_empty() => Ok(Values::default()),
            Some(plain) => Ok(plain.values_of(wanted)),
            None => {
                let (bytes, count) = self.packed(column)?;
                Values::open(bytes, count, wanted, self.decoded_bytes_max)
            }
        });
        values.collect()
    }

    /// Leaves the rows that the patterns hold for.
    pub fn filter(&self, patterns: &Patterns, rows: &mut RowSet) -> Result<(), Malformed> {
        let mut found = RowSet::none(self.count);
        for pattern in &patterns.alternatives {
            let mut candidates = rows.clone();
            candidates.subtract(&found);
            let unsure = Search::run(self, pattern.required(), &mut candidates)?;
            let unsure = match pattern {
                Pattern::Literal(_) => unsure,
                Pattern::Regex { .. } => candidates.clone(),
            };
            if !unsure.is_empty() {
                let mut texts = TextBuffer::default();
                self.decode_rows(&unsure, &mut texts)?;
                candidates.retain(|row| !unsure.contains(row) || pattern.is_in(texts.get(row)));
            }
            found.unite(&candidates);
        }
        if patterns.is_negated {
            rows.subtract(&found);
        } else {
            rows.intersect(&found);
        }
        Ok(())
    }

    /// Leaves the rows whose text is `value`.
    pub fn equals(&self, value: &str, rows: &mut RowSet) -> Result<(), Malformed> {
        let needle = Finder::new(value);
        Search::run(self, &needle, rows)?;
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
