//! Numbers below a bound that name things, as the entry of a dictionary: near ones are not alike.
//!
//! Packed in as few bits as the bound needs; or their bytes, the lowest of all numbers first, compressed: what is
//! frequent then takes less than a bit's share.

use super::bits::{self, GROUP, packed_len};
use super::{Malformed, compressed, take, take_u8};

const PACKED: u8 = 0;
const PLANES: u8 = 1;

/// Appends `values`, all less than `bound`.
pub fn encode(values: &[u32], bound: usize, zstd_level: i32, out: &mut Vec<u8>) {
    let start = out.len();
    let planes: Vec<u8> = (0..plane_count(bound))
        .flat_map(|plane| values.iter().map(move |&value| (value >> (8 * plane)) as u8))
        .collect();
    out.push(PLANES);
    compressed::encode_at(zstd_level, &planes, out);
    if out.len() - start > 1 + packed_len(values.len(), width(bound)) {
        out.truncate(start);
        out.push(PACKED);
        for group in values.chunks(GROUP) {
            let mut wide = [0; GROUP];
            wide.iter_mut().zip(group).for_each(|(slot, &value)| *slot = u64::from(value));
            bits::pack(&wide[..group.len()], width(bound), out);
        }
    }
}

/// Appends the `count` numbers that `bytes` holds, each less than `bound`.
pub fn decode(mut bytes: &[u8], count: usize, bound: usize, out: &mut Vec<u32>) -> Result<(), Malformed> {
    let start = out.len();
    match take_u8(&mut bytes)? {
        PACKED => {
            if packed_len(count, width(bound)) > bytes.len() {
                return Err(Malformed("ends inside numbers"));
            }
            let mut group = [0; GROUP];
            for at in (0..count).step_by(GROUP) {
                let group = &mut group[..(count - at).min(GROUP)];
                bits::unpack(&mut bytes, width(bound), group)?;
                out.extend(group.iter().map(|&value| value as u32));
            }
        }
        PLANES => {
            let planes = compressed::decode_block(bytes, count.saturating_mul(plane_count(bound)), 0)?;
            let mut planes = &planes[..];
            out.resize(start + count, 0);
            for plane in 0..plane_count(bound) {
                let bytes = take(&mut planes, count)?;
                out[start..]
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(value, &b)| *value |= u32::from(b) << (8 * plane));
            }
        }
        _ => return Err(Malformed("unknown kind of numbers")),
    }
    if out[start..].iter().any(|&value| value as usize >= bound) {
        return Err(Malformed("a number is as large as its bound"));
    }
    Ok(())
}

fn width(bound: usize) -> u32 {
    usize::BITS - bound.saturating_sub(1).min(u32::MAX as usize).leading_zeros()
}

fn plane_count(bound: usize) -> usize {
    width(bound).div_ceil(8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn len_of(values: &[u32], bound: usize) -> usize {
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        encode(values, bound, 1, &mut bytes);
        decode(&bytes, values.len(), bound, &mut back).unwrap();
        assert_eq!(back, values);
        bytes.len()
    }

    #[test]
    fn one_name_takes_no_room_and_frequent_ones_little() {
        assert_eq!(len_of(&[0; 1000], 1), 1);
        let skewed: Vec<u32> = (0..10_000).map(|i| if i % 50 == 0 { i % 7 } else { 300 }).collect();
        assert!(len_of(&skewed, 301) < 600);
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(values in prop::collection::vec(0u32..100_000, 0..400)) {
            let bound = values.iter().max().map_or(0, |&max| max as usize + 1);
            len_of(&values, bound);
            len_of(&values, bound + 1000);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, count in 0usize..1000, bound in 0usize..70_000) {
            let mut out = Vec::new();
            if decode(&bytes, count, bound, &mut out).is_ok() {
                prop_assert!(out.len() == count && out.iter().all(|&value| (value as usize) < bound));
            }
        }
    }
}
