//! Variable-length integers: LEB128 for unsigned ones, zigzag then LEB128 for signed ones.
//!
//! Every value has one spelling: writers emit the shortest, readers take nothing else. Readers take foreign bytes;
//! they advance the slice past what they took, and on an error leave it alone.

/// 64 bits in groups of 7.
pub const LEN_MAX: usize = 10;

/// Why no integer could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    #[error("the bytes end inside a variable-length integer")]
    Truncated,
    #[error("a variable-length integer exceeds 64 bits or is longer than it needs to be")]
    Malformed,
}

pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag(value));
}

/// Takes an integer off the front of `bytes`.
pub fn read_u64(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            let is_overlong = i > 0 && byte == 0;
            // The tenth byte holds bit 63 alone.
            let is_overflow = i == LEN_MAX - 1 && byte > 1;
            if is_overlong || is_overflow {
                return Err(VarintError::Malformed);
            }
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < LEN_MAX { VarintError::Truncated } else { VarintError::Malformed })
}

/// Takes a signed integer off the front of `bytes`.
pub fn read_i64(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    read_u64(bytes).map(unzigzag)
}

/// Maps small magnitudes of either sign to small numbers: 0, -1, 1, -2 … become 0, 1, 2, 3 …
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_magnitudes_of_either_sign_take_one_byte() {
        for value in -64..64 {
            let mut bytes = Vec::new();
            write_i64(&mut bytes, value);
            assert_eq!(bytes.len(), 1);
        }
    }

    #[test]
    fn a_cut_integer_is_truncated_and_the_slice_stays() {
        let mut bytes = Vec::new();
        write_u64(&mut bytes, u64::MAX);
        assert_eq!(bytes.len(), LEN_MAX);
        for cut in 0..bytes.len() {
            let mut slice = &bytes[..cut];
            assert_eq!(read_u64(&mut slice), Err(VarintError::Truncated));
            assert_eq!(slice.len(), cut);
        }
    }

    #[test]
    fn a_second_spelling_of_a_value_is_malformed() {
        let (overlong, overflow) = ([0x81, 0x00], [0xff; 9].into_iter().chain([0x02]).collect::<Vec<_>>());
        assert_eq!(read_u64(&mut &overlong[..]), Err(VarintError::Malformed));
        assert_eq!(read_u64(&mut &overflow[..]), Err(VarintError::Malformed));
        assert_eq!(read_u64(&mut &[0xff; 11][..]), Err(VarintError::Malformed));
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            write_u64(&mut bytes, unsigned);
            write_i64(&mut bytes, signed);
            let mut slice = &bytes[..];
            prop_assert_eq!(read_u64(&mut slice), Ok(unsigned));
            prop_assert_eq!(read_i64(&mut slice), Ok(signed));
            prop_assert!(slice.is_empty());
        }

        #[test]
        fn what_is_read_is_what_would_be_written(bytes: Vec<u8>) {
            let mut slice = &bytes[..];
            if let Ok(value) = read_u64(&mut slice) {
                let mut again = Vec::new();
                write_u64(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - slice.len()]);
            }
        }
    }
}
