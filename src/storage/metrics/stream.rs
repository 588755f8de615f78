//! The samples of one series as a stream of bits, appended to one sample at a time.
//!
//! The first sample is stored whole. Each later one begins with a joint mark: `0` same step in time and same
//! value; `10` same step, other value; `11` other step. Times are differences of differences, values are XORed
//! with the value before (Pelkonen et al., "Gorilla", VLDB 2015), so every bit comes back. A constant series on a
//! steady scrape costs one bit a sample.

use super::words::{COUNT_MAX, Slot, WordArena};
use crate::model::Timestamp;

const FIRST_BLOCK_WORDS: u8 = 8;
/// What a stream takes from its first sample on.
pub(super) const STREAM_BYTES_MIN: u64 = FIRST_BLOCK_WORDS as u64 * 8;
const BLOCK_WORDS_MAX: u8 = 32;
/// Up to here blocks do not grow, so that a million series of few samples take little. A changed value takes some 40
/// bits, so the first two blocks have more than this.
const SAMPLES_FEW: u32 = 16;

/// What the writer remembers of a stream; it alone appends. How many samples there are the slot says.
#[derive(Clone, Debug)]
pub(super) struct StreamWriter {
    pub last_time: Timestamp,
    last_step: i64,
    pub last_bits: u64,
    accumulator: u64,
    block: u32,
    /// What it belongs to, for who keeps one of these for each series; to the stream it says nothing.
    pub round: u32,
    /// The word of the block that the accumulator will fill.
    word: u8,
    used_bits: u8,
    /// 0 before the first sample.
    block_words: u8,
    leading: u8,
    width: u8,
    /// Another value for the time of the last sample came later, and is kept elsewhere.
    pub is_last_replaced: bool,
}

// There is one for each active series, and each sample touches one.
const _: () = assert!(size_of::<StreamWriter>() == 48);

/// The head's memory is used up; the sample was not stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ArenaFull;

impl StreamWriter {
    pub fn new() -> StreamWriter {
        StreamWriter::of_round(0)
    }

    pub fn of_round(round: u32) -> StreamWriter {
        StreamWriter {
            last_time: Timestamp::MIN,
            last_step: 0,
            last_bits: 0,
            accumulator: 0,
            block: 0,
            round,
            word: 0,
            used_bits: 0,
            block_words: 0,
            leading: 0,
            // No window of meaningful bits yet: the first changed value brings its own.
            width: 0,
            is_last_replaced: false,
        }
    }

    /// Whether there is no sample yet.
    pub fn is_empty(&self) -> bool {
        self.block_words == 0
    }

    /// Appends a sample that is later than all before it, and publishes it.
    pub fn append(
        &mut self,
        arena: &WordArena,
        slot: Slot<'_>,
        time: Timestamp,
        bits: u64,
    ) -> Result<(), ArenaFull> {
        let count = slot.stream().1;
        debug_assert_eq!(self.is_empty(), count == 0, "a writer goes on in the slot where it began");
        if self.is_empty() {
            self.begin(arena, slot)?;
            self.push(arena, time as u64, 64)?;
            self.push(arena, bits, 64)?;
        } else if count == COUNT_MAX {
            return Err(ArenaFull);
        } else {
            self.reserve(arena, self.bits_at_most(time, bits), count)?;
            self.push_next(arena, time, bits)?;
        }
        self.last_time = time;
        self.last_bits = bits;
        self.is_last_replaced = false;
        if self.used_bits > 0 {
            self.store_word(arena, self.accumulator);
        }
        slot.publish(count + 1);
        Ok(())
    }

    fn push_next(&mut self, arena: &WordArena, time: Timestamp, bits: u64) -> Result<(), ArenaFull> {
        let step = time.wrapping_sub(self.last_time);
        let change = step.wrapping_sub(self.last_step);
        let xor = bits ^ self.last_bits;
        self.last_step = step;
        if change == 0 {
            if xor == 0 {
                return self.push(arena, 0, 1);
            }
            self.push(arena, 0b10, 2)?;
            return self.push_xor(arena, xor);
        }
        self.push(arena, 0b11, 2)?;
        let zigzag = ((change << 1) ^ (change >> 63)) as u64;
        match zigzag {
            0..0x100 => self.push(arena, zigzag, 1 + 8)?,
            0x100..0x1_0000 => self.push(arena, 0b10 << 16 | zigzag, 2 + 16)?,
            0x1_0000..0x1_0000_0000 => self.push(arena, 0b110 << 32 | zigzag, 3 + 32)?,
            _ => {
                self.push(arena, 0b111, 3)?;
                self.push(arena, zigzag, 64)?;
            }
        }
        if xor == 0 {
            return self.push(arena, 0, 1);
        }
        self.push(arena, 1, 1)?;
        self.push_xor(arena, xor)
    }

