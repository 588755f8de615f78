//! What one shard holds in memory of one generation: written by the shard's thread, read by anyone.
//!
//! Streams that differ in soft labels only share a group. The rows of a group lie in chunks: those that are full never
//! change, and readers hold them as long as they like; the open one is behind a lock that is held for microseconds.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::batch::Entry;
use super::rows::Rows;
use crate::model::labels::label_hash;
use crate::model::nanos::to_millis;
use crate::model::{Labels, NanoRange, Nanos, TimeRange, Timestamp};
use crate::storage::partition::{partition_of, partition_range};

/// A chunk is full at this much text. A reader may copy an open chunk, which takes some 20 µs. Somewhat less than a
/// power of two, so that a full one fits into an allocation of 128 KiB.
const CHUNK_TEXT_BYTES: usize = 124 << 10;
/// … or at this many rows, however short.
const CHUNK_ROWS_MAX: usize = 8192;
/// … or at this many names of metadata: each becomes a column.
pub(super) const METADATA_NAMES_MAX: usize = 1024;

/// Chunks that are searched for a repeated entry. Who sends again does so soon.
const SEARCHED_CHUNKS_MAX: usize = 8;

pub struct LogHead {
    streams: RwLock<Streams>,
    row_count: AtomicU64,
    memory_bytes: AtomicU64,
    min_time: AtomicI64,
    max_time: AtomicI64,
    /// The partition of the entry before, and all that were met.
    partition: AtomicI64,
    partitions: Mutex<BTreeSet<Timestamp>>,
}

#[derive(Default)]
struct Streams {
    all: Vec<HeadStream>,
    groups: Vec<Arc<Group>>,
    /// Names of labels that do not part groups.
    soft_labels: BTreeSet<String>,
}

/// A stream, numbered by its place.
pub(super) struct HeadStream {
    pub labels: Labels,
    pub fingerprint: u128,
    pub group: u32,
}

/// The chunks of the streams that differ in soft labels only.
#[derive(Default)]
pub(super) struct Group {
    chunks: Mutex<Chunks>,
}

#[derive(Default)]
struct Chunks {
    full: Vec<Arc<Chunk>>,
    open: Chunk,
}

/// Rows in order of arrival.
#[derive(Clone)]
pub(super) struct Chunk {
    /// Their stream numbers are indexes in `shares`.
    pub rows: Rows,
    pub shares: Vec<Share>,
    pub min_time: Nanos,
    pub max_time: Nanos,
    pub is_sorted: bool,
    /// The last row with each hash; made when an entry comes late, for only such a one can be here already.
    rows_by_hash: OnceLock<HashMap<u64, u32, RandomState>>,
}

fn entry_hash(share: u32, time: Nanos, line: &str) -> u64 {
    xxh3_64_with_seed(line.as_bytes(), time as u64 ^ u64::from(share) << 40)
}

/// What one stream has in a chunk or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub stream: u32,
    pub rows: u64,
    /// Of lines.
    pub bytes: u64,
}

/// What readers are told of a chunk.
pub(super) struct ChunkSummary {
    /// Its place in the group.
    pub number: u32,
    pub row_count: u32,
    pub range: NanoRange,
    pub shares: Vec<Share>,
}

/// What the shard's thread remembers of a stream.
pub(super) struct StreamWriter {
    pub id: u32,
    pub group: Arc<Group>,
    /// Its share in this chunk of the group has this number.
    share: (u32, u32),
    newest: Nanos,
}

/// The labels that decide which streams lie together, as one number.
pub(in crate::storage) fn group_fingerprint(labels: &Labels, soft_labels: &[String]) -> u128 {
    let hard = labels.iter().filter(|(name, _)| !soft_labels.iter().any(|soft| soft == name));
    hard.fold(0u128, |sum, (name, value)| sum.wrapping_add(label_hash(name, value)))
}

