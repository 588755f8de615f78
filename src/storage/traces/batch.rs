//! What one request writes, already split by shard: the spans of a trace go to one shard.

use std::ops::Range;

use crate::model::TraceId;

/// The spans of one request for all shards, made with `Store::span_batch`.
#[derive(Clone, Debug)]
pub struct SpanBatch {
    pub shards: Vec<SpanRows>,
}

/// The rows of one shard.
#[derive(Clone, Debug, Default)]
pub struct SpanRows {
    /// Where spans come from: each an encoded OTLP `ResourceSpans` with its resource, one `ScopeSpans` with its scope
    /// and no spans, and the schema URLs of both.
    pub origins: Vec<Vec<u8>>,
    pub spans: Vec<SpanRow>,
    /// Encoded OTLP `Span`s, one after the other.
    bytes: Vec<u8>,
}

/// One span; the ids and times are those of the encoded span.
#[derive(Clone, Debug)]
pub struct SpanRow {
    pub trace_id: TraceId,
    /// Index in [`SpanRows::origins`].
    pub origin: u32,
    pub start: i64,
    pub end: i64,
    bytes: Range<usize>,
}

impl SpanRows {
    /// Adds a span whose bytes are a valid OTLP `Span` with this trace id, a span id and these times.
    pub fn push(&mut self, trace_id: TraceId, origin: u32, start: i64, end: i64, span: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(span);
        self.spans.push(SpanRow { trace_id, origin, start, end, bytes: begin..self.bytes.len() });
    }

    /// The encoded OTLP `Span`.
    pub fn encoded(&self, row: &SpanRow) -> &[u8] {
        &self.bytes[row.bytes.clone()]
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

impl SpanBatch {
    pub fn new(shard_count: usize) -> SpanBatch {
        SpanBatch { shards: vec![SpanRows::default(); shard_count] }
    }

    /// Which shard takes the spans of a trace: ids are random, but some senders fill the first half with zeros.
    pub fn shard_of(&self, id: TraceId) -> usize {
        let [high, low] = [&id.0[..8], &id.0[8..]]
            .map(|half| u64::from_be_bytes(half.try_into().expect("half of 16 bytes")));
        ((high ^ low) % self.shards.len() as u64) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(SpanRows::is_empty)
    }
}
