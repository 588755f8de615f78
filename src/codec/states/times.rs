//! When the samples of buckets were, and how many. It follows from the times of the samples alone, so series that are
//! scraped together have equal ones.

use super::Forms;
use crate::codec::varint::{read_i64, read_u64, write_i64, write_u64};
use crate::codec::{Effort, Malformed, integers, take, take_count, timestamps};
use crate::model::Timestamp;
use crate::model::rollup::{BucketTimes, NEVER};

impl BucketTimes {
    pub fn encode(&self, resolution_ms: i64, forms: Forms, out: &mut Vec<u8>) {
        let (mut ends, effort) = (Vec::new(), forms.effort());
        timestamps::encode_with(&self.ends, effort, &mut ends);
        write_u64(out, ends.len() as u64);
        out.append(&mut ends);
        let counts: Vec<i64> = self.counts.iter().map(|&count| count as i64).collect();
        integers::encode_with(&counts, effort, out);
        let start = |row: usize| self.ends[row].wrapping_sub(resolution_ms);
        put(out, effort, &self.counts, |row| self.firsts[row].wrapping_sub(start(row)));
        put(out, effort, &self.counts, |row| self.ends[row].wrapping_sub(self.lasts[row]));
        let is_stale = |&row: &usize| self.stale_at[row] != NEVER;
        write_u64(out, (0..self.len()).filter(is_stale).count() as u64);
        let mut next = 0;
        for row in (0..self.len()).filter(is_stale) {
            write_u64(out, (row - next) as u64);
            write_i64(out, self.ends[row].wrapping_sub(self.stale_at[row]));
            next = row + 1;
        }
    }

    /// The times of `count` buckets.
    pub fn decode(mut bytes: &[u8], count: usize, resolution_ms: i64) -> Result<BucketTimes, Malformed> {
        let bytes = &mut bytes;
        let mut times = BucketTimes::default();
        let ends_len = take_count(bytes, bytes.len())?;
        timestamps::decode(take(bytes, ends_len)?, count, &mut times.ends)?;
        integers::for_each_group(bytes, count, |group| times.counts.extend(group.iter().map(|&c| c as u64)))?;
        let (ends, counts) = (&times.ends, &times.counts);
        let start = |row: usize, offset: i64| ends[row].wrapping_sub(resolution_ms).wrapping_add(offset);
        times.firsts = take_offsets(bytes, counts, start)?;
        times.lasts = take_offsets(bytes, counts, |row, offset| ends[row].wrapping_sub(offset))?;
        times.stale_at = vec![NEVER; count];
        let mut next = 0u64;
        // A place and a time take two bytes at least.
        for _ in 0..take_count(bytes, count.min(bytes.len() / 2))? {
            let row = next.checked_add(read_u64(bytes)?).filter(|&row| row < count as u64);
            let row = row.ok_or(Malformed("a stale marker lies outside its block"))? as usize;
            times.stale_at[row] = ends[row].wrapping_sub(read_i64(bytes)?);
            next = row as u64 + 1;
        }
        if bytes.is_empty() { Ok(times) } else { Err(Malformed("bytes after the times of buckets")) }
    }
}

/// Appends an offset for each bucket that has samples.
fn put(out: &mut Vec<u8>, effort: Effort, counts: &[u64], offset: impl Fn(usize) -> i64) {
    let rows = (0..counts.len()).filter(|&row| counts[row] > 0);
    integers::encode_with(&rows.map(offset).collect::<Vec<_>>(), effort, out);
}

fn take_offsets(
    bytes: &mut &[u8],
    counts: &[u64],
    time: impl Fn(usize, i64) -> Timestamp,
) -> Result<Vec<Timestamp>, Malformed> {
    let mut times = vec![NEVER; counts.len()];
    let mut rows = (0..counts.len()).filter(|&row| counts[row] > 0);
    let filled = counts.iter().filter(|&&count| count > 0).count();
    integers::for_each_group(bytes, filled, |group| {
        for (&offset, row) in group.iter().zip(rows.by_ref()) {
            times[row] = time(row, offset);
        }
    })?;
    Ok(times)
}
