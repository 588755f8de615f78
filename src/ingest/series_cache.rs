//! From the hash of a series' raw label bytes to its verdict: the reference to write under, or a refusal.
//!
//! Labels are parsed and checked once for each spelling; afterwards a series costs one hash and, where a sender
//! keeps its order, one comparison: entries lie in the order in which they were first seen, so the series after
//! the last one is most likely the entry after the last one, and the index is not touched.
//!
//! Reading takes no lock. An entry is written once, under the writers' lock, before its number is published, and
//! never again (starts, which only some senders tell, stand beside). A [`Generation`] is bounded and belongs to one series epoch of the
//! store: when it is full or the epoch has passed, a new one begins empty, and costs each series one parse.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::model::Timestamp;
use crate::storage::metrics::SeriesRef;

use super::admission::Reason;

// Twice the default series limit: 4 Mi × (24 B, 32 with starts, + 2 to 4 slots of 4 B) is at most 200 MiB.
pub(super) const ENTRIES_MAX: usize = 1 << 22;

// 4096 × 24 B = 96 KiB at a time.
const CHUNK_ENTRIES: usize = 1 << 12;

const INDEX_SLOTS_MIN: usize = 1 << 10;

/// What became of a spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Series(SeriesRef),
    /// Only for reasons that lie in the labels themselves; one that passes with time is never kept.
    Refused(Reason),
}

/// `start` of a series of which none was told.
const NO_START: Timestamp = 0;

#[derive(Default)]
struct Entry {
    hash_low: AtomicU64,
    hash_high: AtomicU64,
    verdict: AtomicU64,
}

#[derive(Default)]
struct Chunk {
    entries: OnceLock<Box<[Entry]>>,
    /// The start of each series that the store was last told, from the first that is told on: many senders tell none.
    starts: OnceLock<Box<[AtomicI64]>>,
}

/// A spelling that was not in the cache, to be added at the end of its request.
#[derive(Clone, Copy, Debug)]
struct Miss {
    hash: u128,
    verdict: Verdict,
    start: Timestamp,
}

/// Hashes spellings with a secret of this process: 128 bits, so that two never share one by chance, and seeded,
/// so that nobody outside can make two share one.
pub(super) struct SpellingHash {
    secret: [u8; 192],
}

impl SpellingHash {
    pub fn new() -> SpellingHash {
        // The standard library seeds each `RandomState` from the operating system's randomness.
        let random = RandomState::new();
        let mut secret = [0; 192];
        for (i, word) in secret.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&random.hash_one(i).to_le_bytes());
        }
        SpellingHash { secret }
    }

    #[inline]
    pub fn of(&self, spelling: &[u8]) -> u128 {
        xxh3_128_with_secret(spelling, &self.secret)
    }
}

pub(super) struct SeriesCache {
    entries_max: usize,
    current: ArcSwap<Generation>,
    writers: Mutex<()>,
}

struct Generation {
    epoch: u64,
    entries_max: usize,
    /// Entry `i` is number `i % CHUNK_ENTRIES` of chunk `i / CHUNK_ENTRIES`.
    chunks: Box<[Chunk]>,
    /// How many entries can be read.
    len: AtomicU32,
    /// Replaced by one of twice the size when half full; who still holds the old one only misses more.
    index: ArcSwap<Index>,
}

/// Open addressing with linear probing: 0, or the number of an entry plus one.
struct Index {
    slots: Box<[AtomicU32]>,
}

/// The cache as one request sees it.
pub(super) struct Lookup<'a> {
    cache: &'a SeriesCache,
    generation: Arc<Generation>,
    index: Arc<Index>,
    len: u32,
    /// The entry that is most likely the next.
    predicted: u32,
    pub hit_count: u64,
    pub miss_count: u64,
    misses: Vec<Miss>,
    /// Of entries, to be noted there when the store has taken them.
    starts: Vec<(u32, Timestamp)>,
}

/// Where a spelling's verdict stands: in an entry, or among what this request missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Entry(u32),
    Missed(usize),
}

impl SeriesCache {
    pub fn new(entries_max: usize, epoch: u64) -> SeriesCache {
        SeriesCache {
            entries_max,
            current: ArcSwap::from_pointee(Generation::new(epoch, entries_max)),
            writers: Mutex::new(()),
        }
    }

