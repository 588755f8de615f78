//! How many series there may be, and how fast new ones may come.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::metrics::Refusal;
use crate::model::Timestamp;

/// Shared by all shards.
pub(super) struct SeriesLimiter {
    max: usize,
    burst: u64,
    per_second: u64,
    count: AtomicUsize,
    bucket: Mutex<Bucket>,
}

/// A token for each new series; refilled by time, never above the burst.
struct Bucket {
    tokens: f64,
    refilled_at: Timestamp,
}

impl SeriesLimiter {
    pub fn new(max: usize, burst: u64, per_second: u64, now: Timestamp) -> SeriesLimiter {
        let bucket = Mutex::new(Bucket { tokens: burst as f64, refilled_at: now });
        SeriesLimiter { max, burst, per_second, count: AtomicUsize::new(0), bucket }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether one more series may be registered; it is counted when it is ([`SeriesLimiter::registered`]).
    pub fn admit(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.count() >= self.max {
            return Err(Refusal::SeriesLimit { max: self.max });
        }
        let mut bucket = self.bucket.lock();
        // A clock that went back refills nothing and is forgotten.
        let passed = (now - bucket.refilled_at).max(0) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + passed * self.per_second as f64).min(self.burst as f64);
        bucket.refilled_at = now;
        if bucket.tokens < 1.0 {
            return Err(Refusal::SeriesRate { per_second: self.per_second, burst: self.burst });
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    pub fn registered(&self, count: usize) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    pub fn retired(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_then_the_rate_holds() {
        let limiter = SeriesLimiter::new(1000, 10, 2, 0);
        assert_eq!((0..20).filter(|_| limiter.admit(0).is_ok()).count(), 10);
        assert_eq!((0..20).filter(|_| limiter.admit(1500).is_ok()).count(), 3);
        assert!(matches!(limiter.admit(1500), Err(Refusal::SeriesRate { per_second: 2, burst: 10 })));
        assert!(limiter.admit(0).is_err(), "a clock that goes back gives nothing");
    }

    #[test]
    fn retired_series_make_room() {
        let limiter = SeriesLimiter::new(1, 10, 2, 0);
        limiter.registered(1);
        assert_eq!(limiter.admit(0), Err(Refusal::SeriesLimit { max: 1 }));
        limiter.retired(1);
        assert!(limiter.admit(0).is_ok());
    }
}
