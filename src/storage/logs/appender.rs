//! Finds or registers streams in one head, and adds entries to them.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::batch::{Entry, StreamRows};
use super::head::{LogHead, StreamWriter, group_fingerprint};
use crate::model::Labels;

pub(super) struct Appender {
    head: Arc<LogHead>,
    streams: HashMap<Labels, StreamWriter, RandomState>,
    /// Numbers of groups by the fingerprint of their labels.
    groups: HashMap<u128, u32, RandomState>,
}

/// What became of the entries of one stream.
pub(super) struct Appended {
    pub stream: u32,
    /// The stream was not known in this head.
    pub is_new: bool,
    /// Entries that were there already.
    pub duplicates: u64,
}

impl Appender {
    pub fn new(head: Arc<LogHead>) -> Appender {
        Appender { head, streams: HashMap::default(), groups: HashMap::default() }
    }

    /// Adds entries to the stream with these labels; each that was taken is shown to `taken`.
    pub fn append<'a>(
        &mut self,
        labels: &Labels,
        rows: &'a StreamRows,
        soft_labels: &[String],
        taken: impl FnMut(&Entry<'a>),
    ) -> Appended {
        let is_new = !self.streams.contains_key(labels);
        if is_new {
            let fingerprint = group_fingerprint(labels, soft_labels);
            let head = &self.head;
            let group = *self.groups.entry(fingerprint).or_insert_with(|| head.add_group());
            self.streams.insert(labels.clone(), head.add_stream(labels, group));
        }
        let writer = self.streams.get_mut(labels).expect("registered above");
        let duplicates = self.head.append(writer, rows.entries(), taken);
        Appended { stream: writer.id, is_new, duplicates }
    }
}
