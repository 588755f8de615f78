//! What one query may use. Every loop that can grow asks it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::memory_pool::MemoryPool;
use super::right_of_way::RightOfWay;
use crate::model::{Asker, StopSign};

/// The limits of one query and what it has used so far; shared by the threads that work on it. No clock is read
/// in this layer but the monotonic one.
#[derive(Clone, Debug)]
pub struct Budget(Arc<State>);

#[derive(Debug)]
struct State {
    deadline: Instant,
    #[cfg(test)]
    pace: pace::Pace,
    samples_max: u64,
    series_max: u64,
    bytes_max: u64,
    log_bytes_max: u64,
    samples: AtomicU64,
    series: AtomicU64,
    bytes: AtomicU64,
    log_bytes: AtomicU64,
    log_lines: AtomicU64,
    cancelled: AtomicBool,
    /// When it began to run, and how long it had waited.
    turn: OnceLock<(Instant, Duration)>,
    right_of_way: RightOfWay,
    pool: Option<MemoryPool>,
    trial: Option<Trial>,
    wants_threads: AtomicBool,
}

/// Of a budget whose query may begin anew with another one.
#[derive(Debug, Default)]
struct Trial {
    is_over: AtomicBool,
}

/// The limits alone, as configured.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// 50 M: samples read from storage.
    pub samples_max: u64,
    /// 500 K: series selected.
    pub series_max: u64,
    /// 1 GiB: memory held for intermediate and final results.
    pub bytes_max: u64,
    /// 10 GiB: bytes of log lines in the blocks that are read.
    pub log_bytes_max: u64,
}

/// Which limit a query met. The texts tell how to raise it; that of the deadline is Prometheus's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    #[error("query timed out in expression evaluation")]
    Deadline,
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    #[error("query timed out in query queue")]
    DeadlineInQueue,
    #[error("query was canceled in query queue")]
    CancelledInQueue,
    #[error("query would load {wanted} samples > {max} (--query.max-samples)")]
    Samples { wanted: u64, max: u64 },
    #[error("query would select {wanted} series > {max} (--query.max-series)")]
    Series { wanted: u64, max: u64 },
    #[error("query would hold {wanted} bytes > {max} (--query.max-bytes)")]
    Bytes { wanted: u64, max: u64 },
    #[error("running queries would hold more than {max} bytes together (--query.max-total-bytes); try again")]
    TotalBytes { max: u64 },
    #[error("query would scan {wanted} bytes of log lines > {max} (--query.max-log-bytes)")]
    LogBytes { wanted: u64, max: u64 },
}

impl Exceeded {
    /// The same, met before the query began to run.
    pub fn in_queue(self) -> Exceeded {
        match self {
            Exceeded::Deadline => Exceeded::DeadlineInQueue,
            Exceeded::Cancelled => Exceeded::CancelledInQueue,
            other => other,
        }
    }
}

impl Budget {
    pub fn new(deadline: Instant, limits: Limits) -> Budget {
        Budget(Arc::new(State {
            deadline,
            #[cfg(test)]
            pace: pace::Pace::default(),
            samples_max: limits.samples_max,
            series_max: limits.series_max,
            bytes_max: limits.bytes_max,
            log_bytes_max: limits.log_bytes_max,
            samples: AtomicU64::new(0),
            series: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_lines: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            turn: OnceLock::new(),
            right_of_way: RightOfWay::default(),
            pool: None,
            trial: None,
            wants_threads: AtomicBool::new(false),
        }))
    }

    /// A new budget whose memory also counts against that of all queries.
    pub fn drawing_on(self, pool: &MemoryPool) -> Budget {
        let Budget(mut state) = self;
        Arc::get_mut(&mut state).expect("nobody shares a new budget").pool = Some(pool.clone());
        Budget(state)
    }

    /// A new budget of a query that begins anew, with another one, if it meets the deadline of this one. It gives way to nobody
    /// and waits for no threads, since others wait for the one it runs on.
    pub fn on_trial(self) -> Budget {
        let Budget(mut state) = self;
        Arc::get_mut(&mut state).expect("nobody shares a new budget").trial = Some(Trial::default());
        Budget(state)
    }

