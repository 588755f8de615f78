//! Integers of a fixed width, packed least significant bit first; and a stream of single bits, most
//! significant first.

use super::{Malformed, take};

/// Bytes that `count` integers of `width` bits take.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each value.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (u64::BITS - width);
    let (mut pending, mut filled) = (0, 0);
    out.reserve(packed_len(values.len(), width));
    for &value in values {
        let low = value & mask;
        pending |= low << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&pending.to_le_bytes());
            filled -= u64::BITS;
            // What did not fit; nothing where the value ended with the word.
            pending = if filled == 0 { 0 } else { low >> (width - filled) };
        }
    }
    out.extend_from_slice(&pending.to_le_bytes()[..(filled as usize).div_ceil(8)]);
}

/// The most values one call of [`unpack`] fills.
pub const GROUP: usize = 128;

/// Takes `values.len()` (at most [`GROUP`]) integers of `width` (at most 64) bits off the front.
pub fn unpack(bytes: &mut &[u8], width: u32, values: &mut [u64]) -> Result<(), Malformed> {
    assert!(values.len() <= GROUP && width <= 64, "{} values of {width} bits", values.len());
    let len = packed_len(values.len(), width);
    let whole = *bytes;
    let packed = take(bytes, len)?;
    if width == 0 {
        values.fill(0);
        return Ok(());
    }
    // Loading eight bytes at any bit needs up to eight readable bytes after the last value; at the very end
    // of the input a padded copy has them.
    if whole.len() >= len + 8 {
        unpack_padded(&whole[..len + 8], width, values);
    } else {
        let mut padded = [0; GROUP * 8 + 8];
        padded[..len].copy_from_slice(packed);
        unpack_padded(&padded[..len + 8], width, values);
    }
    Ok(())
}

fn unpack_padded(bytes: &[u8], width: u32, values: &mut [u64]) {
    let (runs, rest) = values.as_chunks_mut();
    if !unpack_runs(bytes, width, runs) {
        return unpack_each(bytes, width, values);
    }
    unpack_each(&bytes[runs.len() * width as usize..], width, rest);
}

/// Unpacks runs of eight values, which begin with a byte each; not of the widths that hardly anything has.
fn unpack_runs(bytes: &[u8], width: u32, runs: &mut [[u64; 8]]) -> bool {
    macro_rules! of_widths {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_runs_of::<$width>(bytes, runs),)*
                _ => return false,
            }
        };
    }
    of_widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    true
}

/// Where the width is known each value's place in a run is, too.
fn unpack_runs_of<const WIDTH: usize>(bytes: &[u8], runs: &mut [[u64; 8]]) {
    let mask = (1u64 << WIDTH) - 1;
    for (at, run) in runs.iter_mut().enumerate() {
        let packed = &bytes[at * WIDTH..at * WIDTH + WIDTH + 8];
        for (place, value) in run.iter_mut().enumerate() {
            let bit = place * WIDTH;
            *value = (load(packed, bit / 8) >> (bit % 8)) & mask;
        }
    }
}

fn unpack_each(bytes: &[u8], width: u32, values: &mut [u64]) {
    let (mut bit, width_bits) = (0, width as usize);
    if width <= 57 {
        let mask = (1u64 << width) - 1;
        for value in values {
            *value = (load(bytes, bit / 8) >> (bit % 8)) & mask;
            bit += width_bits;
        }
        return;
    }
    let mask = u64::MAX >> (64 - width);
    for value in values {
        let (at, shift) = (bit / 8, bit % 8);
        let both = u128::from(load(bytes, at)) | u128::from(bytes[at + 8]) << 64;
        *value = (both >> shift) as u64 & mask;
        bit += width_bits;
    }
}

#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Writes bits, most significant first; the last byte is filled with zeros.
#[derive(Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u128,
    filled: u32,
}

impl BitWriter {
    /// Appends the low `count` (at most 64) bits of `value`, which has no others.
    pub fn write(&mut self, value: u64, count: u32) {
        self.pending = self.pending << count | u128::from(value);
        self.filled += count;
        while self.filled >= 8 {
            self.filled -= 8;
            self.bytes.push((self.pending >> self.filled) as u8);
        }
        self.pending &= (1 << self.filled) - 1;
    }

    pub fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.write(0, 8 - self.filled);
        }
        self.bytes
    }
}

/// Reads what [`BitWriter`] wrote.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    pending: u128,
    filled: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, pending: 0, filled: 0 }
    }

    /// The bytes of which no bit has been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `count` (at most 64) bits.
    pub fn read(&mut self, count: u32) -> Result<u64, Malformed> {
        while self.filled < count {
            let (&byte, rest) = self.bytes.split_first().ok_or(Malformed("ends inside a bit stream"))?;
            self.bytes = rest;
            self.pending = self.pending << 8 | u128::from(byte);
            self.filled += 8;
        }
        self.filled -= count;
        let value = (self.pending >> self.filled) as u64;
        self.pending &= (1 << self.filled) - 1;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_integers_come_back(values in prop::collection::vec(any::<u64>(), 0..=GROUP), width in 0u32..=64, tail in 0usize..10) {
            let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
            let mut bytes = Vec::new();
            pack(&values, width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
            bytes.extend(vec![0xFF; tail]);
            let (mut slice, mut back) = (&bytes[..], vec![0; values.len()]);
            unpack(&mut slice, width, &mut back).unwrap();
            prop_assert_eq!(back, values.iter().map(|v| v & mask).collect::<Vec<_>>());
            prop_assert_eq!(slice.len(), tail);
        }

        #[test]
        fn a_bit_stream_comes_back(fields in prop::collection::vec((any::<u64>(), 0u32..=64), 0..50)) {
            let low = |(value, count): (u64, u32)| if count == 0 { 0 } else { value >> (64 - count) };
            let mut writer = BitWriter::default();
            for &field in &fields {
                writer.write(low(field), field.1);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for &field in &fields {
                prop_assert_eq!(reader.read(field.1), Ok(low(field)));
            }
        }
    }

    #[test]
    fn cut_bytes_are_malformed() {
        let mut bytes = Vec::new();
        pack(&[1, 2, 3], 33, &mut bytes);
        assert!(unpack(&mut &bytes[..bytes.len() - 1], 33, &mut [0; 3]).is_err());
        assert!(BitReader::new(&[1]).read(9).is_err());
    }
}