    /// The bits in which two values differ: within the window of the last change if they fit there and do not
    /// waste it, else with a window of their own.
    fn push_xor(&mut self, arena: &WordArena, xor: u64) -> Result<(), ArenaFull> {
        let (leading, trailing) = (xor.leading_zeros() as u8, xor.trailing_zeros() as u8);
        let width = 64 - leading - trailing;
        let window_trailing = 64 - self.leading - self.width;
        let fits = self.width > 0 && leading >= self.leading && trailing >= window_trailing;
        // A new window costs 12 bits: worth it once it saves as many.
        if fits && self.width < width + 12 {
            self.push(arena, 0, 1)?;
            return self.push(arena, xor >> window_trailing, self.width);
        }
        self.push(arena, 1, 1)?;
        self.push(arena, u64::from(leading) << 6 | u64::from(width - 1), 12)?;
        (self.leading, self.width) = (leading, width);
        self.push(arena, xor >> trailing, width)
    }

    fn push(&mut self, arena: &WordArena, value: u64, bits: u8) -> Result<(), ArenaFull> {
        let free = 64 - self.used_bits;
        if bits < free {
            self.accumulator |= value << (free - bits);
            self.used_bits += bits;
            return Ok(());
        }
        let rest = bits - free;
        self.store_word(arena, self.accumulator | value >> rest);
        self.next_word(arena)?;
        self.accumulator = if rest == 0 { 0 } else { value << (64 - rest) };
        self.used_bits = rest;
        Ok(())
    }

    fn store_word(&self, arena: &WordArena, word: u64) {
        arena.store(self.block + u32::from(self.word), word);
    }

    fn begin(&mut self, arena: &WordArena, slot: Slot<'_>) -> Result<(), ArenaFull> {
        self.block = arena.allocate(FIRST_BLOCK_WORDS.into()).ok_or(ArenaFull)?;
        slot.begin(self.block);
        self.block_words = FIRST_BLOCK_WORDS;
        self.word = 1;
        Ok(())
    }

    /// An upper bound of what a sample will take, good enough not to waste blocks on steady series.
    fn bits_at_most(&self, time: Timestamp, bits: u64) -> u32 {
        let steady = time.wrapping_sub(self.last_time) == self.last_step;
        match (steady, bits == self.last_bits) {
            (true, true) => 1,
            (true, false) => 2 + 1 + 12 + 64,
            (false, _) => 2 + 3 + 64 + 1 + 1 + 12 + 64,
        }
    }

    /// Chains the next block before a sample that may need it, so that no sample fails half-way.
    fn reserve(&mut self, arena: &WordArena, bits: u32, count: u32) -> Result<(), ArenaFull> {
        let words_left = u32::from(self.block_words - self.word);
        if words_left * 64 - u32::from(self.used_bits) <= bits && arena.load(self.block) == 0 {
            let words = if count < SAMPLES_FEW {
                FIRST_BLOCK_WORDS
            } else {
                (self.block_words * 2).min(BLOCK_WORDS_MAX)
            };
            let next = arena.allocate(words.into()).ok_or(ArenaFull)?;
            arena.store(self.block, link(next, words));
        }
        Ok(())
    }

    fn next_word(&mut self, arena: &WordArena) -> Result<(), ArenaFull> {
        self.word += 1;
        if self.word == self.block_words {
            let (next, words) = unlink(arena.load(self.block)).ok_or(ArenaFull)?;
            (self.block, self.block_words, self.word) = (next, words, 1);
        }
        Ok(())
    }
}

/// The first word of a block says where the next one is and how long: length in the upper half, never 0.
fn link(block: u32, words: u8) -> u64 {
    u64::from(words) << 32 | u64::from(block)
}

fn unlink(link: u64) -> Option<(u32, u8)> {
    let words = (link >> 32) as u8;
    (words > 0).then_some((link as u32, words))
}

/// Where the stream goes on behind a block, or will.
pub(super) fn next_block(arena: &WordArena, block: u32) -> Option<u32> {
    unlink(arena.load(block)).map(|(next, _)| next)
}

/// The time of the first sample, if there is one.
pub(super) fn first_time(arena: &WordArena, slot: Slot<'_>) -> Option<Timestamp> {
    slot.first_block().map(|block| arena.load(block + 1) as Timestamp)
}

/// Visits the published samples of a stream in order of time.
pub(super) fn read_stream(arena: &WordArena, slot: Slot<'_>, mut visit: impl FnMut(Timestamp, u64)) {
    let (first_block, count) = slot.stream();
    if count == 0 {
        return;
    }
    let mut bits = BitReader::new(arena, first_block);
    let mut time = bits.take(64) as i64;
    let mut value = bits.take(64);
    let (mut step, mut leading, mut width) = (0i64, 0u8, 0u8);
    visit(time, value);
    for _ in 1..count {
        let changed = if bits.take(1) == 0 {
            false
        } else if bits.take(1) == 0 {
            true
        } else {
            step = step.wrapping_add(take_step_change(&mut bits));
            bits.take(1) == 1
        };
        time = time.wrapping_add(step);
        if changed {
            if bits.take(1) == 1 {
                let window = bits.take(12);
                (leading, width) = ((window >> 6) as u8, (window & 63) as u8 + 1);
            }
            value ^= bits.take(width) << (64 - leading - width);
        }
        visit(time, value);
    }
}

