//! Logs without a store, for tests of whoever reads them.

use std::sync::Arc;

use prometheus::IntCounter;

use super::batch::{LogRows, StreamRows};
use super::head::LogHead;
use super::snapshot::LogsSnapshot;
use super::tail::TailHub;
use super::writer::{LogCounters, LogsWriter};

pub(super) fn counters() -> LogCounters {
    let counter = |name: &str| IntCounter::new(name, name).expect("a plain name");
    LogCounters { entries: counter("entries"), bytes: counter("bytes"), duplicates: counter("duplicates") }
}

/// A head that took these batches, one after the other; the label `pod` is soft.
pub(super) fn head_of(batches: &[Vec<StreamRows>]) -> Arc<LogHead> {
    let head = Arc::new(LogHead::default());
    let mut writer =
        LogsWriter::new(head.clone(), ["pod".to_owned()].into(), Arc::new(TailHub::default()), counters());
    for batch in batches {
        writer.append(LogRows { streams: batch.clone() }, &mut Vec::new());
    }
    head
}

/// What a query sees of these rows.
pub fn snapshot_of(rows: Vec<StreamRows>) -> LogsSnapshot {
    LogsSnapshot::new(vec![head_of(&[rows])])
}
