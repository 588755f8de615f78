//! The logs half of a shard's thread: rows in, head and log payload out. It alone writes the shard's heads.

use std::sync::Arc;

use prometheus::IntCounter;

use super::appender::Appender;
use super::batch::LogRows;
use super::head::LogHead;
use super::log::{self, EntriesEncoder};
use super::tail::TailHub;

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
    encoder: EntriesEncoder,
    /// Whether this generation was told which labels are soft.
    has_declared: bool,
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
        let (appender, encoder) = (Appender::new(head), EntriesEncoder::default());
        LogsWriter { appender, soft_labels, tail, counters, encoder, has_declared: false }
    }

    /// Goes on in the head of a new generation.
    pub fn rotate(&mut self, head: Arc<LogHead>) {
        head.add_soft_labels(&self.soft_labels);
        self.appender = Appender::new(head);
        self.has_declared = false;
    }

    /// Puts rows into the head and appends to `payload` what a replay needs to do the same.
    pub fn append(&mut self, rows: LogRows, payload: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_declared, true) {
            log::write_soft_labels(&self.soft_labels, payload);
        }
        for stream in rows.streams.iter().filter(|stream| !stream.is_empty()) {
            let (mut entries, mut bytes) = (0, 0);
            let encoder = &mut self.encoder;
            let appended = self.appender.append(&stream.labels, stream, &self.soft_labels, |entry| {
                entries += 1;
                bytes += entry.line.len() as u64;
                encoder.entry(entry);
            });
            if appended.is_new {
                log::write_stream(appended.stream, &stream.labels, payload);
            }
            encoder.end_run(appended.stream);
            self.counters.entries.inc_by(entries);
            self.counters.bytes.inc_by(bytes);
            self.counters.duplicates.inc_by(appended.duplicates);
        }
        self.encoder.finish(payload);
        self.tail.publish(rows);
    }
}