    /// The cache for a request; `epoch` reads the store's present series epoch.
    pub fn lookup(&self, epoch: impl Fn() -> u64) -> Lookup<'_> {
        let mut generation = self.current.load_full();
        if generation.epoch != epoch() {
            let _writing = self.writers.lock();
            // Read again: whoever held the lock before may have begun the new generation.
            let epoch = epoch();
            if self.current.load().epoch != epoch {
                self.current.store(Arc::new(Generation::new(epoch, self.entries_max)));
            }
            generation = self.current.load_full();
        }
        let index = generation.index.load_full();
        let len = generation.len.load(Ordering::Acquire);
        Lookup {
            cache: self,
            generation,
            index,
            len,
            predicted: 0,
            hit_count: 0,
            miss_count: 0,
            misses: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// How many spellings are known now.
    pub fn len(&self) -> usize {
        self.current.load().len.load(Ordering::Relaxed) as usize
    }

    /// Adds what one request missed, side by side, so that the next such request finds them in its order.
    fn insert(&self, generation: &Arc<Generation>, misses: &[Miss]) {
        let _writing = self.writers.lock();
        let current = self.current.load_full();
        if !Arc::ptr_eq(&current, generation) {
            return;
        }
        if current.is_full_after(misses.len()) {
            self.current.store(Arc::new(Generation::new(current.epoch, self.entries_max)));
            return;
        }
        for miss in misses {
            current.add(miss);
        }
    }
}

impl Lookup<'_> {
    /// The series epoch under which all answers are valid.
    pub fn epoch(&self) -> u64 {
        self.generation.epoch
    }

    /// What is known of the spelling with this hash.
    #[inline]
    pub fn get(&mut self, hash: u128) -> Option<(Place, Verdict)> {
        let id = match self.predicted {
            id if id < self.len && self.generation.entry(id).has_hash(hash) => id,
            _ => self.generation.find(&self.index, hash)?,
        };
        self.predicted = id + 1;
        self.hit_count += 1;
        Some((Place::Entry(id), unpack(self.generation.entry(id).verdict.load(Ordering::Relaxed))))
    }

    /// Notes an answer that [`Lookup::get`] did not have; others find it after [`Lookup::commit`].
    pub fn missed(&mut self, hash: u128, verdict: Verdict) -> Place {
        self.miss_count += 1;
        self.misses.push(Miss { hash, verdict, start: NO_START });
        Place::Missed(self.misses.len() - 1)
    }

    /// Notes that the series starts at `start`, and says whether that is news to the store.
    pub fn is_new_start(&mut self, place: Place, start: Timestamp) -> bool {
        match place {
            Place::Missed(at) => std::mem::replace(&mut self.misses[at].start, start) != start,
            Place::Entry(id) => {
                let told = self.generation.start(id);
                let is_new = told != start && self.starts.last() != Some(&(id, start));
                if is_new {
                    self.starts.push((id, start));
                }
                is_new
            }
        }
    }

    /// The store has taken the request: makes what was missed and what started known to the next.
    pub fn commit(&mut self) {
        for (id, start) in self.starts.drain(..) {
            self.generation.set_start(id, start);
        }
        if !self.misses.is_empty() {
            self.cache.insert(&self.generation, &self.misses);
            self.misses.clear();
        }
    }

    /// The store has not taken the request: the verdicts hold, but no start was told.
    pub fn commit_verdicts(&mut self) {
        self.starts.clear();
        self.misses.iter_mut().for_each(|miss| miss.start = NO_START);
        self.commit();
    }
}

impl Generation {
    fn new(epoch: u64, entries_max: usize) -> Generation {
        Generation {
            epoch,
            entries_max,
            chunks: (0..entries_max.div_ceil(CHUNK_ENTRIES)).map(|_| Chunk::default()).collect(),
            len: AtomicU32::new(0),
            index: ArcSwap::from_pointee(Index::new(INDEX_SLOTS_MIN)),
        }
    }

    fn entry(&self, id: u32) -> &Entry {
        let entries = self.chunks[id as usize / CHUNK_ENTRIES].entries.get();
        &entries.expect("an entry is written before its number is known")[id as usize % CHUNK_ENTRIES]
    }

    fn start(&self, id: u32) -> Timestamp {
        let starts = self.chunks[id as usize / CHUNK_ENTRIES].starts.get();
        starts.map_or(NO_START, |starts| starts[id as usize % CHUNK_ENTRIES].load(Ordering::Relaxed))
    }

    fn set_start(&self, id: u32, start: Timestamp) {
        let starts = self.chunks[id as usize / CHUNK_ENTRIES]
            .starts
            .get_or_init(|| (0..CHUNK_ENTRIES).map(|_| AtomicI64::new(NO_START)).collect());
        starts[id as usize % CHUNK_ENTRIES].store(start, Ordering::Relaxed);
    }

