//! The few values of a column that its integers do not tell: their places and their bits.

use super::varint::{read_u64, write_u64};
use super::{Malformed, take, take_count};

/// About what each takes.
pub const PATCH_BITS: usize = 72;

/// Appends (place, bits), in order of the places.
pub fn put(patches: &[(usize, u64)], out: &mut Vec<u8>) {
    write_u64(out, patches.len() as u64);
    let mut next = 0;
    for &(at, _) in patches {
        write_u64(out, (at - next) as u64);
        next = at + 1;
    }
    for (_, bits) in patches {
        out.extend_from_slice(&bits.to_le_bytes());
    }
}

/// Patches on disk. Invariant: places are those of a column of the length that was told.
pub struct Patches<'a> {
    places: Vec<usize>,
    bits: &'a [u8],
}

impl<'a> Patches<'a> {
    /// Takes those of a column of `count` values off the front of `bytes`.
    pub fn take(bytes: &mut &'a [u8], count: usize) -> Result<Patches<'a>, Malformed> {
        // A patch takes nine bytes at least.
        let patch_count = take_count(bytes, count.min(bytes.len() / 9))?;
        let mut places = Vec::with_capacity(patch_count);
        let mut next = 0u64;
        for _ in 0..patch_count {
            let at = next.checked_add(read_u64(bytes)?).filter(|&at| at < count as u64);
            let at = at.ok_or(Malformed("a patch lies outside its column"))?;
            places.push(at as usize);
            next = at + 1;
        }
        Ok(Patches { places, bits: take(bytes, patch_count * 8)? })
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts them in their places among `values`, which are those of the column from the place `first` on.
    pub fn apply(&self, first: usize, values: &mut [f64]) {
        for (at, patch) in self.iter() {
            if let Some(value) = at.checked_sub(first).and_then(|at| values.get_mut(at)) {
                *value = patch;
            }
        }
    }

    /// The same among the values of these places alone, which are in order.
    pub fn apply_some(&self, places: &[usize], values: &mut [f64]) {
        for (at, patch) in self.iter() {
            if let Ok(among) = places.binary_search(&at) {
                values[among] = patch;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        let bits = self.bits.chunks_exact(8).map(|bits| bits.try_into().expect("eight bytes"));
        self.places.iter().copied().zip(bits.map(|bits| f64::from_bits(u64::from_le_bytes(bits))))
    }
}
