//! Samples in the log: most differ from the one before in their value alone, and most values are short.

use super::reader::Reader;
use super::{BadPayload, begin, tag};
use crate::codec::varint::write_i64;
use crate::storage::metrics::SampleRow;

pub(in crate::storage::metrics) fn write_samples(rows: &[SampleRow], to: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    begin(tag::SAMPLES, rows.len(), to);
    to.reserve(rows.len() * 6);
    let (mut id, mut time) = (0u32, 0i64);
    for row in rows {
        let (next_id, same_time) = (row.id == id.wrapping_add(1), row.timestamp == time);
        let (code, bytes, len) = value_code(row.value);
        to.push(u8::from(next_id) << 7 | u8::from(same_time) << 6 | code);
        if !next_id {
            write_i64(to, i64::from(row.id) - i64::from(id));
        }
        if !same_time {
            write_i64(to, row.timestamp.wrapping_sub(time));
        }
        to.extend_from_slice(&bytes[..len]);
        (id, time) = (row.id, row.timestamp);
    }
}

/// Codes of a value's shape, below 64: 0 is +0.0; `FLOAT + …` the bytes of the float without zero bytes at its
/// ends; `INTEGER + n - 1` a whole number of n bytes, little-endian.
const FLOAT: u8 = 1;
const INTEGER: u8 = 37;
const INTEGER_BYTES_MAX: usize = 6;

fn value_code(value: f64) -> (u8, [u8; 8], usize) {
    let bits = value.to_bits();
    if bits == 0 {
        return (0, [0; 8], 0);
    }
    // Zero bytes at the low end are common (small whole numbers), at the high end rare.
    let low = bits.trailing_zeros() as usize / 8;
    let len = 8 - bits.leading_zeros() as usize / 8 - low;
    let whole = value as u64;
    if whole > 0 && whole < 1 << (8 * INTEGER_BYTES_MAX) && (whole as f64).to_bits() == bits {
        let whole_len = 8 - whole.leading_zeros() as usize / 8;
        if whole_len < len {
            return (INTEGER + whole_len as u8 - 1, whole.to_le_bytes(), whole_len);
        }
    }
    (FLOAT + shape(len, low), (bits >> (8 * low)).to_le_bytes(), len)
}

/// Numbers the pairs (len, low) with 1 <= len, len + low <= 8: 36 of them, by `low`.
fn shape(len: usize, low: usize) -> u8 {
    // Before `low` there are 8 + 7 + … of the smaller ones.
    (low * 8 - low * low.saturating_sub(1) / 2 + len - 1) as u8
}

/// The inverse of [`shape`], as a table.
fn unshape(shape: u8) -> (usize, usize) {
    let mut first = 0;
    for low in 0..8 {
        let pairs = 8 - low;
        if (shape as usize) < first + pairs {
            return (shape as usize - first + 1, low);
        }
        first += pairs;
    }
    unreachable!("a shape is below 36")
}

impl Reader<'_> {
    pub(super) fn samples(&mut self, count: usize, to: &mut Vec<SampleRow>) -> Result<(), BadPayload> {
        to.reserve(count);
        let (mut id, mut timestamp) = (0u32, 0i64);
        for _ in 0..count {
            let mark = self.byte()?;
            id = if mark & 0x80 != 0 { id.wrapping_add(1) } else { self.id_from(id)? };
            if mark & 0x40 == 0 {
                timestamp = timestamp.wrapping_add(self.signed()?);
            }
            to.push(SampleRow { id, timestamp, value: self.value(mark & 0x3f)? });
        }
        Ok(())
    }

    fn value(&mut self, code: u8) -> Result<f64, BadPayload> {
        let (len, low) = match code {
            0 => return Ok(0.0),
            FLOAT..INTEGER => unshape(code - FLOAT),
            _ if usize::from(code - INTEGER) < INTEGER_BYTES_MAX => (usize::from(code - INTEGER) + 1, 0),
            _ => return Err(self.bad("unknown shape of value")),
        };
        let mut bytes = [0u8; 8];
        bytes[..len].copy_from_slice(self.bytes(len)?);
        let word = u64::from_le_bytes(bytes);
        Ok(if code < INTEGER { f64::from_bits(word << (8 * low)) } else { word as f64 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_payload;
    use super::*;

    #[test]
    fn whole_numbers_and_short_floats_take_few_bytes() {
        let len = |v: f64| value_code(v).2;
        assert_eq!([0.0, 1.0, 57.0, 255.0, 65_535.0, 0.5, -1.0].map(len), [0, 1, 1, 1, 2, 2, 2]);
        assert_eq!(len(0.1), 8);
    }

    proptest! {
        #[test]
        fn samples_come_back_to_the_bit(rows in prop::collection::vec((any::<u32>(), any::<i64>(), any_bits()), 0..200)) {
            let rows: Vec<_> = rows.into_iter().map(|(id, timestamp, bits)| SampleRow { id, timestamp, value: f64::from_bits(bits) }).collect();
            let mut payload = Vec::new();
            write_samples(&rows, &mut payload);
            let read = read_payload(&payload).unwrap().samples;
            let plain = |rows: &[SampleRow]| rows.iter().map(|r| (r.id, r.timestamp, r.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(plain(&read), plain(&rows));
        }
    }

    fn any_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (0..70_000u32).prop_map(|n| f64::from(n).to_bits()),
            (0u32..64, 0u32..64).prop_map(|(a, b)| (u64::MAX >> a) << b),
        ]
    }
}