fn take_step_change(bits: &mut BitReader<'_>) -> i64 {
    let zigzag = if bits.take(1) == 0 {
        bits.take(8)
    } else if bits.take(1) == 0 {
        bits.take(16)
    } else if bits.take(1) == 0 {
        bits.take(32)
    } else {
        bits.take(64)
    };
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

struct BitReader<'a> {
    arena: &'a WordArena,
    block: u32,
    block_words: u32,
    word: u32,
    current: u64,
    left: u8,
}

impl BitReader<'_> {
    fn new(arena: &WordArena, block: u32) -> BitReader<'_> {
        let current = arena.load(block + 1);
        BitReader { arena, block, block_words: FIRST_BLOCK_WORDS.into(), word: block + 1, current, left: 64 }
    }

    fn take(&mut self, bits: u8) -> u64 {
        if bits < self.left {
            self.left -= bits;
            return self.current >> self.left & mask(bits);
        }
        let high = self.current & mask(self.left);
        let rest = bits - self.left;
        self.next_word();
        self.left = 64 - rest;
        if rest == 0 {
            high
        } else if rest == 64 {
            self.current
        } else {
            high << rest | self.current >> self.left
        }
    }

    fn next_word(&mut self) {
        self.word += 1;
        if self.word == self.block + self.block_words {
            // At the very end of the stream there is no next block, and nothing more will be taken.
            let Some((next, words)) = unlink(self.arena.load(self.block)) else { return };
            (self.block, self.block_words) = (next, words.into());
            self.word = next + 1;
        }
        self.current = self.arena.load(self.word);
    }
}

fn mask(bits: u8) -> u64 {
    if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;

    fn round_trip(samples: &[(Timestamp, u64)]) -> Vec<(Timestamp, u64)> {
        let (arena, word) = (WordArena::new(), AtomicU64::new(0));
        let mut writer = StreamWriter::new();
        for &(time, bits) in samples {
            writer.append(&arena, Slot(&word), time, bits).unwrap();
        }
        let mut read = Vec::new();
        read_stream(&arena, Slot(&word), |time, bits| read.push((time, bits)));
        assert_eq!(first_time(&arena, Slot(&word)), read.first().map(|sample| sample.0));
        read
    }

    #[test]
    fn a_constant_series_on_a_steady_scrape_costs_one_bit_a_sample() {
        let (arena, word) = (WordArena::new(), AtomicU64::new(0));
        let mut writer = StreamWriter::new();
        for i in 0..300 {
            writer.append(&arena, Slot(&word), i * 15_000, 1f64.to_bits()).unwrap();
        }
        assert_eq!(arena.bytes(), 64, "two samples in full and 298 bits fit the first block of 64 bytes");
    }

    #[test]
    fn a_reader_beside_the_writer_sees_a_prefix() {
        let (arena, word) = (WordArena::new(), AtomicU64::new(0));
        let value = |i: i64| (i as f64 * 1.7).to_bits();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = StreamWriter::new();
                for i in 0..20_000 {
                    writer.append(&arena, Slot(&word), i * 10 + i % 3, value(i)).unwrap();
                }
            });
            let mut last = 0;
            while last < 20_000 {
                let mut i = 0;
                read_stream(&arena, Slot(&word), |time, bits| {
                    assert_eq!((time, bits), (i * 10 + i % 3, value(i)));
                    i += 1;
                });
                assert!(i >= last);
                last = i;
            }
        });
    }

    #[test]
    fn ten_changing_samples_take_two_short_blocks() {
        let (arena, word) = (WordArena::new(), AtomicU64::new(0));
        let mut writer = StreamWriter::new();
        for i in 0..10 {
            writer.append(&arena, Slot(&word), i * 15_000, (i as f64 * 1.7).to_bits()).unwrap();
        }
        assert_eq!(arena.bytes(), 128);
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(
            steps in prop::collection::vec((prop_oneof![Just(15_000i64), 1..20_000i64, 1..i64::MAX / 4096], any_bits()), 1..600),
        ) {
            let mut time = -5_000_000i64;
            let samples: Vec<_> = steps.into_iter().map(|(step, bits)| { time = time.saturating_add(step); (time, bits) }).collect();
            prop_assert_eq!(round_trip(&samples), samples);
        }
    }

    fn any_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (0..100u32).prop_map(|n| f64::from(n).to_bits()),
            (0..1_000_000u32).prop_map(|n| (f64::from(n) / 1000.0).to_bits()),
            Just(crate::model::metrics::STALE_NAN),
            Just((-0.0f64).to_bits()),
        ]
    }
}
