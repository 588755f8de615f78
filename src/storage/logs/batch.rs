//! What one request writes, already split by shard.

use crate::model::{Labels, Nanos};

/// The entries of one request for all shards, made with `Store::log_batch`.
#[derive(Clone, Debug)]
pub struct LogBatch {
    pub shards: Vec<LogRows>,
}

/// The rows of one shard.
#[derive(Clone, Debug, Default)]
pub struct LogRows {
    pub streams: Vec<StreamRows>,
}

/// Entries of one stream, in order of arrival.
#[derive(Clone, Debug)]
pub struct StreamRows {
    /// All labels of the stream, with those that do not part blocks (`Options::soft_labels`) among them.
    pub labels: Labels,
    timestamps: Vec<Nanos>,
    /// Lines, one after the other.
    lines: String,
    line_ends: Vec<usize>,
    /// Names and values of the entries' structured metadata, one after the other.
    metadata: String,
    /// Where each name and each value ends.
    metadata_ends: Vec<usize>,
    /// For each entry, where its pairs end in `metadata_ends`.
    pair_ends: Vec<usize>,
}

/// One entry. Metadata names are as the sender wrote them, `k8s.node.name` and not `k8s_node_name`.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub timestamp: Nanos,
    pub line: &'a str,
    rows: &'a StreamRows,
    index: usize,
}

impl StreamRows {
    pub fn new(labels: Labels) -> StreamRows {
        StreamRows {
            labels,
            timestamps: Vec::new(),
            lines: String::new(),
            line_ends: Vec::new(),
            metadata: String::new(),
            metadata_ends: Vec::new(),
            pair_ends: Vec::new(),
        }
    }

    /// Adds an entry. Of metadata with the same name the first counts; empty values should be left out.
    pub fn push<'m>(
        &mut self,
        timestamp: Nanos,
        line: &str,
        metadata: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) {
        self.timestamps.push(timestamp);
        self.lines.push_str(line);
        self.line_ends.push(self.lines.len());
        for (name, value) in metadata {
            self.metadata.push_str(name);
            self.metadata_ends.push(self.metadata.len());
            self.metadata.push_str(value);
            self.metadata_ends.push(self.metadata.len());
        }
        self.pair_ends.push(self.metadata_ends.len());
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Bytes of all lines.
    pub fn line_bytes(&self) -> usize {
        self.lines.len()
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).map(|index| Entry {
            timestamp: self.timestamps[index],
            line: &self.lines[end_before(&self.line_ends, index)..self.line_ends[index]],
            rows: self,
            index,
        })
    }

    fn metadata_text(&self, index: usize) -> &str {
        &self.metadata[end_before(&self.metadata_ends, index)..self.metadata_ends[index]]
    }
}

fn end_before(ends: &[usize], index: usize) -> usize {
    index.checked_sub(1).map_or(0, |before| ends[before])
}

impl<'a> Entry<'a> {
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let rows = self.rows;
        let texts = end_before(&rows.pair_ends, self.index)..rows.pair_ends[self.index];
        texts.step_by(2).map(move |at| (rows.metadata_text(at), rows.metadata_text(at + 1)))
    }
}

impl LogRows {
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(StreamRows::is_empty)
    }
}

impl LogBatch {
    pub fn new(shard_count: usize) -> LogBatch {
        LogBatch { shards: vec![LogRows::default(); shard_count] }
    }

    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(LogRows::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_as_they_were_put_in() {
        let mut rows = StreamRows::new(Labels::from_sorted([("app", "a")]));
        rows.push(1, "first", [("k8s.node.name", "n1"), ("user", "u")]);
        rows.push(2, "", []);
        rows.push(3, "third", [("user", "v")]);
        let entries: Vec<_> =
            rows.entries().map(|e| (e.timestamp, e.line, e.metadata().collect::<Vec<_>>())).collect();
        assert_eq!(
            entries,
            [
                (1, "first", vec![("k8s.node.name", "n1"), ("user", "u")]),
                (2, "", vec![]),
                (3, "third", vec![("user", "v")]),
            ]
        );
        assert_eq!((rows.len(), rows.line_bytes()), (3, 10));
    }
}
