//! Letting go of what is too old or too much; whole segments only.

use std::sync::Arc;

use super::live::LiveSegment;
use super::publish::Change;
use super::seal::MaintenanceError;
use super::store::Store;
use crate::model::Timestamp;

impl Store {
    /// Removes segments that ended before their signal's retention, then the oldest ones above the size limit.
    pub(super) fn let_go(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        let view = self.view.load_full();
        // A clock that jumped ahead must not empty the store: what is newest here also tells the time.
        let now = now.min(self.stats().time_range.until);
        let is_expired = |segment: &LiveSegment| {
            let kept_ms = segment.signal().map(|signal| self.options.retention_ms(signal));
            kept_ms.is_some_and(|kept_ms| segment.entry.max_time < now.saturating_sub(kept_ms))
        };
        let expired: Vec<_> = view.segments.iter().filter(|segment| is_expired(segment)).cloned().collect();
        self.remove(&expired, "age")?;
        let excess = excess(&self.view.load().segments, self.options.size_max);
        self.remove(&excess, "size")
    }

    fn remove(&self, segments: &[Arc<LiveSegment>], reason: &str) -> Result<(), MaintenanceError> {
        if segments.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = segments.iter().map(|s| s.entry.id).collect();
        self.commit(&Change { remove: &ids, ..Change::default() })?;
        segments.iter().for_each(|segment| segment.doom());
        self.metrics.expired_segments.with_label_values(&[reason]).inc_by(ids.len() as u64);
        Ok(())
    }
}

/// The oldest segments whose removal brings the rest below the limit; never the newest one.
fn excess(segments: &[Arc<LiveSegment>], size_max: Option<u64>) -> Vec<Arc<LiveSegment>> {
    let Some(max) = size_max else { return Vec::new() };
    let mut by_age: Vec<_> = segments.to_vec();
    by_age.sort_by_key(|s| s.entry.max_time);
    let mut bytes: u64 = by_age.iter().map(|s| s.entry.bytes).sum();
    let keep_newest = by_age.len().saturating_sub(1);
    let mut excess = Vec::new();
    for segment in by_age.into_iter().take(keep_newest) {
        if bytes <= max {
            break;
        }
        bytes -= segment.entry.bytes;
        excess.push(segment);
    }
    excess
}
