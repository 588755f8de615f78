//! The slots of templates: the column that the variables of each come from, and the text around it.

use std::cell::OnceCell;

use super::joined::Joined;
use super::places;
use super::plain::{Alphabet, Plain};
use super::span::Span;
use super::split::SLOT;
use super::take_bytes;
use crate::codec::{Malformed, numbers, take_count};

/// The columns of variables. Invariant: `of_slots` are numbers of columns.
pub struct Columns<'a> {
    all: Vec<Column<'a>>,
    /// The column of each slot, of one template after the other.
    of_slots: Vec<u32>,
    packed_rows: &'a [u8],
}

pub struct Column<'a> {
    pub bytes: &'a [u8],
    /// Whether its values are letters and digits.
    is_words: bool,
    /// The most bytes that one of its values has.
    len_max: usize,
    pub plain: OnceCell<Box<Plain>>,
}

impl<'a> Columns<'a> {
    /// `bytes`: what lies behind the templates' texts.
    pub fn open(
        mut bytes: &'a [u8],
        texts: &Joined,
        column_count: usize,
        has_wholes: bool,
        max: usize,
    ) -> Result<Columns<'a>, Malformed> {
        let slot_count = memchr::memchr_iter(SLOT, texts.bytes()).count();
        let mut of_slots = Vec::new();
        numbers::decode(take_bytes(&mut bytes)?, slot_count, column_count, &mut of_slots)?;
        let packed_rows = take_bytes(&mut bytes)?;
        let mut all = Vec::with_capacity(column_count);
        for at in 0..column_count {
            let is_words = !(has_wholes && at + 1 == column_count);
            let (len_max, bytes) = (take_count(&mut bytes, max)?, take_bytes(&mut bytes)?);
            all.push(Column { bytes, is_words, len_max, plain: OnceCell::new() });
        }
        Ok(Columns { all, of_slots, packed_rows })
    }

    pub fn all(&self) -> &[Column<'a>] {
        &self.all
    }

    pub fn get(&self, column: u32) -> &Column<'a> {
        &self.all[column as usize]
    }

    /// The column of the slot with this number, counted through all templates.
    pub fn of_slot(&self, slot: usize) -> u32 {
        self.of_slots[slot]
    }

    /// The template of each row, packed.
    pub fn packed_rows(&self) -> &'a [u8] {
        self.packed_rows
    }
}

/// Where the slots of each template lie.
pub struct Slots {
    /// The text between slots: of each template one more than it has slots.
    pieces: Vec<Span>,
    /// Where the slots of each template begin, and where the last ones end.
    firsts: Vec<u32>,
    /// As in [`Columns`].
    columns: Vec<u32>,
}

impl Slots {
    pub fn find(texts: &Joined, columns: &Columns) -> Result<Slots, Malformed> {
        let columns = columns.of_slots.clone();
        let mut pieces = Vec::with_capacity(columns.len() + texts.count());
        let mut firsts = Vec::with_capacity(texts.count() + 1);
        firsts.push(0);
        let mut places = Vec::with_capacity(columns.len());
        places::for_each(texts.bytes(), SLOT, |slot| places.push(slot));
        let mut places = places.into_iter().peekable();
        for (template, span) in texts.spans().iter().enumerate() {
            let range = span.range();
            let mut start = range.start;
            while let Some(slot) = places.next_if(|&slot| slot < range.end) {
                pieces.push(Span::new(start, slot)?);
                start = slot + 1;
            }
            pieces.push(Span::new(start, range.end)?);
            firsts.push((pieces.len() - template - 1) as u32);
        }
        Ok(Slots { pieces, firsts, columns })
    }

    /// The column of each of a template's slots.
    pub fn columns_of(&self, template: usize) -> &[u32] {
        &self.columns[self.firsts[template] as usize..self.firsts[template + 1] as usize]
    }

    /// Where a template's text lies without its slots: before each, and behind the last one.
    pub fn pieces_of(&self, template: usize) -> &[Span] {
        &self.pieces
            [self.firsts[template] as usize + template..=self.firsts[template + 1] as usize + template]
    }
}

impl Column<'_> {
    /// How many bytes, from the first on, a value may hold one after the other.
    pub fn may_hold<'t>(&self, bytes: impl IntoIterator<Item = &'t u8>) -> usize {
        let alphabet = Alphabet::of(self.bytes);
        let may_hold = |byte: &u8| (!self.is_words || byte.is_ascii_alphanumeric()) && alphabet.has(*byte);
        bytes.into_iter().take(self.len_max).take_while(|byte| may_hold(byte)).count()
    }
}
