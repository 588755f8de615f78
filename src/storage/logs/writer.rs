//! The logs half of a shard's thread: rows in, head out. It alone writes the shard's heads.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prometheus::IntCounter;

use super::batch::{Entry, LogRows, StreamRows};
use super::head::{LogHead, StreamWriter, group_fingerprint};
use super::tail::TailHub;
use crate::model::Labels;

/// What happened to entries on their way into a head.
#[derive(Clone)]
pub struct LogCounters {
    pub entries: IntCounter,
    /// Of lines.
    pub bytes: IntCounter,
    pub duplicates: IntCounter,
}

pub struct LogsWriter {
    appender: Appender,
    soft_labels: Arc<[String]>,
    tail: Arc<TailHub>,
    counters: LogCounters,
}

impl LogsWriter {
    /// Labels named by `soft_labels` do not part blocks.
    pub fn new(
        head: Arc<LogHead>,
        soft_labels: Arc<[String]>,
        tail: Arc<TailHub>,
        counters: LogCounters,
    ) -> LogsWriter {
        head.add_soft_labels(&soft_labels);
        LogsWriter { appender: Appender::new(head), soft_labels, tail, counters }
    }

    /// Goes on in the head of a new generation.
    pub fn rotate(&mut self, head: Arc<LogHead>) {
        head.add_soft_labels(&self.soft_labels);
        self.appender = Appender::new(head);
    }

    /// Puts rows into the head and appends to `payload` what a replay needs to do the same.
    pub fn append(&mut self, rows: LogRows, _payload: &mut Vec<u8>) {
        for stream in rows.streams.iter().filter(|stream| !stream.is_empty()) {
            let (mut entries, mut bytes) = (0, 0);
            let repeated = self.appender.append(stream, &self.soft_labels, |entry| {
                entries += 1;
                bytes += entry.line.len() as u64;
            });
            self.counters.entries.inc_by(entries);
            self.counters.bytes.inc_by(bytes);
            self.counters.duplicates.inc_by(repeated);
        }
        self.tail.publish(rows);
    }
}

/// Finds or registers streams in one head.
struct Appender {
    head: Arc<LogHead>,
    streams: HashMap<Labels, StreamWriter, RandomState>,
    /// Numbers of groups by the fingerprint of their labels.
    groups: HashMap<u128, u32, RandomState>,
}

impl Appender {
    fn new(head: Arc<LogHead>) -> Appender {
        Appender { head, streams: HashMap::default(), groups: HashMap::default() }
    }

    fn append<'a>(
        &mut self,
        rows: &'a StreamRows,
        soft_labels: &[String],
        taken: impl FnMut(&Entry<'a>),
    ) -> u64 {
        if !self.streams.contains_key(&rows.labels) {
            let fingerprint = group_fingerprint(&rows.labels, soft_labels);
            let head = &self.head;
            let group = *self.groups.entry(fingerprint).or_insert_with(|| head.add_group(fingerprint));
            self.streams.insert(rows.labels.clone(), head.add_stream(&rows.labels, group));
        }
        let writer = self.streams.get_mut(&rows.labels).expect("registered above");
        self.head.append(writer, rows.entries(), taken)
    }
}
