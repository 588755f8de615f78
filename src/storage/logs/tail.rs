//! Who wants to see entries as they come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::batch::{LogRows, StreamRows};

/// Where the shards' threads show what they took; they never wait for a subscriber.
#[derive(Default)]
pub struct TailHub {
    subscribers: Mutex<Vec<Subscriber>>,
    /// So that without subscribers nothing is shared.
    has_subscribers: AtomicBool,
}

struct Subscriber {
    batches: Sender<Arc<LogRows>>,
    lost: Arc<AtomicU64>,
}

/// One subscriber's end; dropping it ends the subscription.
pub struct LogTail {
    /// Entries of all streams as they were taken, before they are durable.
    pub batches: Receiver<Arc<LogRows>>,
    lost: Arc<AtomicU64>,
}

impl LogTail {
    /// Entries that were not put into `batches` since the call before, as it was full.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl TailHub {
    /// A subscription that holds up to `capacity` batches.
    pub fn subscribe(&self, capacity: usize) -> LogTail {
        let (sender, receiver) = bounded(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let mut subscribers = self.subscribers.lock();
        subscribers.push(Subscriber { batches: sender, lost: lost.clone() });
        self.has_subscribers.store(true, Ordering::Release);
        LogTail { batches: receiver, lost }
    }

    /// Shows a batch to all subscribers.
    pub(super) fn publish(&self, rows: LogRows) {
        if !self.has_subscribers.load(Ordering::Acquire) {
            return;
        }
        let entries: usize = rows.streams.iter().map(StreamRows::len).sum();
        let rows = Arc::new(rows);
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|subscriber| match subscriber.batches.try_send(rows.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                subscriber.lost.fetch_add(entries as u64, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
        self.has_subscribers.store(!subscribers.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn rows(line: &str) -> LogRows {
        let mut rows = StreamRows::new(Labels::empty());
        rows.push(1, line, []);
        LogRows { streams: vec![rows] }
    }

    #[test]
    fn a_slow_subscriber_loses_batches_and_is_told_how_many_entries() {
        let hub = TailHub::default();
        hub.publish(rows("before"));
        let (slow, quick) = (hub.subscribe(1), hub.subscribe(8));
        for line in ["a", "b", "c"] {
            hub.publish(rows(line));
        }
        assert_eq!((slow.batches.len(), slow.take_lost(), slow.take_lost()), (1, 2, 0));
        assert_eq!((quick.batches.len(), quick.take_lost()), (3, 0));
    }

    #[test]
    fn a_subscription_ends_when_it_is_dropped() {
        let hub = TailHub::default();
        drop(hub.subscribe(1));
        hub.publish(rows("a"));
        assert!(!hub.has_subscribers.load(Ordering::Relaxed));
    }
}