    pub fn is_on_trial(&self) -> bool {
        self.0.trial.is_some()
    }

    /// Whether the query was told that its time is over, and begins anew: however it ended now, it has not ended.
    pub fn outran_its_trial(&self) -> bool {
        self.0.trial.as_ref().is_some_and(|trial| trial.is_over.load(Ordering::Relaxed))
    }

    /// Asked where there is enough to do for several threads.
    pub fn may_use_threads(&self) -> bool {
        self.0.wants_threads.store(true, Ordering::Relaxed);
        !self.is_on_trial()
    }

    /// Whether there was.
    pub fn wants_threads(&self) -> bool {
        self.0.wants_threads.load(Ordering::Relaxed)
    }

    /// The client has gone, or somebody has had enough: the query ends at its next check.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Told when the query begins to run, having waited so long for its turn.
    pub fn begins(&self, waited: Duration) {
        // A query gets its turn once.
        let _ = self.0.turn.set((Instant::now(), waited));
    }

    /// How long the query waited for its turn; `None` while it does.
    pub fn queue_time(&self) -> Option<Duration> {
        self.0.turn.get().map(|(_, waited)| *waited)
    }

    /// How long it has been running.
    pub fn running_time(&self) -> Duration {
        self.0.turn.get().map_or(Duration::ZERO, |(began, _)| began.elapsed())
    }

    /// Time and cancellation; cheap enough for once a series or once a few thousand samples. To be called where no lock
    /// is held: a query that has been running for a while lets others pass here.
    pub fn check(&self) -> Result<(), Exceeded> {
        let now = Instant::now();
        if let (Some((began, _)), None) = (self.0.turn.get(), &self.0.trial) {
            self.0.right_of_way.give_way(now, now.saturating_duration_since(*began));
        }
        self.check_at(now)
    }

    fn check_at(&self, now: Instant) -> Result<(), Exceeded> {
        #[cfg(test)]
        self.0.pace.check()?;
        if self.is_cancelled() {
            return Err(Exceeded::Cancelled);
        }
        if now >= self.0.deadline {
            if let Some(trial) = &self.0.trial {
                trial.is_over.store(true, Ordering::Relaxed);
            }
            return Err(Exceeded::Deadline);
        }
        Ok(())
    }

    /// For storage, which knows no budgets. Whoever asks it looks at the budget again before he uses what it found.
    pub fn stop_sign(&self) -> StopSign {
        StopSign::new(self.clone())
    }

    pub fn take_samples(&self, count: u64) -> Result<(), Exceeded> {
        let (wanted, max) = (self.0.samples.fetch_add(count, Ordering::Relaxed) + count, self.0.samples_max);
        if wanted > max { Err(Exceeded::Samples { wanted, max }) } else { Ok(()) }
    }

    /// Whether so many samples may still be read, asked before the reading begins; takes none.
    pub fn expect_samples(&self, count: u64) -> Result<(), Exceeded> {
        let (wanted, max) = (self.samples_used().saturating_add(count), self.0.samples_max);
        if wanted > max { Err(Exceeded::Samples { wanted, max }) } else { Ok(()) }
    }

    pub fn take_series(&self, count: u64) -> Result<(), Exceeded> {
        let (wanted, max) = (self.0.series.fetch_add(count, Ordering::Relaxed) + count, self.0.series_max);
        if wanted > max { Err(Exceeded::Series { wanted, max }) } else { Ok(()) }
    }

    /// Accounts memory that is held until [`Budget::give_bytes`]. What is refused is not accounted.
    pub fn take_bytes(&self, count: u64) -> Result<(), Exceeded> {
        let max = self.0.bytes_max;
        if count > max {
            return Err(Exceeded::Bytes { wanted: count, max });
        }
        #[cfg(test)]
        self.0.pace.take();
        let wanted = self.0.bytes.fetch_add(count, Ordering::Relaxed) + count;
        if wanted > max {
            self.0.bytes.fetch_sub(count, Ordering::Relaxed);
            return Err(Exceeded::Bytes { wanted, max });
        }
        let taken = self.0.pool.as_ref().map_or(Ok(()), |pool| pool.take(count));
        if taken.is_err() {
            self.0.bytes.fetch_sub(count, Ordering::Relaxed);
        }
        taken
    }

