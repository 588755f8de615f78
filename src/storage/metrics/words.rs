//! Memory that one thread appends to while others read, without locks: chunks that are allocated once and never
//! move, and words that are atomics.
//!
//! The writer stores words, then publishes how many samples they hold with a Release store (in a [`Slot`]); a
//! reader that loads the count with Acquire sees at least the words behind it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const CHUNK_WORDS: usize = 1 << 15;
/// 4,096 chunks of 256 KiB are 1 GiB for one shard of one generation; a generation is sealed long before.
const CHUNKS_MAX: usize = 4096;

/// Words handed out in blocks that never cross a chunk.
pub(super) struct WordArena {
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// Words handed out; written by the owner alone.
    used: AtomicU64,
}

impl WordArena {
    pub fn new() -> WordArena {
        WordArena { chunks: (0..CHUNKS_MAX).map(|_| OnceLock::new()).collect(), used: AtomicU64::new(0) }
    }

    /// The index of the first of `words` fresh words, which are zero; `None` when the arena is full. Only the
    /// thread that owns the shard may call this.
    pub fn allocate(&self, words: usize) -> Option<u32> {
        let mut at = self.used.load(Ordering::Relaxed) as usize;
        if at % CHUNK_WORDS + words > CHUNK_WORDS {
            at = at.next_multiple_of(CHUNK_WORDS);
        }
        let chunk = self.chunks.get(at / CHUNK_WORDS)?;
        chunk.get_or_init(|| (0..CHUNK_WORDS).map(|_| AtomicU64::new(0)).collect());
        self.used.store((at + words) as u64, Ordering::Relaxed);
        Some(at as u32)
    }

    pub fn store(&self, index: u32, word: u64) {
        self.word(index).store(word, Ordering::Relaxed);
    }

    pub fn load(&self, index: u32) -> u64 {
        self.word(index).load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed) * 8
    }

    fn word(&self, index: u32) -> &AtomicU64 {
        let chunk =
            self.chunks[index as usize / CHUNK_WORDS].get().expect("an index was allocated with its chunk");
        &chunk[index as usize % CHUNK_WORDS]
    }
}

/// Where the samples of one series begin in the arena, and how many may be read.
#[derive(Default)]
pub(super) struct Slot {
    pub first_block: AtomicU32,
    /// Samples in the stream; stored last, with Release.
    pub count: AtomicU32,
    /// Not 0 if the side store knows the series too.
    pub has_side: AtomicU32,
}

const SLOTS_PER_CHUNK: usize = 1024;

/// One [`Slot`] for each series id; chunks of ids that nobody uses cost nothing.
pub(super) struct SlotTable {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
}

impl SlotTable {
    pub fn new(ids_max: usize) -> SlotTable {
        SlotTable { chunks: (0..ids_max.div_ceil(SLOTS_PER_CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    /// The slot of a series, if its chunk is in use.
    pub fn get(&self, id: u32) -> Option<&Slot> {
        let chunk = self.chunks.get(id as usize / SLOTS_PER_CHUNK)?.get()?;
        Some(&chunk[id as usize % SLOTS_PER_CHUNK])
    }

    pub fn get_or_create(&self, id: u32) -> &Slot {
        let chunk = &self.chunks[id as usize / SLOTS_PER_CHUNK];
        let chunk = chunk.get_or_init(|| (0..SLOTS_PER_CHUNK).map(|_| Slot::default()).collect());
        &chunk[id as usize % SLOTS_PER_CHUNK]
    }

    /// Ids whose chunk is in use, in order.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let used = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.get().is_some());
        used.flat_map(|(i, _)| (0..SLOTS_PER_CHUNK).map(move |k| (i * SLOTS_PER_CHUNK + k) as u32))
    }
}
