//! Refused writes in the log: at most one line in ten seconds for each kind, so that a sender gone wrong cannot fill
//! a disk with complaints about itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::ApiError;

const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct RefusalLog(Mutex<HashMap<(&'static str, u16), Told>>);

struct Told {
    at: Instant,
    untold: u64,
}

impl RefusalLog {
    pub fn tell(&self, receiver: &'static str, error: &ApiError) {
        if let Some(untold) = self.turn(receiver, error.status().as_u16(), Instant::now()) {
            tracing::warn!(receiver, untold, "refused: {error}");
        }
    }

    /// Whether it is time for a line, and how many were left out since the last.
    fn turn(&self, receiver: &'static str, status: u16, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let Some(told) = all.get_mut(&(receiver, status)) else {
            all.insert((receiver, status), Told { at: now, untold: 0 });
            return Some(0);
        };
        if now < told.at + PAUSE {
            told.untold += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_for_each_kind() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        let turn = |status, seconds| log.turn("otlp", status, start + Duration::from_secs(seconds));
        assert_eq!(turn(400, 0), Some(0));
        assert_eq!(turn(400, 9), None);
        assert_eq!(turn(429, 9), Some(0));
        assert_eq!(turn(400, 10), Some(1));
        assert_eq!(turn(400, 30), Some(0));
    }
}