impl Default for LogHead {
    fn default() -> LogHead {
        LogHead {
            streams: RwLock::default(),
            row_count: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            min_time: AtomicI64::new(Nanos::MAX),
            max_time: AtomicI64::new(Nanos::MIN),
            partition: AtomicI64::new(i64::MAX),
            partitions: Mutex::default(),
        }
    }
}

impl LogHead {
    /// Entries taken, duplicates not counted.
    pub fn row_count(&self) -> u64 {
        self.row_count.load(Ordering::Relaxed)
    }

    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// The partitions that its entries belong to.
    pub fn partitions(&self) -> BTreeSet<Timestamp> {
        self.partitions.lock().clone()
    }

    /// First and last time; an empty range where there is nothing.
    pub fn time_range(&self) -> TimeRange {
        let range = self.nano_range();
        if range.is_empty() { TimeRange { after: 0, until: 0 } } else { range.to_millis() }
    }

    pub(super) fn nano_range(&self) -> NanoRange {
        let (min, max) = (self.min_time.load(Ordering::Relaxed), self.max_time.load(Ordering::Relaxed));
        if min > max { NanoRange { after: 0, until: 0 } } else { NanoRange::closed(min, max) }
    }

    /// Names of the labels that do not part its streams into groups.
    pub(super) fn soft_labels(&self) -> BTreeSet<String> {
        self.streams.read().soft_labels.clone()
    }

    /// Calls `each` with every stream and its number.
    pub(super) fn for_each_stream(&self, mut each: impl FnMut(u32, &HeadStream)) {
        let streams = self.streams.read();
        streams.all.iter().enumerate().for_each(|(id, stream)| each(id as u32, stream));
    }

    pub(super) fn group(&self, number: u32) -> Arc<Group> {
        self.streams.read().groups[number as usize].clone()
    }

    pub(super) fn groups(&self) -> Vec<Arc<Group>> {
        self.streams.read().groups.clone()
    }

    /// Of streams that are registered from now on, these labels do not part groups.
    pub(super) fn add_soft_labels(&self, names: &[String]) {
        self.streams.write().soft_labels.extend(names.iter().cloned());
    }

    /// Opens a group. Only for the shard's thread, as all that writes.
    pub(super) fn add_group(&self) -> u32 {
        let mut streams = self.streams.write();
        streams.groups.push(Arc::default());
        self.memory_bytes.fetch_add(2 * size_of::<Group>() as u64, Ordering::Relaxed);
        streams.groups.len() as u32 - 1
    }

    /// Registers a stream that is new to this head.
    pub(super) fn add_stream(&self, labels: &Labels, group: u32) -> StreamWriter {
        let mut streams = self.streams.write();
        let id = streams.all.len() as u32;
        streams.all.push(HeadStream { labels: labels.clone(), fingerprint: labels.fingerprint(), group });
        let group = streams.groups[group as usize].clone();
        // Labels lie in the writer's table as well, but as the same allocation.
        let bytes = labels.text_len() + 2 * size_of::<HeadStream>() + 2 * size_of::<StreamWriter>();
        self.memory_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        StreamWriter { id, group, share: (u32::MAX, 0), newest: Nanos::MIN }
    }

    /// Adds entries of a stream; each that was taken is shown to `taken`. The others were there already, with the same
    /// time, line and metadata. Returns how many those were.
    pub(super) fn append<'a>(
        &self,
        writer: &mut StreamWriter,
        entries: impl Iterator<Item = Entry<'a>>,
        mut taken: impl FnMut(&Entry<'a>),
    ) -> u64 {
        let group = writer.group.clone();
        let mut chunks = group.chunks.lock();
        let (mut repeated, mut count, mut grown) = (0, 0, -(chunks.open.rows.memory_bytes() as i64));
        for entry in entries {
            if entry.timestamp <= writer.newest && chunks.hold(writer.id, &entry) {
                repeated += 1;
                continue;
            }
            writer.newest = writer.newest.max(entry.timestamp);
            chunks.push(writer, &entry);
            count += 1;
            self.note_time(entry.timestamp);
            taken(&entry);
            if chunks.open.is_full() {
                grown += chunks.close_open() as i64;
            }
        }
        grown += chunks.open.rows.memory_bytes() as i64;
        drop(chunks);
        // One thread writes, so that a load and a store count right.
        self.row_count.store(self.row_count() + count, Ordering::Relaxed);
        self.memory_bytes.store(self.memory_bytes().saturating_add_signed(grown), Ordering::Relaxed);
        repeated
    }

