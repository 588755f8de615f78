//! Memory of all running queries together. One query has a limit of its own; twenty at that limit would be too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntGauge, Registry};

use super::budget::Exceeded;

/// So many bytes and no more, over all budgets that draw on it.
#[derive(Clone, Debug)]
pub struct MemoryPool(Arc<State>);

#[derive(Debug)]
struct State {
    bytes_max: u64,
    used: AtomicU64,
    /// Shows what is used.
    gauge: IntGauge,
}

impl MemoryPool {
    pub fn new(bytes_max: u64, registry: &Registry) -> MemoryPool {
        let help = "Bytes that running queries hold for intermediate and final results.";
        let gauge = IntGauge::new("icecore_query_held_bytes", help).expect("the name is valid");
        registry.register(Box::new(gauge.clone())).expect("one pool a registry");
        MemoryPool(Arc::new(State { bytes_max, used: AtomicU64::new(0), gauge }))
    }

    pub fn take(&self, bytes: u64) -> Result<(), Exceeded> {
        let MemoryPool(state) = self;
        // Compared and taken in one: who is refused never stood in the way of another who fits.
        let taken = |used: u64| used.checked_add(bytes).filter(|used| *used <= state.bytes_max);
        if state.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
            return Err(Exceeded::TotalBytes { max: state.bytes_max });
        }
        state.gauge.add(bytes as i64);
        Ok(())
    }

    pub fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.0.gauge.sub(bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::budget::{Budget, Limits};

    #[test]
    fn what_one_query_holds_is_missing_for_others_until_it_has_ended() {
        let pool = MemoryPool::new(100, &Registry::new());
        let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 80, log_bytes_max: 0 };
        let budget = || Budget::new(Instant::now() + Duration::from_secs(60), limits).drawing_on(&pool);
        let (one, other) = (budget(), budget());
        one.take_bytes(70).unwrap();
        assert_eq!(other.take_bytes(40), Err(Exceeded::TotalBytes { max: 100 }));
        assert_eq!(other.take_bytes(30), Ok(()), "what was refused is not held");
        assert_eq!(one.take_bytes(20), Err(Exceeded::Bytes { wanted: 90, max: 80 }));
        one.give_bytes(20);
        assert_eq!(other.take_bytes(20), Ok(()));
        drop(one);
        drop(other);
        assert_eq!((pool.0.used.load(Ordering::Relaxed), pool.0.gauge.get()), (0, 0));
    }

    #[test]
    fn of_two_who_take_at_once_one_finds_room() {
        let (pool, barrier) = (MemoryPool::new(100, &Registry::new()), std::sync::Barrier::new(2));
        let rounds = || -> Vec<bool> {
            let round = |_| {
                barrier.wait();
                let found = pool.take(60).is_ok();
                barrier.wait();
                if found {
                    pool.give(60);
                }
                found
            };
            (0..2_000).map(round).collect()
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(rounds);
            (rounds(), other.join().unwrap())
        });
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}
