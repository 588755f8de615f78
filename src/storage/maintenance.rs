//! What must happen from time to time; the server's housekeeping calls it, on threads of its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::pace;
use super::seal::MaintenanceError;
use super::store::Store;
use crate::model::Timestamp;

/// So long merges and what ends a tidy wait for the cleaning of segments, be it for deletions or for rules, and for the one that is
/// under way then.
const CLEANING_AT_ONCE: Duration = Duration::from_secs(10);

impl Store {
    /// Waits until a generation is full and [`Store::tick`] should be called at once, or for this long.
    pub fn wait_until_full(&self, at_most: Duration) {
        self.pressure.wait_until_full(at_most);
    }

    /// Some times a second, and when a generation is full: look at the disk, give memory back, seal what is due. Failures
    /// are logged and tried again with the next call.
    pub fn tick(&self, now: Timestamp) {
        if self.is_closing() {
            return;
        }
        self.observe();
        self.log.look();
        pace::give_back();
        if let Err(error) = self.seal_if_due(now) {
            self.metrics.maintenance_failures.with_label_values(&["seal"]).inc();
            tracing::error!(%error, "cannot seal; trying again");
        }
    }

    /// Every minute or so, beside [`Store::tick`]: merge, let go, retire idle series.
    pub fn tidy(&self, now: Timestamp) {
        if self.is_closing() || self.is_tidying_stopped() {
            return;
        }
        loop {
            match self.compact_step(now) {
                Ok(true) if self.is_tidying_stopped() => return,
                // Between two steps as well: a backlog of many days must not all be kept until its end. Merges clean, too, so no time is
                // taken from them for that but for a segment each.
                Ok(true) => self.let_go_or_log(now, Duration::ZERO),
                Ok(false) => break,
                Err(MaintenanceError::Stopping) => return,
                Err(error @ MaintenanceError::Read(_)) => {
                    self.metrics.maintenance_failures.with_label_values(&["merge"]).inc();
                    tracing::error!(%error, "a damaged segment cannot be merged; it stays as it is");
                }
                Err(error) => {
                    self.metrics.maintenance_failures.with_label_values(&["merge"]).inc();
                    tracing::error!(%error, "cannot merge segments; trying again");
                    break;
                }
            }
        }
        self.let_go_or_log(now, CLEANING_AT_ONCE);
        // After merges and roll-ups, since much of what was deleted has gone by then.
        self.clean_or_log(now);
        if self.is_tidying_stopped() {
            return;
        }
        if let Err(error) = self.forget_unneeded_tombstones() {
            self.metrics.maintenance_failures.with_label_values(&["retention"]).inc();
            tracing::error!(%error, "cannot forget tombstones; trying again");
        }
        self.retire_idle(now);
        self.observe_tiers(now);
    }

    fn let_go_or_log(&self, now: Timestamp, cleaning_at_most: Duration) {
        match self.let_go(now, cleaning_at_most) {
            Ok(()) | Err(MaintenanceError::Stopping) => {}
            Err(error) => {
                self.metrics.maintenance_failures.with_label_values(&["retention"]).inc();
                tracing::error!(%error, "cannot remove old segments; trying again");
            }
        }
    }

    /// A while of it; what is left waits for the next time.
    fn clean_or_log(&self, now: Timestamp) {
        match self.clean_deleted(CLEANING_AT_ONCE, now) {
            Ok(()) | Err(MaintenanceError::Stopping) => {}
            Err(error) => {
                self.metrics.maintenance_failures.with_label_values(&["merge"]).inc();
                tracing::error!(%error, "cannot write a segment anew without what was deleted");
            }
        }
    }

    /// Gives up the merge that is under way, and starts no other: a day's may take longer than there is to stop in.
    /// What it would have merged stays as it is.
    pub fn stop_tidying(&self) {
        self.tidying_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_tidying_stopped(&self) -> bool {
        self.tidying_stopped.load(Ordering::Relaxed)
    }
}
