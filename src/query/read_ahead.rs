//! Series are read by other threads while the ones before them are evaluated, and parts of large answers are written by
//! them. They come in the order they were asked for, whoever made them, so an answer does not depend on how many threads
//! there are.
//!
//! All queries share these threads, and take turns at them batch by batch: a heavy query keeps a light one waiting for
//! some batches, and not for all of its own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, LazyLock};

use crossbeam::channel::{Sender, unbounded};
use parking_lot::Mutex;

use crate::model::thread_count;

/// Below that a query is done before another thread is awake.
pub const SAMPLES_MIN: u64 = 20_000;

type Job = Box<dyn FnOnce() + Send>;

/// None if no thread could be started.
static READERS: LazyLock<Option<Sender<Job>>> = LazyLock::new(|| {
    let (jobs, queue) = unbounded::<Job>();
    let started = (0..thread_count()).filter(|_| {
        let queue = queue.clone();
        let run = move || {
            for job in queue {
                // Who waits for it notices that nothing came.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new().name("reader".into()).spawn(run).is_ok()
    });
    (started.count() > 0).then_some(jobs)
});

/// How many batches are read, or wait to be or to be evaluated, at one time at most.
pub fn in_flight_max() -> usize {
    3 * thread_count()
}

/// What is made of the numbers from 0 on, a batch of them at a time: to wake a thread takes as long as to read some
/// thousand samples.
pub struct ReadAhead<T> {
    shared: Arc<Shared<T>>,
    /// What is not yet asked for.
    left: Range<usize>,
    batch_len: usize,
    asked: VecDeque<Receiver<Vec<T>>>,
    batch: std::vec::IntoIter<T>,
}

/// How a thread makes one.
pub type Maker<T> = Box<dyn FnMut(usize) -> T + Send>;

/// What threads need to make a batch. Jobs that wait have no hold on it, so it is gone with who asked.
struct Shared<T> {
    new_maker: Box<dyn Fn() -> Maker<T> + Send + Sync>,
    /// Those that are not at work, with the memory they have.
    makers: Mutex<Vec<Maker<T>>>,
    /// Nobody waits any more.
    is_over: AtomicBool,
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Each thread at work has a maker of its own. None if there are no threads.
    pub fn start(
        count: usize,
        batch_len: usize,
        new_maker: impl Fn() -> Maker<T> + Send + Sync + 'static,
    ) -> Option<ReadAhead<T>> {
        READERS.as_ref()?;
        let (new_maker, makers, is_over) = (Box::new(new_maker), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { new_maker, makers, is_over });
        let (left, asked, batch) = (0..count, VecDeque::new(), Vec::new().into_iter());
        let mut ahead = ReadAhead { shared, left, batch_len, asked, batch };
        (0..in_flight_max()).for_each(|_| ahead.ask());
        Some(ahead)
    }

    fn ask(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let batch = self.left.start..self.left.end.min(self.left.start + self.batch_len);
        self.left.start = batch.end;
        let (send, made) = sync_channel(1);
        self.asked.push_back(made);
        let shared = Arc::downgrade(&self.shared);
        let job = move || {
            if let Some(made) = shared.upgrade().and_then(|shared| shared.make(batch)) {
                let _ = send.send(made);
            }
        };
        let readers = READERS.as_ref().expect("there were threads at the start");
        readers.send(Box::new(job)).expect("threads end with the process");
    }
}

/// What was made of each number, in their order.
impl<T: Send + 'static> Iterator for ReadAhead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if let Some(made) = self.batch.next() {
            return Some(made);
        }
        let made = self.asked.pop_front()?.recv().ok()?;
        self.ask();
        self.batch = made.into_iter();
        self.batch.next()
    }
}

impl<T> Shared<T> {
    /// None if nobody waits for it.
    fn make(&self, batch: Range<usize>) -> Option<Vec<T>> {
        let idle = self.makers.lock().pop();
        let mut maker = idle.unwrap_or_else(|| (self.new_maker)());
        let mut made = Vec::with_capacity(batch.len());
        for at in batch {
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
            made.push(maker(at));
        }
        self.makers.lock().push(maker);
        Some(made)
    }
}

impl<T> Drop for ReadAhead<T> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_made_comes_in_order_whoever_made_it() {
        let mut ahead = ReadAhead::start(1_000, 7, || Box::new(|at| at * at)).unwrap();
        let all: Vec<usize> = std::iter::from_fn(|| ahead.next()).collect();
        assert_eq!(all, (0..1_000).map(|at| at * at).collect::<Vec<_>>());
        assert!(ahead.next().is_none());
    }

    #[test]
    fn who_stops_asking_stops_the_threads() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let mut ahead = ReadAhead::start(1_000_000, 3, move || {
            let count = count.clone();
            Box::new(move |_| count.fetch_add(1, Ordering::Relaxed))
        })
        .unwrap();
        ahead.next().unwrap();
        drop(ahead);
        while Arc::strong_count(&made) > 1 {
            // What they held is let go: this ends.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(made.load(Ordering::Relaxed) <= 3 * (1 + in_flight_max()));
    }

    #[test]
    fn what_panics_comes_to_nothing_and_the_threads_live_on() {
        let panics = || ReadAhead::start(100, 1, || Box::new(|at: usize| assert_ne!(at, 3))).unwrap();
        for _ in 0..2 * thread_count() {
            let mut ahead = panics();
            assert_eq!(std::iter::from_fn(|| ahead.next()).count(), 3);
        }
    }
}
