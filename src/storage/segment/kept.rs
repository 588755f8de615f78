//! Decoded chunks of tables that are kept for the next query. Dashboards ask again and again for the same few series of each
//! metric, that is for some rows of every chunk, and to decode a chunk takes as long as to read some hundred samples.
//!
//! The chunks of all segments share one room in memory, and who was not asked for longest goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::ChunkCache;

/// A hundred thousand series of node_exporter take 11 MiB.
const ROOM_BYTES: usize = 16 << 20;

static ROOM: LazyLock<Arc<Room>> = LazyLock::new(|| Arc::new(Room::new(ROOM_BYTES)));

/// The chunks of one table. A chunk is kept when it is decoded for the second time: so who walks through a whole segment once, as a
/// merge does, drives nothing out.
pub struct KeptChunks<T> {
    room: Arc<Room>,
    last: ChunkCache<T>,
    /// By number: what was decoded before.
    seen: Mutex<HashMap<u64, Seen<T>, RandomState>>,
}

enum Seen<T> {
    Once,
    Kept(Arc<Kept<T>>),
}

/// What all kept chunks may take together.
struct Room {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Those that are kept, and some that are gone with their segments; who goes next is in front.
    queue: Mutex<VecDeque<Weak<dyn Leaves>>>,
}

/// A chunk in the room.
struct Kept<T> {
    room: Arc<Room>,
    bytes: usize,
    /// Since it was last in front of the queue.
    was_used: AtomicBool,
    /// None when it had to leave.
    chunk: Mutex<Option<Arc<T>>>,
}

/// What the room knows of a chunk.
trait Leaves: Send + Sync {
    /// Leaves the room, but not if it was used since it was asked last.
    fn leaves(&self) -> bool;
}

impl<T: Send + Sync + 'static> Default for KeptChunks<T> {
    fn default() -> KeptChunks<T> {
        KeptChunks::within(ROOM.clone())
    }
}

impl<T: Send + Sync + 'static> KeptChunks<T> {
    fn within(room: Arc<Room>) -> KeptChunks<T> {
        KeptChunks { room, last: ChunkCache::default(), seen: Mutex::default() }
    }

    /// The chunk, decoded now unless it is there; `bytes` says how many it takes in memory.
    pub fn get<E>(
        &self,
        chunk: u64,
        bytes: impl FnOnce(&T) -> usize,
        decode: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        self.last.get_shared(chunk, || {
            if let Some(kept) = self.kept(chunk) {
                return Ok(kept);
            }
            let decoded = Arc::new(decode()?);
            self.keep_second(chunk, &decoded, bytes);
            Ok(decoded)
        })
    }

    fn kept(&self, chunk: u64) -> Option<Arc<T>> {
        match self.seen.lock().get(&chunk)? {
            Seen::Once => None,
            Seen::Kept(kept) => {
                kept.was_used.store(true, Ordering::Relaxed);
                kept.chunk.lock().clone()
            }
        }
    }

    fn keep_second(&self, chunk: u64, decoded: &Arc<T>, bytes: impl FnOnce(&T) -> usize) {
        let mut seen = self.seen.lock();
        if seen.insert(chunk, Seen::Once).is_none() {
            return;
        }
        let kept = Arc::new(Kept {
            room: self.room.clone(),
            bytes: bytes(decoded),
            was_used: AtomicBool::new(false),
            chunk: Mutex::new(Some(decoded.clone())),
        });
        seen.insert(chunk, Seen::Kept(kept.clone()));
        // Others that leave may be of this table, but they are in no need of its lock.
        drop(seen);
        self.room.enter(kept.bytes, Arc::downgrade(&kept) as Weak<dyn Leaves>);
    }
}

impl Room {
    fn new(bytes_max: usize) -> Room {
        Room { bytes_max, bytes: AtomicUsize::new(0), queue: Mutex::default() }
    }

