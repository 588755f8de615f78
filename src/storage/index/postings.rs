//! Lists of ordinals: gaps where series are few or far apart, a Roaring bitmap where they are many.

use roaring::RoaringBitmap;

use crate::codec::{Malformed, integers, take_u8};

const GAPS: u8 = 1;
const ROARING: u8 = 2;

/// Below this a bitmap's own header outweighs any list.
const ROARING_COUNT_MIN: usize = 8;

/// Appends strictly increasing ordinals.
pub fn encode(ordinals: &[u32], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(GAPS);
    integers::encode(&ordinals.iter().map(|&o| i64::from(o)).collect::<Vec<_>>(), out);
    if ordinals.len() < ROARING_COUNT_MIN {
        return;
    }
    let mut bitmap = RoaringBitmap::from_sorted_iter(ordinals.iter().copied()).expect("ordinals increase");
    bitmap.optimize();
    if bitmap.serialized_size() < out.len() - start {
        out.truncate(start);
        out.push(ROARING);
        bitmap.serialize_into(out).expect("writing to memory cannot fail");
    }
}

/// A list of `count` ordinals below `series_count`.
pub fn decode(mut bytes: &[u8], count: usize, series_count: u32) -> Result<RoaringBitmap, Malformed> {
    let bytes = &mut bytes;
    let bitmap = match take_u8(bytes)? {
        GAPS => {
            let count = count.min(series_count as usize);
            // Of each 128 integers two bytes at least are there.
            let mut ordinals = Vec::with_capacity(count.min(bytes.len().saturating_mul(64)));
            let mut is_inside = true;
            integers::for_each_group(bytes, count, |group| {
                is_inside &= group.iter().all(|o| (0..i64::from(series_count)).contains(o));
                ordinals.extend(group.iter().map(|&o| o as u32));
            })?;
            if !is_inside {
                return Err(Malformed("a list points behind the last series"));
            }
            RoaringBitmap::from_sorted_iter(ordinals).map_err(|_| Malformed("a list is not in order"))?
        }
        ROARING => {
            RoaringBitmap::deserialize_from(&mut *bytes).map_err(|_| Malformed("a bitmap is broken"))?
        }
        _ => return Err(Malformed("unknown kind of list")),
    };
    if !bytes.is_empty() || bitmap.len() != count as u64 || bitmap.max().is_some_and(|o| o >= series_count) {
        return Err(Malformed("a list is not what its dictionary says"));
    }
    Ok(bitmap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn len_of(ordinals: &[u32]) -> usize {
        let mut bytes = Vec::new();
        encode(ordinals, &mut bytes);
        let back = decode(&bytes, ordinals.len(), 1 << 20).unwrap();
        assert_eq!(back.iter().collect::<Vec<_>>(), ordinals);
        bytes.len()
    }

    #[test]
    fn runs_and_strides_are_small() {
        assert!(len_of(&(5_000..900_000).collect::<Vec<_>>()) < 300);
        assert!(len_of(&(0..1000).map(|i| i * 1000 + 7).collect::<Vec<_>>()) < 100);
    }

    proptest! {
        #[test]
        fn any_list_comes_back(set in prop::collection::btree_set(0u32..(1 << 20), 0..600)) {
            len_of(&set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn foreign_bytes_never_panic(kind in 0u8..4, bytes: Vec<u8>, count in 0usize..1000) {
            let _ = decode(&[&[kind], &bytes[..]].concat(), count, 5_000);
        }
    }
}