    fn note_time(&self, time: Nanos) {
        if time < self.min_time.load(Ordering::Relaxed) {
            self.min_time.store(time, Ordering::Relaxed);
        }
        if time > self.max_time.load(Ordering::Relaxed) {
            self.max_time.store(time, Ordering::Relaxed);
        }
        let millis = to_millis(time);
        if !partition_range(self.partition.load(Ordering::Relaxed)).contains(millis) {
            let partition = partition_of(millis);
            self.partition.store(partition, Ordering::Relaxed);
            self.partitions.lock().insert(partition);
        }
    }
}

impl Group {
    /// The chunks that overlap `range` and that `wants` any stream of.
    pub fn summaries(&self, range: NanoRange, wants: impl Fn(u32) -> bool) -> Vec<ChunkSummary> {
        let chunks = self.chunks.lock();
        let full = chunks.full.iter().map(|chunk| &**chunk);
        let overlapping = full.chain([&chunks.open]).enumerate().filter(|(_, chunk)| chunk.overlaps(range));
        let mut found = Vec::new();
        for (number, chunk) in overlapping {
            let shares: Vec<Share> =
                chunk.shares.iter().filter(|share| wants(share.stream)).copied().collect();
            if !shares.is_empty() {
                found.push(ChunkSummary {
                    number: number as u32,
                    row_count: chunk.rows.len() as u32,
                    range: NanoRange::closed(chunk.min_time, chunk.max_time),
                    shares,
                });
            }
        }
        found
    }

    /// What the streams of a chunk have in it by now.
    pub fn shares(&self, number: u32) -> Vec<Share> {
        let chunks = self.chunks.lock();
        chunks.full.get(number as usize).map_or(&chunks.open, |chunk| &**chunk).shares.clone()
    }

    /// A chunk by its place, with all that it holds by now.
    pub fn chunk(&self, number: u32) -> Arc<Chunk> {
        let chunks = self.chunks.lock();
        match chunks.full.get(number as usize) {
            Some(chunk) => chunk.clone(),
            None => Arc::new(chunks.open.clone()),
        }
    }

    /// Adds the streams that have entries in `range`.
    pub fn streams_in(&self, range: NanoRange, found: &mut BTreeSet<u32>) {
        let chunks = self.chunks.lock();
        let full = chunks.full.iter().map(|chunk| &**chunk);
        for chunk in full.chain([&chunks.open]).filter(|chunk| chunk.overlaps(range)) {
            if range.contains(chunk.min_time) && range.contains(chunk.max_time) {
                found.extend(chunk.shares.iter().map(|share| share.stream));
                continue;
            }
            let times = chunk.rows.timestamps.iter().zip(&chunk.rows.streams);
            let inside = times.filter(|(time, _)| range.contains(**time));
            found.extend(inside.map(|(_, &share)| chunk.shares[share as usize].stream));
        }
    }

    /// All chunks that hold anything, oldest first.
    pub fn all_chunks(&self) -> Vec<Arc<Chunk>> {
        let chunks = self.chunks.lock();
        let mut all = chunks.full.clone();
        if chunks.open.rows.len() > 0 {
            all.push(Arc::new(chunks.open.clone()));
        }
        all
    }
}