    fn enter(&self, bytes: usize, kept: Weak<dyn Leaves>) {
        let mut queue = self.queue.lock();
        queue.push_back(kept);
        // Now and then, so that those that went with their segments do not pile up in a room that is never full.
        if queue.len().is_power_of_two() {
            queue.retain(|kept| kept.strong_count() > 0);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Each is asked twice at most: the second time it was not used since.
        for _ in 0..2 * queue.len() {
            if self.bytes.load(Ordering::Relaxed) <= self.bytes_max {
                break;
            }
            let Some(front) = queue.pop_front() else { break };
            if front.upgrade().is_some_and(|kept| !kept.leaves()) {
                queue.push_back(front);
            }
        }
    }
}

impl<T: Send + Sync> Leaves for Kept<T> {
    fn leaves(&self) -> bool {
        if self.was_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        if self.chunk.lock().take().is_some() {
            self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        true
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if self.chunk.get_mut().is_some() {
            self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const CHUNK_BYTES: usize = 100;

    /// Asks for a chunk; answers whether it was decoded for that.
    fn is_decoded(chunks: &KeptChunks<u64>, chunk: u64) -> bool {
        let mut is_decoded = false;
        let decode = || {
            is_decoded = true;
            Ok::<u64, Infallible>(chunk * 7)
        };
        assert_eq!(*chunks.get(chunk, |_| CHUNK_BYTES, decode).unwrap(), chunk * 7);
        is_decoded
    }

    fn chunks_in(room: &Arc<Room>) -> KeptChunks<u64> {
        KeptChunks::within(room.clone())
    }

    fn bytes_of(room: &Room) -> usize {
        room.bytes.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_decoded_twice_is_kept() {
        let room = Arc::new(Room::new(100 * CHUNK_BYTES));
        let chunks = chunks_in(&room);
        assert!((0..50).all(|chunk| is_decoded(&chunks, chunk)));
        assert_eq!(bytes_of(&room), 0, "a walk through all keeps nothing");
        assert!((0..50).all(|chunk| is_decoded(&chunks, chunk)));
        assert!((0..50).all(|chunk| !is_decoded(&chunks, chunk)));
        assert_eq!(bytes_of(&room), 50 * CHUNK_BYTES);
    }

    #[test]
    fn the_room_never_overflows_and_what_is_used_stays() {
        let room = Arc::new(Room::new(10 * CHUNK_BYTES));
        let (used, others) = (chunks_in(&room), chunks_in(&room));
        // Multiples of four drive each other out of the one slot of those decoded last.
        let ask_for_used = || (0..5).filter(|&chunk| is_decoded(&used, 4 * chunk)).count();
        assert_eq!((ask_for_used(), ask_for_used(), ask_for_used()), (5, 5, 0));
        for chunk in 0..1_000 {
            assert!([8 * chunk, 8 * chunk + 4, 8 * chunk].iter().all(|&chunk| is_decoded(&others, chunk)));
            assert!(bytes_of(&room) <= 10 * CHUNK_BYTES);
            assert_eq!(ask_for_used(), 0, "after {chunk} others");
        }
    }

    #[test]
    fn what_had_to_leave_is_kept_when_it_is_asked_for_again() {
        let room = Arc::new(Room::new(10 * CHUNK_BYTES));
        let chunks = chunks_in(&room);
        for _ in 0..2 {
            (0..20).for_each(|chunk| assert!(is_decoded(&chunks, chunk)));
        }
        assert!(
            (0..8).all(|chunk| is_decoded(&chunks, chunk)) && (0..8).all(|chunk| !is_decoded(&chunks, chunk))
        );
        assert!(room.queue.lock().len() <= 11);
    }

    #[test]
    fn a_segment_that_goes_takes_its_chunks_along() {
        let room = Arc::new(Room::new(10 * CHUNK_BYTES));
        let chunks = chunks_in(&room);
        let keep_five =
            |chunks: &KeptChunks<u64>| (0..10).for_each(|i| assert!(is_decoded(chunks, 4 * (i % 5))));
        keep_five(&chunks);
        assert_eq!(bytes_of(&room), 5 * CHUNK_BYTES);
        drop(chunks);
        assert_eq!(bytes_of(&room), 0);
        for _ in 0..100 {
            keep_five(&chunks_in(&room));
        }
        assert!(room.queue.lock().len() < 16);
    }
}
