//! The only reader of the system clock: below the API, `now` is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// Tells the wall-clock time. A value, so that who holds none cannot ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since the Unix epoch; negative where the machine's clock stands before it.
    pub fn now_ms(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis() as Timestamp,
            Err(before) => -(before.duration().as_millis() as Timestamp),
        }
    }
}
