//! Log entries on their way in, by whatever protocol they come: admitted or refused one by one, with their level found.

mod level;
mod pairs;
pub mod service;

pub use level::{DETECTED_LEVEL, Level};
pub use pairs::Pairs;

use crate::model::{Labels, Timestamp};
use crate::storage::logs::{LogBatch, StreamRows};

use super::admission::{Reason, Rejection, Window};
use super::refusals::Refusals;
use super::{Options, Outcome};

// What OTLP says once of a resource is kept with each of its entries: honest senders make eightfold of that at most.
const DECODED_GROWTH_MAX: usize = 8;

// What an entry and a stream take beside their texts: their places in lists, and the lists.
const ENTRY_BYTES: usize = 64;
const STREAM_BYTES: usize = 512;

/// A stream that entries may be written to.
#[derive(Clone, Debug)]
pub struct Stream {
    pub labels: Labels,
    pub shard: usize,
    /// What the labels say of the level of all entries.
    level: Option<Level>,
}

impl Stream {
    pub fn new(labels: Labels, shard: usize) -> Stream {
        let level = labels.iter().find_map(|(name, value)| Level::of_field(name, value));
        Stream { labels, shard, level }
    }
}

/// One entry as it came; of metadata with the same name the first counts.
pub struct NewEntry<'e, T, M> {
    /// Nanoseconds since the Unix epoch.
    pub timestamp: T,
    pub line: &'e str,
    pub metadata: M,
    /// If the protocol has a place for it.
    pub level: Option<Level>,
}

pub struct LogIntake<'a> {
    options: &'a Options,
    window: Window,
    batch: LogBatch,
    /// What the rows of this request may still take.
    bytes_left: usize,
    entry_count: u64,
    pub refusals: Refusals,
}

impl<'a> LogIntake<'a> {
    pub fn new(options: &'a Options, shard_count: usize, now: Timestamp) -> LogIntake<'a> {
        LogIntake {
            options,
            window: Window::new(now, options.behind_max_ms.logs, options.ahead_max_ms),
            batch: LogBatch::new(shard_count),
            bytes_left: options.decoded_bytes_max.saturating_mul(DECODED_GROWTH_MAX),
            entry_count: 0,
            refusals: Refusals::default(),
        }
    }

    pub fn options(&self) -> &'a Options {
        self.options
    }

    /// Admits an entry, or refuses it alone.
    pub fn entry<'m, T, M>(&mut self, stream: &Stream, entry: NewEntry<'_, T, M>)
    where
        T: Copy + std::fmt::Display + TryInto<i64>,
        M: Iterator<Item = (&'m str, &'m str)> + Clone,
    {
        let NewEntry { timestamp, line, metadata, level } = entry;
        let admitted = self
            .window
            .admit_nanos(timestamp)
            .and_then(|timestamp| self.admit_texts(line, metadata.clone()).map(|bytes| (timestamp, bytes)))
            .and_then(|(timestamp, bytes)| self.take_bytes(bytes + ENTRY_BYTES).map(|()| timestamp));
        let timestamp = match admitted {
            Ok(timestamp) => timestamp,
            Err(rejection) => return self.refusals.refuse(rejection, 1),
        };
        let level = level
            .or_else(|| found_before(metadata.clone()))
            .or(stream.level)
            .or_else(|| metadata.clone().find_map(|(name, value)| Level::of_field(name, value)))
            .unwrap_or_else(|| Level::of_line(line));
        let metadata = metadata.filter(|(name, _)| *name != DETECTED_LEVEL);
        match self.rows(stream) {
            Ok(rows) => {
                rows.push(timestamp, line, metadata.chain([(DETECTED_LEVEL, level.as_str())]));
                self.entry_count += 1;
            }
            Err(rejection) => self.refusals.refuse(rejection, 1),
        }
    }

    /// The bytes of the line and its metadata.
    fn admit_texts<'m>(
        &self,
        line: &str,
        metadata: impl Iterator<Item = (&'m str, &'m str)>,
    ) -> Result<usize, Rejection> {
        let Options { line_bytes_max, metadata_names_max, metadata_bytes_max, .. } = *self.options;
        if line.len() > line_bytes_max {
            let message = format!("log line {} B > {line_bytes_max} (--limits.max-line-bytes)", line.len());
            return Err(Rejection::new(Reason::LineBytes, message));
        }
        let (mut names, mut bytes) = (0, 0);
        for (name, value) in metadata {
            names += 1;
            bytes += name.len() + value.len();
        }
        if names > metadata_names_max {
            let message = format!(
                "{names} names of structured metadata > {metadata_names_max} (--limits.max-metadata-names)"
            );
            return Err(Rejection::new(Reason::MetadataCount, message));
        }
        if bytes > metadata_bytes_max {
            let message =
                format!("structured metadata {bytes} B > {metadata_bytes_max} (--limits.max-metadata-bytes)");
            return Err(Rejection::new(Reason::MetadataBytes, message));
        }
        Ok(line.len() + bytes)
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), Rejection> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            let message = "the request's entries take too much memory (--limits.max-decoded-bytes)";
            Rejection::new(Reason::DecodedSize, message)
        })?;
        Ok(())
    }

    /// Senders keep the entries of a stream together, so it is the last one or new.
    fn rows(&mut self, stream: &Stream) -> Result<&mut StreamRows, Rejection> {
        let streams = &self.batch.shards[stream.shard].streams;
        if streams.last().is_none_or(|last| last.labels != stream.labels) {
            self.take_bytes(STREAM_BYTES + stream.labels.text_len())?;
            self.batch.shards[stream.shard].streams.push(StreamRows::new(stream.labels.clone()));
        }
        Ok(self.batch.shards[stream.shard].streams.last_mut().expect("it was there or was just added"))
    }

    /// What was admitted, and what was refused.
    pub fn finish(self) -> (LogBatch, Outcome, Refusals) {
        let outcome = Outcome { log_entries: self.entry_count, ..Outcome::default() };
        (self.batch, outcome, self.refusals)
    }
}

/// What the sender, or someone on the way, has found already.
fn found_before<'m>(mut metadata: impl Iterator<Item = (&'m str, &'m str)>) -> Option<Level> {
    metadata.find(|(name, _)| *name == DETECTED_LEVEL).and_then(|(_, value)| Level::named(value.as_bytes()))
}

/// Every row of a batch, as `labels time line {name=value, …}`.
#[cfg(test)]
pub fn shown(batch: &LogBatch) -> Vec<String> {
    let streams = batch.shards.iter().flat_map(|shard| &shard.streams);
    let rows = streams.flat_map(|stream| {
        stream.entries().map(|entry| {
            let metadata: Vec<String> =
                entry.metadata().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {:?} {{{}}}", stream.labels, entry.timestamp, entry.line, metadata.join(", "))
        })
    });
    rows.collect()
}
