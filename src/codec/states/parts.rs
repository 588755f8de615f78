//! The columns of a block one after the other, each with its length, so that a reader skips those it has no use for.

use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, take, take_count};
use crate::model::rollup::Columns;

/// Columns in the order in which they lie in a block; the count is elsewhere.
const ORDER: [Columns; 8] = [
    Columns::LAST,
    Columns::FIRST,
    Columns::MIN,
    Columns::MAX,
    Columns::SUM,
    Columns::RESETS,
    Columns::LOST,
    Columns::CHANGES,
];

/// Appends the columns; one without bytes is throughout what the others let expect.
pub fn put(has: Columns, mut column: impl FnMut(Columns) -> Option<Vec<u8>>, out: &mut Vec<u8>) {
    let there = ORDER.into_iter().filter(|c| has.contains(*c));
    let stored: Vec<(Columns, Vec<u8>)> = there.filter_map(|c| column(c).map(|bytes| (c, bytes))).collect();
    let mask = stored.iter().fold(Columns::NONE, |mask, (c, _)| mask.union(*c));
    write_u64(out, has.0.into());
    write_u64(out, mask.0.into());
    for (_, mut bytes) in stored {
        write_u64(out, bytes.len() as u64);
        out.append(&mut bytes);
    }
}

/// The columns of a block, not yet unpacked.
pub struct Parts<'a> {
    pub has: Columns,
    stored: [Option<&'a [u8]>; ORDER.len()],
}

impl<'a> Parts<'a> {
    pub fn open(mut bytes: &'a [u8]) -> Result<Parts<'a>, Malformed> {
        let bytes = &mut bytes;
        let has = take_columns(bytes)?;
        let mask = take_columns(bytes)?;
        if !has.contains(mask) {
            return Err(Malformed("a column is stored that is not there"));
        }
        let mut stored = [None; ORDER.len()];
        for (slot, column) in stored.iter_mut().zip(ORDER) {
            if mask.contains(column) {
                let len = take_count(bytes, bytes.len())?;
                *slot = Some(take(bytes, len)?);
            }
        }
        if bytes.is_empty() { Ok(Parts { has, stored }) } else { Err(Malformed("bytes after the columns")) }
    }

    /// The bytes of a column that is there; none if it is as expected.
    pub fn get(&self, column: Columns) -> Option<&'a [u8]> {
        let at = ORDER.iter().position(|c| *c == column)?;
        self.stored[at]
    }
}

/// Each column of a block but the count, by name, with the bytes it takes; for people.
pub fn columns(bytes: &[u8]) -> Result<Vec<(&'static str, usize)>, Malformed> {
    let parts = Parts::open(bytes)?;
    let named = ORDER.into_iter().zip(["last", "first", "min", "max", "sum", "resets", "lost", "changes"]);
    let there = named.filter(|(column, _)| parts.has.contains(*column));
    Ok(there.map(|(column, name)| (name, parts.get(column).map_or(0, <[u8]>::len))).collect())
}

fn take_columns(bytes: &mut &[u8]) -> Result<Columns, Malformed> {
    let bits = u16::try_from(read_u64(bytes)?).ok().map(Columns);
    bits.filter(|c| Columns::ALL.contains(*c)).ok_or(Malformed("unknown columns"))
}
