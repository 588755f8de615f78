//! What one shard holds in memory of one generation's spans: written by the shard's thread, read by anyone.
//!
//! Spans are kept as their bytes, in chunks. Only the last chunk is written to, behind a short lock; a full one is
//! frozen and shared with readers. A map from trace id to the trace's last row, and from each row to the one before it, finds
//! a trace without a scan.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::SpanRows;
use super::span::Origin;
use crate::model::nanos::to_millis;
use crate::model::{Nanos, TimeRange, Timestamp, TraceId};
use crate::storage::partition::partition_of;

/// Readers copy the open chunk, so it is small; a reader of all keeps no more than its frozen neighbours alive. Somewhat
/// less than a power of two, so that a full one fits into an allocation of 256 KiB.
const CHUNK_BYTES_MAX: usize = 252 << 10;
const CHUNK_ROWS_MAX: usize = 4096;

pub struct SpanHead {
    inner: Mutex<Inner>,
    rows: AtomicU64,
    bytes: AtomicU64,
}

struct Inner {
    frozen: Vec<Arc<Chunk>>,
    open: Chunk,
    /// The last row of each trace.
    traces: HashMap<TraceId, u32, RandomState>,
    origins: Vec<HeadOrigin>,
    partitions: BTreeSet<Timestamp>,
    range: TimeRange,
}

/// Where spans come from, as sent and as it is read.
#[derive(Clone)]
pub(super) struct HeadOrigin {
    pub encoded: Arc<[u8]>,
    pub decoded: Arc<Origin>,
}

/// Rows in order of their arrival.
#[derive(Clone, Default)]
pub(super) struct Chunk {
    /// The number of its first row in the head.
    first_row: u32,
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub trace_id: TraceId,
    pub start: Nanos,
    pub end: Nanos,
    /// Of its bytes in the chunk.
    bytes_end: usize,
    pub origin: u32,
    /// The row before it of the same trace, or its own number.
    before: u32,
}

/// All rows of a head at one instant.
pub(super) struct HeadRows {
    pub chunks: Vec<Arc<Chunk>>,
    pub origins: Vec<HeadOrigin>,
}

impl Chunk {
    /// Rows with their encoded spans.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, &[u8])> {
        self.rows.iter().enumerate().map(|(at, row)| (row, self.encoded(at)))
    }

    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    pub fn row(&self, at: usize) -> &Row {
        &self.rows[at]
    }

    /// The encoded span of a row.
    pub fn encoded(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.rows[before].bytes_end);
        &self.bytes[begin..self.rows[at].bytes_end]
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES_MAX || self.rows.len() >= CHUNK_ROWS_MAX
    }
}

impl Default for SpanHead {
    fn default() -> SpanHead {
        SpanHead::new()
    }
}

