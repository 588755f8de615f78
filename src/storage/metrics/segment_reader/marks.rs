//! Where readers came to the samples they wanted, in the middle of blocks. Dashboards ask for the last hour again and again, each
//! time a little later; to pass by what a block has before it takes longer than to unpack it.
//!
//! The marks of all segments share one table, where each block has one place, and whoever comes later takes it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::codec::integers::{MARKED_MIN, Mark};

/// 72 bytes each, 288 KiB.
const PLACES_LOG: u32 = 12;

static TABLE: LazyLock<Box<[Mutex<Option<Kept>>]>> =
    LazyLock::new(|| (0..1 << PLACES_LOG).map(|_| Mutex::default()).collect());

/// Segments are told apart as long as the process lives.
static SEGMENTS: AtomicU64 = AtomicU64::new(0);

struct Kept {
    segment: u64,
    offset: u64,
    mark: Mark,
}

/// The marks of one segment.
pub struct Marks {
    segment: u64,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { segment: SEGMENTS.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Marks {
    /// What is kept of the block at this offset, if that may help who wants what begins at that place.
    pub fn near(&self, offset: u64, place: usize) -> Option<Mark> {
        if place < MARKED_MIN {
            return None;
        }
        let kept = self.place_of(offset).lock();
        let kept = kept.as_ref().filter(|kept| (kept.segment, kept.offset) == (self.segment, offset))?;
        Some(kept.mark)
    }

    pub fn keep(&self, offset: u64, mark: Mark) {
        *self.place_of(offset).lock() = Some(Kept { segment: self.segment, offset, mark });
    }

    fn place_of(&self, offset: u64) -> &'static Mutex<Option<Kept>> {
        let mixed = (offset ^ self.segment.rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &TABLE[(mixed >> (u64::BITS - PLACES_LOG)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Effort;
    use crate::codec::integers::{encode_with, for_each_group_from};

    #[test]
    fn a_mark_is_that_of_its_block_and_of_whoever_begins_behind_the_first_samples() {
        let mut bytes = Vec::new();
        encode_with(&(0..2_000).map(|i| i * i % 11).collect::<Vec<_>>(), Effort::Best, &mut bytes);
        let mut mark = None;
        for_each_group_from(&mut mark, &bytes, 2_000, 1_000..2_000, |_| {}).unwrap();
        let [one, other] = [Marks::default(), Marks::default()];
        one.keep(17, mark.unwrap());
        assert_eq!(one.near(17, 1_500), mark);
        assert_eq!(
            (one.near(18, 1_500), other.near(17, 1_500), one.near(17, MARKED_MIN - 1)),
            (None, None, None)
        );
    }
}
