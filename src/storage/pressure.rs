//! How full the heads are, and who waits for it.
//!
//! The shard that fills a generation to its mark wakes whoever seals. Two generations may be in memory, one that is
//! being sealed and the one that fills meanwhile; when both are full, writers wait for the seal, so that a flood is
//! slowed instead of growing the memory. They are refused when it takes too long, or when seals fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::generation::Generation;

/// Senders give up after 10 s or more; one that is refused before that knows why, and when to come back.
pub(super) const WAIT_FOR_SEAL: Duration = Duration::from_secs(5);

/// What a seal costs is mostly a cost of each series where they have fewer samples than this. So many steady ones of whole
/// numbers fit into the block that a stream begins with, which the first one takes.
const ROWS_OF_SERIES_MIN: u64 = 12;

pub(super) struct Pressure {
    /// A generation is full at this many rows, so that a restart replays few, unless it has many series …
    rows_max: u64,
    /// … or when it is filled with this much.
    bytes_max: u64,
    /// The number of the last generation that was reported full.
    reported: AtomicU64,
    state: Mutex<State>,
    filled: Condvar,
    relieved: Condvar,
}

#[derive(Default)]
struct State {
    /// A generation became full since somebody waited for that.
    is_full: bool,
    is_failing: bool,
}

impl Pressure {
    pub fn new(rows_max: u64, bytes_max: u64) -> Pressure {
        Pressure {
            rows_max,
            bytes_max,
            reported: AtomicU64::new(0),
            state: Mutex::default(),
            filled: Condvar::new(),
            relieved: Condvar::new(),
        }
    }

    /// What all generations together may be filled with.
    pub fn filled_bytes_max(&self) -> u64 {
        self.bytes_max.saturating_mul(2)
    }

    pub fn is_full(&self, generation: &Generation) -> bool {
        let rows_max = self.rows_max.max(generation.series_count() * ROWS_OF_SERIES_MIN);
        generation.filled_bytes() >= self.bytes_max || generation.row_count() >= rows_max
    }

    /// Rows were added to this generation. The first shard that finds it full says so; if it is not by the time somebody looks, since it
    /// has more series, it is for the regular looks to find it full again.
    pub fn added_to(&self, generation: &Generation) {
        if self.is_full(generation)
            && self.reported.fetch_max(generation.number, Ordering::Relaxed) < generation.number
        {
            self.state.lock().is_full = true;
            self.filled.notify_one();
        }
    }

    /// Waits until a generation becomes full, or for this long; says whether one did since the last call.
    pub fn wait_until_full(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let mut state = self.state.lock();
        while !state.is_full && !self.filled.wait_until(&mut state, deadline).timed_out() {}
        std::mem::take(&mut state.is_full)
    }

    /// A seal has ended: the heads hold less, or it failed, and nobody should wait for the next try.
    pub fn sealed(&self, is_success: bool) {
        self.state.lock().is_failing = !is_success;
        self.relieved.notify_all();
    }

    /// Waits for the end of a seal while there is no room; false when there is none by `deadline`, or seals fail.
    pub fn wait_for_room(&self, deadline: Instant, has_room: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if has_room() {
                return true;
            }
            if state.is_failing {
                return false;
            }
            if self.relieved.wait_until(&mut state, deadline).timed_out() {
                return has_room();
            }
        }
    }
}
