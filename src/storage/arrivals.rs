//! When rows last came for each day: while history is brought in, a day gets some with every generation, and would be
//! merged and rolled up anew each time.
//!
//! Known since the start alone; a day of which nothing is known is quiet.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::signal::Signal;
use crate::model::Timestamp;
use crate::model::time::{DAY, HOUR};

/// A day is quiet so long after its last rows came.
const QUIET_MS: i64 = HOUR;

/// Who never pauses must not keep a day from its tiers.
const WAIT_MAX_MS: i64 = DAY;

#[derive(Default)]
pub(super) struct Arrivals(Mutex<BTreeMap<(Signal, Timestamp), Arrival>>);

/// Of rows that came without a pause of [`QUIET_MS`]: when they were sealed.
struct Arrival {
    first: Timestamp,
    last: Timestamp,
}

impl Arrivals {
    /// Rows of a day were sealed.
    pub fn note(&self, signal: Signal, day: Timestamp, at: Timestamp) {
        let mut days = self.0.lock();
        days.retain(|_, arrival| at < arrival.last.saturating_add(QUIET_MS));
        days.entry((signal, day)).or_insert(Arrival { first: at, last: at }).last = at;
    }

    /// Whether a day has what comes for it.
    pub fn is_quiet(&self, signal: Signal, day: Timestamp, now: Timestamp) -> bool {
        let days = self.0.lock();
        days.get(&(signal, day)).is_none_or(|arrival| {
            let waited = |since: Timestamp, long: i64| since.saturating_add(long) <= now;
            waited(arrival.last, QUIET_MS) || waited(arrival.first, WAIT_MAX_MS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_quiet_an_hour_after_its_last_rows_or_a_day_after_the_first() {
        let arrivals = Arrivals::default();
        let is_quiet = |now| arrivals.is_quiet(Signal::Metrics, 7, now);
        assert!(is_quiet(0));
        arrivals.note(Signal::Metrics, 7, 0);
        assert!(!is_quiet(HOUR - 1) && is_quiet(HOUR));
        assert!(arrivals.is_quiet(Signal::Logs, 7, 1) && arrivals.is_quiet(Signal::Metrics, 8, 1));
        (1..=47).for_each(|half_hour| arrivals.note(Signal::Metrics, 7, half_hour * HOUR / 2));
        assert!(!is_quiet(DAY - 1) && is_quiet(DAY));
        arrivals.note(Signal::Metrics, 7, 2 * DAY);
        assert!(!is_quiet(2 * DAY), "after a pause it is counted anew");
    }
}
