//! Sealed files as memory, and memory straight from the system: the only `unsafe` of the project.

#![allow(unsafe_code, reason = "mapping is unsafe by nature; who keeps the promise is said at each place")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapMut};

/// The bytes of a sealed file.
pub enum Mapped {
    Map(Mmap),
    /// For file systems that cannot map (tests with injected faults) and for segments under construction.
    Heap(Vec<u8>),
}

impl Mapped {
    /// Maps a whole file read-only. Only for files that were synced and renamed into place.
    pub fn map(file: &File) -> io::Result<Mapped> {
        // SAFETY: the store syncs a segment, renames it into place and never writes it again, and the lock on
        // the data directory keeps our other processes out. Foreign truncation would still be SIGBUS.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapped::Map(map))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Mapped::Map(map) => map,
            Mapped::Heap(bytes) => bytes,
        }
    }
}

/// Words that the system hands out as zeros, a page when it is first written to, and has back at once when they are
/// dropped. An allocator would keep them for the thread that asked for them, as long as that sleeps.
pub struct Words(Source);

enum Source {
    Map(MmapMut),
    /// Where the system maps no more.
    Heap(Box<[AtomicU64]>),
}

impl Words {
    pub fn zeroed(count: usize) -> Words {
        match MmapMut::map_anon(count * size_of::<AtomicU64>()) {
            Ok(map) => Words(Source::Map(map)),
            Err(_) => Words::on_heap(count),
        }
    }

    fn on_heap(count: usize) -> Words {
        Words(Source::Heap((0..count).map(|_| AtomicU64::new(0)).collect()))
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        match &self.0 {
            // SAFETY: a map begins at a page, so it is aligned; it has `len` bytes, all of them zero at first, and any
            // bits are a valid word. It lives as long as `self`, is of this process alone, and nobody but this
            // function looks into it: so all who do share it as atomics.
            Source::Map(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<AtomicU64>())
            },
            Source::Heap(words) => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_are_zero_and_keep_what_any_thread_stores() {
        for words in [Words::zeroed(1 << 15), Words::on_heap(1 << 15)] {
            assert_eq!(words.len(), 1 << 15);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let words = &words;
                    scope.spawn(move || {
                        let own = words.iter().enumerate().skip(thread).step_by(4);
                        own.for_each(|(i, word)| assert_eq!(word.swap(i as u64, Ordering::Relaxed), 0));
                    });
                }
            });
            assert!(words.iter().enumerate().all(|(i, word)| word.load(Ordering::Relaxed) == i as u64));
        }
    }
}
