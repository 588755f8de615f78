//! Columns of strictly increasing timestamps.

use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::{Effort, Malformed, integers, take_u8};

const REGULAR: u8 = 1;
const INTEGERS: u8 = 2;

/// Appends codec and payload.
pub fn encode(timestamps: &[i64], out: &mut Vec<u8>) {
    encode_with(timestamps, Effort::Fast, out);
}

/// As [`encode`], but as small as the effort allows.
pub fn encode_with(timestamps: &[i64], effort: Effort, out: &mut Vec<u8>) {
    let step = match timestamps {
        [a, b, ..] => b.wrapping_sub(*a),
        _ => 1,
    };
    let is_regular = !timestamps.is_empty() && timestamps.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step);
    if is_regular {
        out.push(REGULAR);
        write_i64(out, timestamps[0]);
        write_u64(out, step as u64);
    } else {
        out.push(INTEGERS);
        integers::encode_with(timestamps, effort, out);
    }
}

/// Appends the `count` timestamps that codec and payload in `bytes` stand for.
pub fn decode(mut bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let start = out.len();
    match take_u8(&mut bytes)? {
        REGULAR => {
            let (first, step) = (read_i64(&mut bytes)?, read_u64(&mut bytes)? as i64);
            out.extend((0..count as i64).map(|i| first.wrapping_add(step.wrapping_mul(i))));
        }
        INTEGERS => integers::decode(&mut bytes, count, out)?,
        _ => return Err(Malformed("unknown codec of timestamps")),
    }
    if !bytes.is_empty() {
        return Err(Malformed("bytes after the timestamps"));
    }
    if !out[start..].windows(2).all(|w| w[0] < w[1]) {
        return Err(Malformed("timestamps do not increase"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(timestamps: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(timestamps, &mut bytes);
        let mut back = Vec::new();
        decode(&bytes, timestamps.len(), &mut back).unwrap();
        assert_eq!(back, timestamps);
        bytes
    }

    #[test]
    fn a_regular_grid_takes_ten_bytes_whatever_its_length() {
        let grid: Vec<i64> = (0..8192).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(bytes_of(&grid).len() <= 10);
    }

    #[test]
    fn a_grid_with_a_gap_and_jitter_stays_small() {
        let grid: Vec<i64> =
            (0..8192).map(|i| i * 15_000 + (i % 7) + if i > 99 { 60_000 } else { 0 }).collect();
        assert!(bytes_of(&grid).len() < 8192 * 5 / 8);
    }

    proptest! {
        #[test]
        fn any_timestamps_come_back(set in prop::collection::btree_set(any::<i64>(), 1..300)) {
            bytes_of(&set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, count in 0usize..1000) {
            let _ = decode(&bytes, count, &mut Vec::new());
        }
    }
}