impl Chunks {
    fn push(&mut self, writer: &mut StreamWriter, entry: &Entry<'_>) {
        let number = self.full.len() as u32;
        let open = &mut self.open;
        if writer.share.0 != number {
            writer.share = (number, open.shares.len() as u32);
            open.shares.push(Share { stream: writer.id, rows: 0, bytes: 0 });
        }
        open.is_sorted &= open.max_time <= entry.timestamp || open.rows.len() == 0;
        open.min_time = open.min_time.min(entry.timestamp);
        open.max_time = open.max_time.max(entry.timestamp);
        open.rows.push(entry.timestamp, writer.share.1, entry.line, entry.metadata());
        let row = open.rows.len() - 1;
        let hash = open.rows_by_hash.get().map(|_| open.hash_of(row));
        if let (Some(hash), Some(by_hash)) = (hash, open.rows_by_hash.get_mut()) {
            by_hash.insert(hash, row as u32);
        }
        let share = &mut open.shares[writer.share.1 as usize];
        share.rows += 1;
        share.bytes += entry.line.len() as u64;
    }

    /// Goes on in a new chunk; returns the memory that the old one holds. That is an exact copy: what grew by doubling
    /// takes up to twice its length, also when it is shrunk in place, and the next chunk can grow into it.
    fn close_open(&mut self) -> usize {
        let full = self.open.clone();
        self.open.clear();
        let bytes = full.rows.memory_bytes() + size_of::<Chunk>() + full.shares.len() * size_of::<Share>();
        self.full.push(Arc::new(full));
        bytes
    }

    /// Whether the stream has this entry already, as far as the youngest chunks tell.
    fn hold(&self, stream: u32, entry: &Entry<'_>) -> bool {
        let at = NanoRange::closed(entry.timestamp, entry.timestamp);
        let youngest_first = [&self.open].into_iter().chain(self.full.iter().rev().map(|chunk| &**chunk));
        let mut around = youngest_first.filter(|chunk| chunk.overlaps(at)).take(SEARCHED_CHUNKS_MAX);
        around.any(|chunk| chunk.holds(stream, entry))
    }
}

impl Default for Chunk {
    fn default() -> Chunk {
        let (min_time, max_time) = (Nanos::MAX, Nanos::MIN);
        Chunk {
            rows: Rows::default(),
            shares: Vec::new(),
            min_time,
            max_time,
            is_sorted: true,
            rows_by_hash: OnceLock::new(),
        }
    }
}

impl Chunk {
    fn clear(&mut self) {
        self.rows.clear();
        self.shares.clear();
        (self.min_time, self.max_time, self.is_sorted) = (Nanos::MAX, Nanos::MIN, true);
        self.rows_by_hash = OnceLock::new();
    }

    fn is_full(&self) -> bool {
        self.rows.text_bytes() >= CHUNK_TEXT_BYTES
            || self.rows.len() >= CHUNK_ROWS_MAX
            || self.rows.metadata.name_count() >= METADATA_NAMES_MAX
    }

    pub fn overlaps(&self, range: NanoRange) -> bool {
        self.min_time <= range.until && self.max_time > range.after
    }

    fn holds(&self, stream: u32, entry: &Entry<'_>) -> bool {
        let Some(share) = self.shares.iter().position(|share| share.stream == stream) else { return false };
        let by_hash = self
            .rows_by_hash
            .get_or_init(|| (0..self.rows.len()).map(|row| (self.hash_of(row), row as u32)).collect());
        let hash = entry_hash(share as u32, entry.timestamp, entry.line);
        by_hash.get(&hash).is_some_and(|&row| {
            let row = row as usize;
            self.rows.timestamps[row] == entry.timestamp
                && self.rows.streams[row] == share as u32
                && self.rows.lines.get(row) == entry.line
                && self.rows.metadata.of(row).eq(entry.metadata().filter(|(_, value)| !value.is_empty()))
        })
    }

    fn hash_of(&self, row: usize) -> u64 {
        entry_hash(self.rows.streams[row], self.rows.timestamps[row], self.rows.lines.get(row))
    }
}