    pub fn give_bytes(&self, count: u64) {
        self.0.bytes.fetch_sub(count, Ordering::Relaxed);
        if let Some(pool) = &self.0.pool {
            pool.give(count);
        }
    }

    /// Entries of a part that is about to be scanned, and the bytes of their lines.
    pub fn take_log_lines(&self, lines: u64, bytes: u64) -> Result<(), Exceeded> {
        self.0.log_lines.fetch_add(lines, Ordering::Relaxed);
        let (wanted, max) =
            (self.0.log_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes, self.0.log_bytes_max);
        if wanted > max { Err(Exceeded::LogBytes { wanted, max }) } else { Ok(()) }
    }

    pub fn log_bytes_used(&self) -> u64 {
        self.0.log_bytes.load(Ordering::Relaxed)
    }

    pub fn log_lines_used(&self) -> u64 {
        self.0.log_lines.load(Ordering::Relaxed)
    }

    pub fn samples_used(&self) -> u64 {
        self.0.samples.load(Ordering::Relaxed)
    }

    pub fn series_used(&self) -> u64 {
        self.0.series.load(Ordering::Relaxed)
    }
}

impl Asker for Budget {
    fn has_left(&self) -> bool {
        self.check_at(Instant::now()).is_err()
    }

    fn may_use_threads(&self) -> bool {
        Budget::may_use_threads(self)
    }
}

impl Drop for State {
    /// What an answer holds is held until it is written, and ends with its budget.
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give(*self.bytes.get_mut());
        }
    }
}

