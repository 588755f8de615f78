//! A generation of the log back into heads.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::appender::Appender;
use super::head::{LogHead, group_fingerprint};
use super::log::{BadPayload, read_payload};
use crate::model::Labels;

/// What the frames of one generation have declared so far.
#[derive(Default)]
pub(in crate::storage) struct LogsReplay {
    /// By the shard that wrote them.
    soft_labels: HashMap<u16, Vec<String>, RandomState>,
    /// By shard and id there: the stream, and the head that takes its entries.
    streams: HashMap<(u16, u32), (Labels, usize), RandomState>,
    appenders: Vec<Appender>,
}

impl LogsReplay {
    /// Puts the entries of a frame into the heads of the generation; there may be more or fewer than shards wrote it.
    /// Where the frame makes no sense, what does is there.
    pub fn frame(&mut self, shard: u16, payload: &[u8], heads: &[Arc<LogHead>]) -> Result<(), BadPayload> {
        let rows = read_payload(payload)?;
        if self.appenders.is_empty() {
            self.appenders = heads.iter().map(|head| Appender::new(head.clone())).collect();
        }
        if !rows.soft_labels.is_empty() {
            heads.iter().for_each(|head| head.add_soft_labels(&rows.soft_labels));
            self.soft_labels.insert(shard, rows.soft_labels);
        }
        for (id, labels) in rows.streams {
            let soft_labels = self.soft_labels.get(&shard).map_or(&[][..], Vec::as_slice);
            // So that a group is in one head, whatever shards there were.
            let head = (group_fingerprint(&labels, soft_labels) % heads.len() as u128) as usize;
            self.streams.insert((shard, id), (labels, head));
        }
        let mut result = Ok(());
        for (id, rows) in rows.rows {
            let Some((labels, head)) = self.streams.get(&(shard, id)) else {
                result = Err(BadPayload("entries of a stream that a damaged record declared are lost"));
                continue;
            };
            let soft_labels = self.soft_labels.get(&shard).map_or(&[][..], Vec::as_slice);
            self.appenders[*head].append(labels, &rows, soft_labels, |_| {});
        }
        result
    }
}
