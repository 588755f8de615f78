//! A column with few different texts: each once, and a number for every row.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::joined::{self, Joined};
use super::{Effort, TOO_LONG, put_bytes, take_bytes};
use crate::codec::rows::RowSet;
use crate::codec::varint::write_u64;
use crate::codec::{Malformed, numbers, take_count};

/// What makes texts few enough.
pub struct Limits {
    distinct_max: usize,
    /// Of the first texts, how many may be different: where more are, the others need not be looked at.
    first_distinct_max: usize,
}

/// As many texts tell whether they repeat.
const FIRST: usize = 256;

impl Limits {
    pub fn of_texts(distinct_max: usize) -> Limits {
        Limits { distinct_max, first_distinct_max: FIRST * 3 / 4 }
    }

    /// Of texts that take `bits` as numbers: names of twice as many as are seen first must take less.
    pub fn of_numbers(count: usize, bits: usize) -> Limits {
        let first_distinct_max = 1usize.checked_shl(bits as u32).unwrap_or(FIRST).min(FIRST) / 2;
        Limits { distinct_max: 16 + count / 2, first_distinct_max }
    }
}

/// Appends the texts in order of first appearance, and the number of each row's; not if they are not few.
pub fn encode(texts: &[&str], effort: Effort, limits: Limits, out: &mut Vec<u8>) -> bool {
    let Some((distinct, picks)) = distinct(texts, limits) else {
        return false;
    };
    write_u64(out, distinct.len() as u64);
    let mut bytes = Vec::new();
    joined::encode(&distinct, effort, &mut bytes);
    put_bytes(out, &bytes);
    numbers::encode(&picks, distinct.len(), effort.zstd_level(), out);
    true
}

/// The different texts, and which is whose; nothing if they are not few.
fn distinct<'a>(texts: &[&'a str], limits: Limits) -> Option<(Vec<&'a str>, Vec<u32>)> {
    let hasher = foldhash::fast::FixedState::default();
    let mut known = HashTable::new();
    let mut distinct: Vec<&str> = Vec::new();
    let mut picks = Vec::with_capacity(texts.len());
    for (row, &text) in texts.iter().enumerate() {
        let hash = hasher.hash_one(text);
        let pick = match known.find(hash, |&pick: &u32| distinct[pick as usize] == text) {
            Some(&pick) => pick,
            None => {
                let pick = distinct.len() as u32;
                distinct.push(text);
                known.insert_unique(hash, pick, |&pick| hasher.hash_one(distinct[pick as usize]));
                pick
            }
        };
        picks.push(pick);
        if distinct.len() > if row < FIRST { limits.first_distinct_max } else { limits.distinct_max } {
            return None;
        }
    }
    Some((distinct, picks))
}

/// The different texts of a dictionary, one after the other.
pub fn joined_texts(mut bytes: &[u8], max: usize) -> Result<Vec<u8>, Malformed> {
    take_count(&mut bytes, max)?;
    joined::unpack(take_bytes(&mut bytes)?, max)
}

/// Invariant: each pick is the number of a text.
pub struct Dictionary {
    texts: Joined,
    picks: Vec<u32>,
}

impl Dictionary {
    pub fn open(mut bytes: &[u8], count: usize, max: usize) -> Result<Dictionary, Malformed> {
        let text_count = take_count(&mut bytes, count)?;
        let texts = Joined::open(take_bytes(&mut bytes)?, text_count, max)?;
        let mut picks = Vec::new();
        numbers::decode(bytes, count, texts.count(), &mut picks)?;
        let mut total = 0usize;
        picks.iter().for_each(|&pick| total = total.saturating_add(texts.spans()[pick as usize].len()));
        if total > max {
            return Err(TOO_LONG);
        }
        Ok(Dictionary { texts, picks })
    }

    pub fn texts(&self) -> &Joined {
        &self.texts
    }

    pub fn into_texts(self) -> Joined {
        self.texts
    }

    pub fn picks(&self) -> &[u32] {
        &self.picks
    }

    pub fn get(&self, row: usize) -> &str {
        self.texts.get(self.picks[row] as usize)
    }

    /// Leaves the rows whose text `holds`; each text is asked about once.
    pub fn retain(&self, rows: &mut RowSet, holds: impl Fn(&str) -> bool) {
        let holds: Vec<bool> = (0..self.texts.count()).map(|text| holds(self.texts.get(text))).collect();
        rows.retain(|row| holds[self.picks[row] as usize]);
    }
}
