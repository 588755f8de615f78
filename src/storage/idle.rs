//! Letting go of series that nobody writes to any more, so that churn does not fill the memory.
//!
//! Receivers cache references to series. So a series goes in steps: it is marked; the epoch changes, from when on
//! batches with older references are turned back; the shard, having taken all batches from before, removes it
//! unless it was written to or asked for meanwhile; and its id is given out again only when no generation that
//! might hold samples under it can be read any more.

use std::sync::{Arc, Weak};

use crossbeam::channel::bounded;

use super::generation::Generation;
use super::shard::Job;
use super::store::{CONTROL_TIMEOUT, Store};
use crate::model::Timestamp;

/// Ids on their way back, and the generations that must be gone before.
pub(super) struct RetiredIds {
    shard: usize,
    ids: Vec<u32>,
    generations: Vec<Weak<Generation>>,
}

impl Store {
    /// Retires series that were idle for as long as the options say; returns how many.
    pub(super) fn retire_idle(&self, now: Timestamp) -> usize {
        self.release_ids();
        let view = self.view.load_full();
        let oldest_live = view.generations[0].number;
        let generations: Vec<Weak<Generation>> = view.generations.iter().map(Arc::downgrade).collect();
        drop(view);
        let since = now.saturating_sub(self.options.idle_series_ms);
        let mut count = 0;
        for shard in 0..self.shards.len() {
            let idle = self.ask(shard, |reply| Job::Idle { now, since, oldest_live, reply });
            if idle.is_empty() {
                continue;
            }
            self.registries[shard].mark_retiring(&idle);
            *self.epoch.write() += 1;
            let ids = self.ask(shard, |removed| Job::Retire { ids: idle, oldest_live, removed });
            count += ids.len();
            self.limiter.retired(ids.len());
            self.retired.lock().push(RetiredIds { shard, ids, generations: generations.clone() });
        }
        count
    }

    /// Gives back the ids that nothing can refer to any more.
    fn release_ids(&self) {
        self.retired.lock().retain(|retired| {
            let is_readable = retired.generations.iter().any(|generation| generation.strong_count() > 0);
            if !is_readable {
                self.registries[retired.shard].release(&retired.ids);
            }
            is_readable
        });
    }

    fn ask(&self, shard: usize, job: impl FnOnce(crossbeam::channel::Sender<Vec<u32>>) -> Job) -> Vec<u32> {
        let (sender, receiver) = bounded(1);
        self.shards[shard].push_control(job(sender));
        receiver.recv_timeout(CONTROL_TIMEOUT).unwrap_or_default()
    }
}