    fn find(&self, index: &Index, hash: u128) -> Option<u32> {
        let mask = index.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            // Acquire pairs with the Release in `Index::put`: the entry behind a number is complete.
            match index.slots[at].load(Ordering::Acquire) {
                0 => return None,
                number if self.entry(number - 1).has_hash(hash) => return Some(number - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn is_full_after(&self, added: usize) -> bool {
        self.len.load(Ordering::Relaxed) as usize + added > self.entries_max
    }

    /// Under the writers' lock only.
    fn add(&self, miss: &Miss) {
        let mut index = self.index.load_full();
        // A request may name a series twice, and two requests may miss the same one.
        if self.find(&index, miss.hash).is_some() {
            return;
        }
        let id = self.len.load(Ordering::Relaxed);
        self.chunks[id as usize / CHUNK_ENTRIES]
            .entries
            .get_or_init(|| (0..CHUNK_ENTRIES).map(|_| Entry::default()).collect());
        self.entry(id).write(miss);
        if miss.start != NO_START {
            self.set_start(id, miss.start);
        }
        if 2 * (id as usize + 1) > index.slots.len() {
            index = Arc::new(self.reindexed(2 * index.slots.len(), id));
            self.index.store(index.clone());
        }
        index.put(miss.hash, id);
        // Release: whoever reads this length may predict the entry.
        self.len.store(id + 1, Ordering::Release);
    }

    /// An index of the first `len` entries.
    fn reindexed(&self, slot_count: usize, len: u32) -> Index {
        let index = Index::new(slot_count);
        for id in 0..len {
            index.put(self.entry(id).hash(), id);
        }
        index
    }
}

impl Index {
    fn new(slot_count: usize) -> Index {
        Index { slots: (0..slot_count).map(|_| AtomicU32::new(0)).collect() }
    }

    fn put(&self, hash: u128, id: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].load(Ordering::Relaxed) != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at].store(id + 1, Ordering::Release);
    }
}

impl Entry {
    fn write(&self, miss: &Miss) {
        self.hash_low.store(miss.hash as u64, Ordering::Relaxed);
        self.hash_high.store((miss.hash >> 64) as u64, Ordering::Relaxed);
        self.verdict.store(pack(miss.verdict), Ordering::Relaxed);
    }

    fn hash(&self) -> u128 {
        let high = self.hash_high.load(Ordering::Relaxed) as u128;
        high << 64 | self.hash_low.load(Ordering::Relaxed) as u128
    }

    #[inline]
    fn has_hash(&self, hash: u128) -> bool {
        self.hash() == hash
    }
}

const REFUSED: u64 = 1 << 63;

fn pack(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Series(series) => {
            assert!(series.shard < 1 << 31, "shard {} does not fit", series.shard);
            (series.shard as u64) << 32 | series.id as u64
        }
        Verdict::Refused(reason) => REFUSED | reason as u64,
    }
}

