//! A column with few different texts: each once, and a number for every row.

use std::collections::HashMap;

use super::joined::{self, Joined};
use super::{Effort, TOO_LONG, TextBuffer, put_bytes, take_bytes};
use crate::codec::rows::RowSet;
use crate::codec::varint::write_u64;
use crate::codec::{Malformed, numbers, take_count};

/// The texts in order of first appearance, and the number of each row's; nothing if they are not few.
pub fn encode(texts: &TextBuffer, effort: Effort) -> Option<Vec<u8>> {
    // More would make the numbers as large as the texts, and looking for them slow.
    let distinct_max = texts.len() / 2;
    let mut known: HashMap<&str, u32, foldhash::fast::RandomState> = HashMap::default();
    let mut distinct = TextBuffer::default();
    let mut picks = Vec::with_capacity(texts.len());
    for text in texts.iter() {
        let pick = *known.entry(text).or_insert_with(|| {
            distinct.push(text);
            distinct.len() as u32 - 1
        });
        if distinct.len() > distinct_max {
            return None;
        }
        picks.push(pick);
    }
    let mut out = Vec::new();
    write_u64(&mut out, distinct.len() as u64);
    let mut bytes = Vec::new();
    joined::encode(&distinct, effort, &mut bytes);
    put_bytes(&mut out, &bytes);
    numbers::encode(&picks, distinct.len(), effort.zstd_level(), &mut out);
    Some(out)
}

/// Invariant: each pick is the number of a text.
pub struct Dictionary {
    texts: Joined,
    text_count: usize,
    picks: Vec<u32>,
}

impl Dictionary {
    pub fn open(mut bytes: &[u8], count: usize, max: usize) -> Result<Dictionary, Malformed> {
        let text_count = take_count(&mut bytes, count)?;
        let texts = Joined::open(take_bytes(&mut bytes)?, text_count, max)?;
        let mut picks = Vec::new();
        numbers::decode(bytes, count, text_count, &mut picks)?;
        let lens: Vec<usize> = (0..text_count).map(|text| texts.get(text).len()).collect();
        let mut total = 0usize;
        picks.iter().for_each(|&pick| total = total.saturating_add(lens[pick as usize]));
        if total > max {
            return Err(TOO_LONG);
        }
        Ok(Dictionary { texts, text_count, picks })
    }

    pub fn texts(&self) -> impl Iterator<Item = &str> {
        (0..self.text_count).map(|text| self.texts.get(text))
    }

    pub fn decode_rows(&self, rows: &RowSet, out: &mut TextBuffer) {
        for (row, &pick) in self.picks.iter().enumerate() {
            out.push(if rows.contains(row) { self.texts.get(pick as usize) } else { "" });
        }
    }

    /// Leaves the rows whose text `holds`; each text is asked about once.
    pub fn retain(&self, rows: &mut RowSet, holds: impl Fn(&str) -> bool) {
        let holds: Vec<bool> = self.texts().map(holds).collect();
        rows.retain(|row| holds[self.picks[row] as usize]);
    }
}
