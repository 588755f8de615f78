//! Series are read by threads of their own while the ones before them are evaluated. They come in the order they were
//! asked for, whoever read them, so an answer does not depend on how many threads there are.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// So many wait to be evaluated for each thread that reads.
const WAITING_MAX: usize = 4;
const THREADS_MAX: usize = 8;
/// Below that a query is done before threads are worth their while: some two milliseconds.
pub const SAMPLES_MIN: u64 = 400_000;

/// What threads make of the numbers from 0 on.
pub struct ReadAhead<T> {
    /// The number after `k` comes from the thread after the one that `k` came from.
    threads: Vec<Thread<T>>,
    next: usize,
}

struct Thread<T> {
    made: Option<Receiver<T>>,
    handle: Option<JoinHandle<()>>,
}

/// How many threads are worth having.
pub fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX))
}

/// How many are read, or wait, at one time at most.
pub fn in_flight_max() -> usize {
    thread_count() * (WAITING_MAX + 2)
}

impl<T: Send + 'static> ReadAhead<T> {
    /// `maker` gives each thread its way to make one; they end when this is dropped. None if there can be no more threads.
    pub fn start<M>(count: usize, maker: impl Fn() -> M) -> Option<ReadAhead<T>>
    where
        M: FnMut(usize) -> T + Send + 'static,
    {
        let thread_count = thread_count();
        let threads = (0..thread_count).map(|first| {
            let (send, made) = sync_channel(WAITING_MAX);
            let mut make = maker();
            let read = move || {
                for at in (first..count).step_by(thread_count) {
                    if send.send(make(at)).is_err() {
                        return;
                    }
                }
            };
            let handle = std::thread::Builder::new().name("reader".into()).spawn(read).ok()?;
            Some(Thread { made: Some(made), handle: Some(handle) })
        });
        Some(ReadAhead { threads: threads.collect::<Option<_>>()?, next: 0 })
    }

    /// What was made of the next number; nothing behind the last one.
    pub fn next(&mut self) -> Option<T> {
        let at = self.next % self.threads.len();
        self.next += 1;
        self.threads[at].made.as_ref()?.recv().ok()
    }
}

impl<T> Drop for ReadAhead<T> {
    fn drop(&mut self) {
        // Nobody waits for what they make now: they end with what they are at, and with them their hold on segments.
        self.threads.iter_mut().for_each(|thread| thread.made = None);
        for handle in self.threads.iter_mut().filter_map(|thread| thread.handle.take()) {
            // One that panicked has made no more, and was noticed by that.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_is_made_comes_in_order_whoever_made_it() {
        let mut ahead = ReadAhead::start(1_000, || |at: usize| at * at).unwrap();
        let all: Vec<usize> = std::iter::from_fn(|| ahead.next()).collect();
        assert_eq!(all, (0..1_000).map(|at| at * at).collect::<Vec<_>>());
        assert!(ahead.next().is_none());
    }

    #[test]
    fn who_stops_asking_stops_the_threads() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let mut ahead = ReadAhead::start(1_000_000, || {
            let count = count.clone();
            move |_| count.fetch_add(1, Ordering::Relaxed)
        })
        .unwrap();
        ahead.next().unwrap();
        drop(ahead);
        assert!(made.load(Ordering::Relaxed) <= 1 + in_flight_max());
        assert_eq!(Arc::strong_count(&made), 2, "and what they held is let go");
    }
}