impl SpanHead {
    pub fn new() -> SpanHead {
        let inner = Inner {
            frozen: Vec::new(),
            open: Chunk::default(),
            traces: HashMap::default(),
            origins: Vec::new(),
            partitions: BTreeSet::new(),
            range: TimeRange { after: 0, until: 0 },
        };
        SpanHead { inner: Mutex::new(inner), rows: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub fn row_count(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub fn memory_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The partitions that its spans start in.
    pub fn partitions(&self) -> BTreeSet<Timestamp> {
        self.inner.lock().partitions.clone()
    }

    /// From the first start to the last end; an empty range where there is nothing.
    pub fn time_range(&self) -> TimeRange {
        self.inner.lock().range
    }

    /// Adds an origin and says its number. Only for the shard's thread, as all that writes.
    pub(super) fn add_origin(&self, encoded: &Arc<[u8]>) -> u32 {
        let decoded = Origin::decode(encoded).expect("receivers and replay check what they hand over");
        // The decoded form is some times as long as the bytes.
        let held = 4 * encoded.len() + size_of::<HeadOrigin>() + size_of::<Origin>();
        self.bytes.fetch_add(held as u64, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.origins.push(HeadOrigin { encoded: encoded.clone(), decoded: Arc::new(decoded) });
        inner.origins.len() as u32 - 1
    }

    /// Adds spans; `origins` says the number here of each of the rows' origins.
    pub(super) fn append(&self, rows: &SpanRows, origins: &[u32]) {
        let (mut inner, mut added) = (self.inner.lock(), 0);
        for row in &rows.spans {
            let origin = origins[row.origin as usize];
            added += inner.push(row.trace_id, row.start, row.end, origin, rows.encoded(row));
        }
        drop(inner);
        self.rows.fetch_add(rows.spans.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(added as u64, Ordering::Relaxed);
    }

    /// The spans of one trace, encoded, with their origins, in order of arrival.
    pub(super) fn trace(&self, id: TraceId) -> Vec<(Vec<u8>, Arc<Origin>)> {
        let inner = self.inner.lock();
        let rows = inner.rows_of(id).map(|(chunk, at)| {
            let origin = inner.origins[chunk.row(at).origin as usize].decoded.clone();
            (chunk.encoded(at).to_vec(), origin)
        });
        let mut found: Vec<_> = rows.collect();
        found.reverse();
        found
    }

    /// The earliest start of a trace's spans here.
    pub(super) fn first_start(&self, id: TraceId) -> Option<Nanos> {
        let inner = self.inner.lock();
        let rows = inner.rows_of(id).map(|(chunk, at)| chunk.row(at).start);
        rows.min()
    }

    /// All rows, to be read without the lock.
    pub(super) fn all_rows(&self) -> HeadRows {
        let inner = self.inner.lock();
        let mut chunks = inner.frozen.clone();
        chunks.push(Arc::new(inner.open.clone()));
        HeadRows { chunks, origins: inner.origins.clone() }
    }
}

impl Inner {
    /// Adds a row and says what it takes in memory.
    fn push(&mut self, trace_id: TraceId, start: Nanos, end: Nanos, origin: u32, encoded: &[u8]) -> usize {
        // A table keeps up to half of its slots free, and has a byte more for each.
        const TRACE_BYTES: usize = 2 * (size_of::<(TraceId, u32)>() + 1);
        if self.open.is_full() {
            // An exact copy: what grew by doubling takes up to twice its length, and the next chunk can grow into it.
            self.frozen.push(Arc::new(self.open.clone()));
            self.open.first_row += self.open.rows.len() as u32;
            self.open.rows.clear();
            self.open.bytes.clear();
        }
        let number = self.open.first_row + self.open.rows.len() as u32;
        let before = self.traces.insert(trace_id, number);
        let added = encoded.len() + size_of::<Row>() + before.map_or(TRACE_BYTES, |_| 0);
        let before = before.unwrap_or(number);
        self.open.bytes.extend_from_slice(encoded);
        let bytes_end = self.open.bytes.len();
        self.open.rows.push(Row { trace_id, start, end, bytes_end, origin, before });
        let [start, end] = [start, end.max(start)].map(to_millis);
        self.range = TimeRange::around([self.range, TimeRange::closed(start, end)]);
        self.partitions.insert(partition_of(start));
        added
    }

    /// The rows of a trace, the last one first, each in its chunk.
    fn rows_of(&self, id: TraceId) -> impl Iterator<Item = (&Chunk, usize)> {
        let mut next = self.traces.get(&id).copied();
        std::iter::from_fn(move || {
            let number = next?;
            let chunk = self.chunk_of(number);
            let at = (number - chunk.first_row) as usize;
            next = Some(chunk.row(at).before).filter(|&before| before != number);
            Some((chunk, at))
        })
    }

    fn chunk_of(&self, row: u32) -> &Chunk {
        match self.frozen.partition_point(|chunk| chunk.first_row <= row) {
            _ if row >= self.open.first_row => &self.open,
            after => &self.frozen[after - 1],
        }
    }
}
