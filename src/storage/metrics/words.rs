//! Memory that one thread appends to while others read, without locks: chunks that are mapped once and never
//! move, and words that are atomics. When a sealed generation goes, the system has them back.
//!
//! The writer stores words, then publishes how many samples they hold with a Release store (in a [`Slot`]); a
//! reader that loads the count with Acquire sees at least the words behind it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::fs::Words;

const CHUNK_WORDS: usize = 1 << 15;
/// 4,096 chunks of 256 KiB are 1 GiB for one shard of one generation; a generation is sealed long before.
const CHUNKS_MAX: usize = 4096;

/// Words handed out in blocks that never cross a chunk.
pub(super) struct WordArena {
    chunks: Box<[OnceLock<Words>]>,
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
        chunk.get_or_init(|| Words::zeroed(CHUNK_WORDS));
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

/// Where the samples of one series begin in the arena, how many may be read, and whether there is more of it
/// elsewhere: one word, which the shard's thread alone writes, or in a replay who has locked the shard's writer.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a>(pub &'a AtomicU64);

/// What a series has aside of its stream.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Aside {
    /// Late samples or histograms.
    Samples = 1 << 29,
    Exemplars = 1 << 30,
    Starts = 1 << 31,
}

/// As many samples as a slot can count.
pub(super) const COUNT_MAX: u32 = (1 << 29) - 1;

impl Slot<'_> {
    /// Where the stream begins, and how many samples of it may be read.
    pub fn stream(self) -> (u32, u32) {
        let word = self.0.load(Ordering::Acquire);
        ((word >> 32) as u32, word as u32 & COUNT_MAX)
    }

    /// Where the stream begins, if there is anything in it.
    pub fn first_block(self) -> Option<u32> {
        let (block, count) = self.stream();
        (count > 0).then_some(block)
    }

    /// Says where the stream begins, before there is any sample in it.
    pub fn begin(self, first_block: u32) {
        let marks = u64::from(self.0.load(Ordering::Relaxed) as u32);
        self.0.store(u64::from(first_block) << 32 | marks, Ordering::Relaxed);
    }

    /// Lets readers see the first `count` samples of the stream.
    pub fn publish(self, count: u32) {
        assert!(count <= COUNT_MAX, "{count} samples in a stream");
        let rest = self.0.load(Ordering::Relaxed) & !u64::from(COUNT_MAX);
        self.0.store(rest | u64::from(count), Ordering::Release);
    }

    pub fn mark(self, aside: Aside) {
        self.0.store(self.0.load(Ordering::Relaxed) | aside as u64, Ordering::Release);
    }

    pub fn has(self, aside: Aside) -> bool {
        self.0.load(Ordering::Acquire) & aside as u64 != 0
    }

    /// Whether there are samples or exemplars. Who has starts alone has nothing that they would say something about.
    pub fn is_used(self) -> bool {
        self.0.load(Ordering::Acquire) as u32 & !(Aside::Starts as u32) != 0
    }
}

const SLOTS_PER_CHUNK: usize = 1 << 15;

/// One [`Slot`] for each series id; chunks of ids that nobody uses cost nothing, and in those that are used, only pages
/// that are.
pub(super) struct SlotTable {
    chunks: Box<[OnceLock<Words>]>,
}

impl SlotTable {
    pub fn new(ids_max: usize) -> SlotTable {
        SlotTable { chunks: (0..ids_max.div_ceil(SLOTS_PER_CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    /// The slot of a series, if its chunk is in use.
    pub fn get(&self, id: u32) -> Option<Slot<'_>> {
        let chunk = self.chunks.get(id as usize / SLOTS_PER_CHUNK)?.get()?;
        Some(Slot(&chunk[id as usize % SLOTS_PER_CHUNK]))
    }

    pub fn get_or_create(&self, id: u32) -> Slot<'_> {
        let chunk = &self.chunks[id as usize / SLOTS_PER_CHUNK];
        Slot(&chunk.get_or_init(|| Words::zeroed(SLOTS_PER_CHUNK))[id as usize % SLOTS_PER_CHUNK])
    }

    /// Ids whose chunk is in use, and their slots, in order.
    pub fn slots(&self) -> impl Iterator<Item = (u32, Slot<'_>)> + '_ {
        let used = self.chunks.iter().enumerate().filter_map(|(i, chunk)| Some((i, chunk.get()?)));
        used.flat_map(|(i, chunk)| {
            chunk.iter().enumerate().map(move |(k, word)| ((i * SLOTS_PER_CHUNK + k) as u32, Slot(word)))
        })
    }
}
