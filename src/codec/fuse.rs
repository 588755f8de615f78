//! Which hashes are in a set, at nine to ten bits each: a binary fuse filter of 8-bit fingerprints (Graf and Lemire, "Binary
//! Fuse Filters", 2022).
//!
//! Every hash of the set is found; of others one in 256 seems to be. Building is `xorf`'s; the bytes and what they mean
//! are ours (`storage-format.md` §1), so that they stay readable whatever becomes of that crate.

use xorf::BinaryFuse8;

use super::varint::write_u64;
use super::{Malformed, take, take_count, take_u8};

/// Building takes some 30 bytes of memory for each hash, so whoever has more of them builds several filters.
pub const HASHES_MAX: usize = 1 << 22;

/// Segments are no longer than this, by far: the arithmetic of [`FuseFilter::contains`] stays within 32 bits.
const SEGMENT_BITS_MAX: u8 = 18;

/// Appends a filter of these hashes, at most [`HASHES_MAX`]; repetitions do no harm. Leaves them sorted.
pub fn encode(hashes: &mut Vec<u64>, out: &mut Vec<u8>) {
    assert!(hashes.len() <= HASHES_MAX, "a filter of {} hashes", hashes.len());
    hashes.sort_unstable();
    hashes.dedup();
    let filter =
        BinaryFuse8::try_from(&*hashes).expect("no hash comes twice, and a thousand seeds are tried");
    let descriptor = filter.descriptor;
    out.extend_from_slice(&descriptor.seed.to_le_bytes());
    out.push(descriptor.segment_length.trailing_zeros() as u8);
    write_u64(out, u64::from(descriptor.segment_count_length / descriptor.segment_length));
    out.extend_from_slice(&filter.fingerprints);
}

/// A filter in bytes that were checked.
#[derive(Clone, Copy, Debug)]
pub struct FuseFilter<'a> {
    seed: u64,
    segment_bits: u8,
    /// Where a hash may begin: its second and third place lie in the two segments that follow.
    starts: u64,
    fingerprints: &'a [u8],
}

impl<'a> FuseFilter<'a> {
    /// Takes a filter off the front.
    pub fn take(bytes: &mut &'a [u8]) -> Result<FuseFilter<'a>, Malformed> {
        let seed = u64::from_le_bytes(take(bytes, 8)?.try_into().expect("eight bytes"));
        let segment_bits = take_u8(bytes)?;
        if segment_bits > SEGMENT_BITS_MAX {
            return Err(Malformed("a filter with too long segments"));
        }
        let segment_count = take_count(bytes, bytes.len() >> segment_bits)?;
        if segment_count == 0 {
            return Err(Malformed("a filter without segments"));
        }
        let fingerprints = take(bytes, (segment_count + 2) << segment_bits)?;
        Ok(FuseFilter { seed, segment_bits, starts: (segment_count as u64) << segment_bits, fingerprints })
    }

    /// False only if the hash is not in the set.
    pub fn contains(&self, hash: u64) -> bool {
        let mixed = mix(hash.wrapping_add(self.seed));
        let segment = 1usize << self.segment_bits;
        let mask = segment - 1;
        let first = ((u128::from(mixed) * u128::from(self.starts)) >> 64) as usize;
        let second = (first + segment) ^ ((mixed >> 18) as u32 as usize & mask);
        let third = (first + 2 * segment) ^ (mixed as u32 as usize & mask);
        let fingerprint = (mixed ^ (mixed >> 32)) as u8;
        let [a, b, c] = [first, second, third].map(|at| self.fingerprints[at]);
        fingerprint == a ^ b ^ c
    }
}

/// The finaliser of MurmurHash3.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xorf::Filter;

    use super::*;

    fn encoded(hashes: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut hashes.to_vec(), &mut bytes);
        bytes
    }

    #[test]
    fn few_others_seem_to_be_in_the_set() {
        let hashes: Vec<u64> = (0..10_000).map(mix).collect();
        let bytes = encoded(&hashes);
        assert!(bytes.len() < 13_000, "{} bytes", bytes.len());
        let filter = FuseFilter::take(&mut &bytes[..]).unwrap();
        assert!(hashes.iter().all(|&hash| filter.contains(hash)));
        let others = (10_000..110_000).filter(|&n| filter.contains(mix(n))).count();
        assert!((200..700).contains(&others), "{others} of 100000");
    }

    proptest! {
        #[test]
        fn every_hash_of_the_set_is_found(hashes in prop::collection::vec(any::<u64>(), 0..300), other: u64) {
            let bytes = encoded(&hashes);
            let mut slice = &bytes[..];
            let filter = FuseFilter::take(&mut slice).unwrap();
            prop_assert!(slice.is_empty());
            prop_assert!(hashes.iter().all(|&hash| filter.contains(hash)));

            let mut distinct = hashes.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let oracle = BinaryFuse8::try_from(&distinct).unwrap();
            prop_assert_eq!(filter.contains(other), oracle.contains(&other));
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_filter(bytes in prop::collection::vec(any::<u8>(), 0..200), bits in 0..9u8, hash: u64) {
            let mut aimed = bytes.clone();
            if let Some(byte) = aimed.get_mut(8) {
                *byte = bits;
            }
            for bytes in [bytes, aimed] {
                if let Ok(filter) = FuseFilter::take(&mut &bytes[..]) {
                    filter.contains(hash);
                }
            }
        }

        #[test]
        fn a_cut_filter_is_an_error(hashes in prop::collection::vec(any::<u64>(), 0..50), cut: prop::sample::Index) {
            let bytes = encoded(&hashes);
            prop_assert!(FuseFilter::take(&mut &bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
