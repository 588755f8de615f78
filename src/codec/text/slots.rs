//! The slots of templates: the text around each, and the column that its variables come from.

use std::cell::OnceCell;

use super::joined::Joined;
use super::plain::{Alphabet, Plain};
use super::span::Span;
use super::split::SLOT;
use super::take_bytes;
use crate::codec::{Malformed, numbers, take_count};

/// Invariant: `columns_of_slots` are numbers of columns.
pub struct Slots<'a> {
    /// The text between slots: of each template one more than it has slots.
    pieces: Vec<Span>,
    /// The column of each slot, of one template after the other.
    columns_of_slots: Vec<u32>,
    /// Where the slots of each template begin, and where the last ones end.
    firsts: Vec<u32>,
    packed_rows: &'a [u8],
    columns: Vec<Column<'a>>,
}

pub struct Column<'a> {
    pub bytes: &'a [u8],
    /// Whether its values are letters and digits.
    is_words: bool,
    /// The most bytes that one of its values has.
    len_max: usize,
    pub plain: OnceCell<Box<Plain>>,
}

impl<'a> Slots<'a> {
    /// `bytes`: what lies behind the templates' texts.
    pub fn open(
        mut bytes: &'a [u8],
        texts: &Joined,
        column_count: usize,
        has_wholes: bool,
        max: usize,
    ) -> Result<Slots<'a>, Malformed> {
        let (mut pieces, mut firsts) = (Vec::new(), vec![0]);
        let mut slots = memchr::memchr_iter(SLOT, texts.bytes()).peekable();
        for (template, span) in texts.spans().iter().enumerate() {
            let range = span.range();
            let mut start = range.start;
            while let Some(slot) = slots.next_if(|&slot| slot < range.end) {
                pieces.push(Span::new(start, slot)?);
                start = slot + 1;
            }
            pieces.push(Span::new(start, range.end)?);
            firsts.push((pieces.len() - template - 1) as u32);
        }
        let slot_count = pieces.len() - texts.count();
        let mut columns_of_slots = Vec::new();
        numbers::decode(take_bytes(&mut bytes)?, slot_count, column_count, &mut columns_of_slots)?;
        let packed_rows = take_bytes(&mut bytes)?;
        let mut columns = Vec::with_capacity(column_count);
        for at in 0..column_count {
            let is_words = !(has_wholes && at + 1 == column_count);
            let (len_max, bytes) = (take_count(&mut bytes, max)?, take_bytes(&mut bytes)?);
            columns.push(Column { bytes, is_words, len_max, plain: OnceCell::new() });
        }
        Ok(Slots { pieces, columns_of_slots, firsts, packed_rows, columns })
    }

    /// The template of each row, packed.
    pub fn packed_rows(&self) -> &'a [u8] {
        self.packed_rows
    }

    /// The column of each of a template's slots.
    pub fn columns_of(&self, template: usize) -> &[u32] {
        &self.columns_of_slots[self.firsts[template] as usize..self.firsts[template + 1] as usize]
    }

    /// Where a template's text lies without its slots: before each, and behind the last one.
    pub fn pieces_of(&self, template: usize) -> &[Span] {
        &self.pieces
            [self.firsts[template] as usize + template..=self.firsts[template + 1] as usize + template]
    }

    pub fn columns(&self) -> &[Column<'a>] {
        &self.columns
    }

    pub fn column(&self, column: u32) -> &Column<'a> {
        &self.columns[column as usize]
    }
}

impl Column<'_> {
    /// How many bytes of `text`, from its start, a value may hold.
    pub fn may_hold(&self, text: &[u8]) -> usize {
        let alphabet = Alphabet::of(self.bytes);
        let may_hold = |byte: &u8| (!self.is_words || byte.is_ascii_alphanumeric()) && alphabet.has(*byte);
        text.iter().take(self.len_max).take_while(|byte| may_hold(byte)).count()
    }
}
