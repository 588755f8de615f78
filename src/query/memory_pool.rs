//! Memory of all running queries together. One query has a limit of its own; twenty at that limit would be too many.

use std::sync::Arc;

use prometheus::{IntGauge, Registry};

use super::budget::Exceeded;

/// So many bytes and no more, over all budgets that draw on it.
#[derive(Clone, Debug)]
pub struct MemoryPool(Arc<State>);

#[derive(Debug)]
struct State {
    bytes_max: u64,
    used_bytes: IntGauge,
}

impl MemoryPool {
    pub fn new(bytes_max: u64, registry: &Registry) -> MemoryPool {
        let help = "Bytes that running queries hold for intermediate and final results.";
        let used_bytes = IntGauge::new("icecore_query_held_bytes", help).expect("the name is valid");
        registry.register(Box::new(used_bytes.clone())).expect("one pool a registry");
        MemoryPool(Arc::new(State { bytes_max, used_bytes }))
    }

    pub fn take(&self, bytes: u64) -> Result<(), Exceeded> {
        let MemoryPool(state) = self;
        // Taken before it is compared, so that of many who take at once only as many as fit find room.
        state.used_bytes.add(bytes as i64);
        if state.used_bytes.get() as u64 > state.bytes_max {
            state.used_bytes.sub(bytes as i64);
            return Err(Exceeded::TotalBytes { max: state.bytes_max });
        }
        Ok(())
    }

    pub fn give(&self, bytes: u64) {
        self.0.used_bytes.sub(bytes as i64);
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
        assert_eq!(pool.0.used_bytes.get(), 0);
    }
}
