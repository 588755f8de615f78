//! Heavy queries let others pass: a thread that works for one gives the processor away every so often, to whoever waits
//! for it. The system alone would let it go on for some milliseconds, which is what a light query takes in all, and
//! such a query waits several times: to be received, to run, to be sent.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A query that has run for less is light.
pub const LIGHT_MAX: Duration = Duration::from_millis(2);
/// To give way takes about a microsecond where nobody waits.
const WORK_MIN: Duration = Duration::from_micros(100);

thread_local! {
    /// When this thread began to work: it was given the processor back then.
    static WORKS_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Of one query, shared by its threads.
#[derive(Debug, Default)]
pub struct RightOfWay {
    waited_ns: AtomicU64,
}

impl RightOfWay {
    /// `ran` is how long the query has been running.
    pub fn give_way(&self, now: Instant, ran: Duration) {
        let waited = Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed));
        let worked = WORKS_SINCE.get().map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if !is_due(ran, waited, worked) {
            return;
        }
        std::thread::yield_now();
        let back = Instant::now();
        WORKS_SINCE.set(Some(back));
        self.waited_ns.fetch_add((back - now).as_nanos() as u64, Ordering::Relaxed);
    }
}

/// `waited` is what giving way has cost all threads of the query together: half of its time at most, so that it gets on
/// beside those that never give way.
fn is_due(ran: Duration, waited: Duration, worked: Duration) -> bool {
    ran > LIGHT_MAX && worked >= WORK_MIN && waited <= ran / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_light_query_gives_way_to_none() {
        assert!(!is_due(2 * MS, Duration::ZERO, Duration::MAX));
        assert!(is_due(3 * MS, Duration::ZERO, Duration::MAX));
    }

    #[test]
    fn a_heavy_one_does_so_after_each_piece_of_work() {
        assert!(!is_due(50 * MS, Duration::ZERO, WORK_MIN / 2));
        assert!(is_due(50 * MS, Duration::ZERO, WORK_MIN));
    }

    #[test]
    fn it_keeps_half_of_its_time() {
        assert!(is_due(50 * MS, 25 * MS, MS));
        assert!(!is_due(50 * MS, 26 * MS, MS));
    }
}