/// Memory of a budget that is given back when this is dropped; for work on threads.
#[derive(Debug)]
pub struct HeldBytes<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl<'b> HeldBytes<'b> {
    pub fn none(budget: &'b Budget) -> HeldBytes<'b> {
        HeldBytes { budget, bytes: 0 }
    }

    pub fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.budget.take_bytes(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    pub fn shrink(&mut self, bytes: u64) {
        assert!(bytes <= self.bytes, "only what is held can be given back");
        self.budget.give_bytes(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        self.budget.give_bytes(self.bytes);
    }
}

/// Tests of how soon a query stops use no clock: they let the budget trip at a certain check, and count how often
/// memory was taken since the last.
#[cfg(test)]
pub mod pace {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::{Budget, Exceeded};

    #[derive(Debug, Default)]
    pub struct Pace {
        /// 0: never.
        trips_at: AtomicU64,
        checks: AtomicU64,
        takes_since_check: AtomicU64,
        takes_between_checks: AtomicU64,
    }

    impl Pace {
        pub fn check(&self) -> Result<(), Exceeded> {
            let checks = self.checks.fetch_add(1, Relaxed) + 1;
            self.takes_since_check.store(0, Relaxed);
            let trips_at = self.trips_at.load(Relaxed);
            if trips_at > 0 && checks >= trips_at { Err(Exceeded::Deadline) } else { Ok(()) }
        }

        pub fn take(&self) {
            let takes = self.takes_since_check.fetch_add(1, Relaxed) + 1;
            self.takes_between_checks.fetch_max(takes, Relaxed);
        }
    }

    impl Budget {
        /// From its check of this number on the budget says that time is over.
        pub fn trips_at(self, check: u64) -> Budget {
            self.0.pace.trips_at.store(check, Relaxed);
            self
        }

        pub fn checks(&self) -> u64 {
            self.0.pace.checks.load(Relaxed)
        }

        pub fn takes_since_check(&self) -> u64 {
            self.0.pace.takes_since_check.load(Relaxed)
        }

        /// The most takes without a check.
        pub fn takes_between_checks(&self) -> u64 {
            self.0.pace.takes_between_checks.load(Relaxed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(seconds: u64) -> Budget {
        let limits = Limits { samples_max: 10, series_max: 2, bytes_max: 100, log_bytes_max: 50 };
        Budget::new(Instant::now() + Duration::from_secs(seconds), limits)
    }

    #[test]
    fn what_is_expected_is_refused_but_not_taken() {
        let budget = budget(60);
        assert_eq!(budget.expect_samples(11), Err(Exceeded::Samples { wanted: 11, max: 10 }));
        assert_eq!(budget.take_samples(10), Ok(()));
        assert_eq!(budget.take_samples(1), Err(Exceeded::Samples { wanted: 11, max: 10 }));
    }

    #[test]
    fn memory_given_back_can_be_taken_again() {
        let budget = budget(60);
        budget.take_bytes(80).unwrap();
        budget.give_bytes(80);
        assert_eq!(budget.take_bytes(90), Ok(()));
        assert_eq!(budget.take_bytes(20), Err(Exceeded::Bytes { wanted: 110, max: 100 }));
        assert_eq!(budget.take_bytes(u64::MAX), Err(Exceeded::Bytes { wanted: u64::MAX, max: 100 }));
        assert_eq!(budget.take_bytes(10), Ok(()), "what was refused is not held");
    }

    #[test]
    fn memory_is_given_back_when_nobody_holds_it() {
        let budget = budget(60);
        let mut held = HeldBytes::none(&budget);
        held.grow(90).unwrap();
        assert_eq!(held.grow(20), Err(Exceeded::Bytes { wanted: 110, max: 100 }));
        held.shrink(50);
        held.grow(20).unwrap();
        drop(held);
        assert_eq!(budget.take_bytes(100), Ok(()));
    }

    #[test]
    fn a_trial_is_over_once_somebody_was_told_so_and_for_good() {
        let trial = budget(0).on_trial();
        assert!(!trial.outran_its_trial(), "nobody was told");
        assert_eq!(trial.check(), Err(Exceeded::Deadline));
        trial.cancel();
        assert!(trial.outran_its_trial());
        assert_eq!(trial.check(), Err(Exceeded::Cancelled));
        let cancelled = budget(0).on_trial();
        cancelled.cancel();
        assert_eq!(cancelled.check(), Err(Exceeded::Cancelled));
        assert!(!cancelled.outran_its_trial(), "it does not begin anew");
        let in_earnest = budget(0);
        assert_eq!(in_earnest.check(), Err(Exceeded::Deadline));
        assert!(!in_earnest.outran_its_trial());
    }

    #[test]
    fn who_is_on_trial_uses_no_threads_but_tells_that_they_were_wanted() {
        let (trial, in_earnest) = (budget(60).on_trial(), budget(60));
        assert!(!trial.wants_threads() && !in_earnest.wants_threads());
        assert!(!trial.may_use_threads() && in_earnest.may_use_threads());
        assert!(trial.wants_threads() && in_earnest.wants_threads());
        let (trial, in_earnest) = (budget(60).on_trial(), budget(60));
        assert!(!trial.stop_sign().may_use_threads() && in_earnest.stop_sign().may_use_threads());
        assert!(trial.wants_threads() && in_earnest.wants_threads(), "storage asks by way of the sign");
    }

    #[test]
    fn log_bytes_have_a_limit_of_their_own() {
        let budget = budget(60);
        assert_eq!(budget.take_log_lines(1_000_000, 50), Ok(()));
        assert_eq!(budget.take_log_lines(1, 1), Err(Exceeded::LogBytes { wanted: 51, max: 50 }));
        assert_eq!((budget.log_lines_used(), budget.log_bytes_used()), (1_000_001, 51));
    }

    #[test]
    fn a_client_that_has_gone_ends_its_query() {
        let budget = budget(60);
        budget.clone().cancel();
        assert_eq!(budget.check(), Err(Exceeded::Cancelled));
        assert_eq!(self::budget(0).check(), Err(Exceeded::Deadline));
    }
}
