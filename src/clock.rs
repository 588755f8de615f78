//! The only reader of the system clock: below the API, `now` is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Nanos, Timestamp};

/// Tells the wall-clock time. A value, so that who holds none cannot ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since the Unix epoch; negative where the machine's clock stands before it.
    pub fn now_ms(&self) -> Timestamp {
        read(|since| since.as_millis() as Timestamp)
    }

    /// The same in nanoseconds.
    pub fn now_ns(&self) -> Nanos {
        read(|since| since.as_nanos() as Nanos)
    }
}

fn read(count: impl Fn(Duration) -> i64) -> i64 {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => count(after),
        Err(before) => -count(before.duration()),
    }
}