#[inline]
fn unpack(packed: u64) -> Verdict {
    if packed & REFUSED != 0 {
        return Verdict::Refused(Reason::ALL[(packed & !REFUSED) as usize]);
    }
    Verdict::Series(SeriesRef { shard: (packed >> 32) as u32, id: packed as u32 })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicBool;

    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn hash(key: u32) -> u128 {
        xxh3_128(&key.to_le_bytes())
    }

    fn series(key: u32) -> Verdict {
        Verdict::Series(SeriesRef { shard: key % 3, id: key })
    }

    fn insert(cache: &SeriesCache, keys: impl Iterator<Item = u32>) {
        let mut lookup = cache.lookup(|| 0);
        for key in keys {
            lookup.missed(hash(key), series(key));
        }
        lookup.commit();
    }

    #[test]
    fn what_a_request_missed_the_next_one_finds_in_its_order() {
        let cache = SeriesCache::new(1 << 16, 0);
        insert(&cache, 0..10_000);
        insert(&cache, 5_000..20_000);
        assert_eq!(cache.len(), 20_000);
        let mut lookup = cache.lookup(|| 0);
        for key in (0..20_000).chain([7, 7, 19_999, 0]) {
            assert_eq!(lookup.get(hash(key)).unwrap(), (Place::Entry(key), series(key)));
        }
        assert_eq!(lookup.get(hash(20_000)), None);
        assert_eq!(lookup.hit_count, 20_004);
    }

    #[test]
    fn every_verdict_comes_back() {
        let cache = SeriesCache::new(1 << 12, 0);
        let mut verdicts: Vec<Verdict> = Reason::ALL.iter().map(|&r| Verdict::Refused(r)).collect();
        verdicts.push(Verdict::Series(SeriesRef { shard: (1 << 31) - 1, id: u32::MAX }));
        let mut lookup = cache.lookup(|| 0);
        for (i, &verdict) in verdicts.iter().enumerate() {
            lookup.missed(hash(i as u32), verdict);
        }
        lookup.commit();
        let mut lookup = cache.lookup(|| 0);
        for (i, &verdict) in verdicts.iter().enumerate() {
            assert_eq!(lookup.get(hash(i as u32)).unwrap().1, verdict);
        }
    }

    #[test]
    fn a_new_epoch_forgets_everything() {
        let cache = SeriesCache::new(1 << 12, 0);
        insert(&cache, 0..10);
        let mut lookup = cache.lookup(|| 1);
        assert_eq!((lookup.epoch(), lookup.get(hash(3))), (1, None));
    }

    #[test]
    fn an_answer_of_a_passed_epoch_is_not_kept() {
        let cache = SeriesCache::new(1 << 12, 0);
        let mut late = cache.lookup(|| 0);
        late.missed(hash(1), series(1));
        let _now = cache.lookup(|| 1);
        late.commit();
        assert_eq!(cache.lookup(|| 1).get(hash(1)), None);
    }

    #[test]
    fn a_full_cache_begins_anew() {
        let cache = SeriesCache::new(100, 0);
        insert(&cache, 0..100);
        assert_eq!(cache.len(), 100);
        insert(&cache, 100..101);
        assert_eq!(cache.len(), 0);
        insert(&cache, 0..1000);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_start_is_news_until_the_store_has_taken_it() {
        let cache = SeriesCache::new(100, 0);
        let mut first = cache.lookup(|| 0);
        let place = first.missed(hash(1), series(1));
        assert!(first.is_new_start(place, 77));
        assert!(!first.is_new_start(place, 77));
        first.commit_verdicts();
        for (expected, is_taken) in [(true, false), (true, true), (false, true)] {
            let mut lookup = cache.lookup(|| 0);
            let (place, _) = lookup.get(hash(1)).unwrap();
            assert_eq!(lookup.is_new_start(place, 77), expected);
            assert!(!lookup.is_new_start(place, 77));
            if is_taken { lookup.commit() } else { lookup.commit_verdicts() }
        }
    }

    #[test]
    fn the_start_of_one_says_nothing_of_its_neighbours() {
        let cache = SeriesCache::new(1 << 14, 0);
        insert(&cache, 0..10_000);
        let mut lookup = cache.lookup(|| 0);
        let place = |lookup: &mut Lookup<'_>, key| lookup.get(hash(key)).unwrap().0;
        let told = place(&mut lookup, 5000);
        assert!(lookup.is_new_start(told, 77));
        let missed = lookup.missed(hash(10_000), series(10_000));
        assert!(lookup.is_new_start(missed, 78));
        lookup.commit();
        let mut lookup = cache.lookup(|| 0);
        for (key, start, is_new) in
            [(5000, 77, false), (5000, 78, true), (4999, 77, true), (10_000, 78, false), (9999, 78, true)]
        {
            let place = place(&mut lookup, key);
            assert_eq!(lookup.is_new_start(place, start), is_new, "start {start} of {key}");
        }
    }

    #[test]
    fn readers_see_what_a_map_would_hold_while_others_write() {
        let cache = SeriesCache::new(1 << 16, 0);
        let truth: HashMap<u32, Verdict> = (0..30_000).map(|key| (key, series(key))).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for reader in 0..2 {
                let (cache, truth, done) = (&cache, &truth, &done);
                scope.spawn(move || {
                    let mut seen_max = 0;
                    while !done.load(Ordering::Relaxed) {
                        let mut lookup = cache.lookup(|| 0);
                        let keys = (0..30_000).map(|i| (i * (2 * reader + 1)) % 30_000);
                        let seen = keys.filter(|&key| match lookup.get(hash(key)) {
                            Some((_, verdict)) => verdict == truth[&key],
                            None => false,
                        });
                        let seen = seen.count();
                        assert!(seen >= seen_max, "an entry disappeared");
                        seen_max = seen;
                    }
                });
            }
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let cache = &cache;
                    scope.spawn(move || {
                        for from in (0..30_000).step_by(500) {
                            let from = (from + writer * 10_000) % 30_000;
                            insert(cache, from..(from + 700).min(30_000));
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|w| w.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        let mut lookup = cache.lookup(|| 0);
        assert!(truth.iter().all(|(&key, &verdict)| lookup.get(hash(key)).unwrap().1 == verdict));
        assert_eq!(cache.len(), 30_000);
    }
}
