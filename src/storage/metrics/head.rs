//! What one shard holds in memory of one generation: written by the shard's thread, read by anyone.
//!
//! Samples in order go to streams in the arena, without locks. What is rare goes to the side store behind a short
//! lock: late samples, histograms, exemplars, start times.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::SampleBuffer;
use super::merge::{merge_floats, merge_histograms};
use super::stream::{STREAM_BYTES_MIN, StreamWriter, first_time, next_block, read_stream};
use super::words::{Aside, Slot, SlotTable, WordArena};
use crate::model::{Exemplar, Histogram, TimeRange, Timestamp};
use crate::storage::partition::{partition_of, partition_range};

/// As many hold the samples of a series in a generation of many series.
const BLOCKS_FETCHED: usize = 2;

pub(in crate::storage) struct Head {
    arena: WordArena,
    slots: SlotTable,
    side: Mutex<Side>,
    samples: AtomicU64,
    streams: AtomicU64,
    side_bytes: AtomicU64,
    min_time: AtomicI64,
    max_time: AtomicI64,
    /// The partition of the sample before, and all that were met.
    partition: AtomicI64,
    partitions: Mutex<BTreeSet<Timestamp>>,
}

#[derive(Default)]
struct Side {
    late: HashMap<u32, Vec<(Timestamp, f64)>, RandomState>,
    histograms: HashMap<u32, Vec<(Timestamp, Arc<Histogram>)>, RandomState>,
    starts: HashMap<u32, Vec<(Timestamp, Timestamp)>, RandomState>,
    exemplars: HashMap<u32, Vec<Exemplar>, RandomState>,
}

/// What became of a float sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Appended {
    InOrder,
    /// The last sample again, bit for bit: nothing to do.
    Duplicate,
    /// Kept aside; it may replace a sample with the same timestamp.
    Late,
}

/// What the shard's thread remembers of a series in this generation.
pub(super) type SeriesWriter = StreamWriter;

impl Head {
    pub fn new(series_ids_max: usize) -> Head {
        Head {
            arena: WordArena::new(),
            slots: SlotTable::new(series_ids_max),
            side: Mutex::default(),
            samples: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            side_bytes: AtomicU64::new(0),
            min_time: AtomicI64::new(i64::MAX),
            max_time: AtomicI64::new(i64::MIN),
            partition: AtomicI64::new(i64::MAX),
            partitions: Mutex::default(),
        }
    }

    /// Samples and histograms taken, duplicates not counted.
    pub fn sample_count(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    pub fn memory_bytes(&self) -> u64 {
        self.arena.bytes() + self.side_bytes.load(Ordering::Relaxed)
    }

    /// Series with samples in order.
    pub fn stream_count(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// How much of that its series take each with its first sample, and for those that follow it.
    pub fn reserved_bytes(&self) -> u64 {
        self.stream_count() * STREAM_BYTES_MIN
    }

    /// The partitions that its samples and exemplars belong to.
    pub fn partitions(&self) -> BTreeSet<Timestamp> {
        self.partitions.lock().clone()
    }

    /// First and last timestamp; an empty range where there is nothing.
    pub fn time_range(&self) -> TimeRange {
        let (min, max) = (self.min_time.load(Ordering::Relaxed), self.max_time.load(Ordering::Relaxed));
        if min > max { TimeRange { after: 0, until: 0 } } else { TimeRange::closed(min, max) }
    }

    /// Only for the shard's thread, or in a replay who has locked the shard's writer, as all that writes.
    pub(super) fn append_float(
        &self,
        writer: &mut SeriesWriter,
        id: u32,
        timestamp: Timestamp,
        value: f64,
    ) -> Appended {
        let is_first = writer.is_empty();
        if is_first || timestamp > writer.last_time {
            let slot = self.slots.get_or_create(id);
            if let Ok(()) = writer.append(&self.arena, slot, timestamp, value.to_bits()) {
                if is_first {
                    self.streams.fetch_add(1, Ordering::Relaxed);
                }
                self.note(timestamp);
                return Appended::InOrder;
            }
            // The arena is full, far beyond the mark at which a generation is sealed: nothing is lost, only less
            // compact.
        } else if timestamp == writer.last_time {
            if value.to_bits() == writer.last_bits && !writer.is_last_replaced {
                return Appended::Duplicate;
            }
            writer.is_last_replaced = true;
        }
        self.side.lock().late.entry(id).or_default().push((timestamp, value));
        self.note_side(id, timestamp, 16);
        Appended::Late
    }

    pub fn append_histogram(&self, id: u32, timestamp: Timestamp, histogram: Arc<Histogram>) {
        let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
        let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
        let bytes = 160 + 8 * (buckets + spans + histogram.custom_bounds.len());
        self.side.lock().histograms.entry(id).or_default().push((timestamp, histogram));
        self.note_side(id, timestamp, bytes as u64);
    }

    /// From `timestamp` on the series counts since `start`. Repetitions are dropped.
    pub fn append_start(&self, id: u32, timestamp: Timestamp, start: Timestamp) {
        let mut side = self.side.lock();
        let starts = side.starts.entry(id).or_default();
        if starts.last().is_none_or(|last| last.1 != start) {
            starts.push((timestamp, start));
            drop(side);
            self.mark_side(id, Aside::Starts, 16);
        }
    }

    /// Keeps an exemplar unless the series' last one is the same.
    pub fn append_exemplar(&self, id: u32, exemplar: Exemplar) {
        let mut side = self.side.lock();
        let exemplars = side.exemplars.entry(id).or_default();
        if exemplars.last() == Some(&exemplar) {
            return;
        }
        let (timestamp, bytes) = (exemplar.timestamp, 48 + exemplar.labels.text_len() as u64);
        exemplars.push(exemplar);
        drop(side);
        self.note_time(timestamp);
        self.mark_side(id, Aside::Exemplars, bytes);
    }

    fn note(&self, timestamp: Timestamp) {
        // One thread writes, so plain loads and stores count right.
        self.samples.store(self.samples.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.note_time(timestamp);
    }

    fn note_time(&self, timestamp: Timestamp) {
        let max = self.max_time.load(Ordering::Relaxed);
        if timestamp == max {
            // As the one before it, most often; all is known of this one.
            return;
        }
        if timestamp < self.min_time.load(Ordering::Relaxed) {
            self.min_time.store(timestamp, Ordering::Relaxed);
        }
        if timestamp > max {
            self.max_time.store(timestamp, Ordering::Relaxed);
        }
        if !partition_range(self.partition.load(Ordering::Relaxed)).contains(timestamp) {
            let partition = partition_of(timestamp);
            self.partition.store(partition, Ordering::Relaxed);
            self.partitions.lock().insert(partition);
        }
    }

    fn note_side(&self, id: u32, timestamp: Timestamp, bytes: u64) {
        self.note(timestamp);
        self.mark_side(id, Aside::Samples, bytes);
    }

    fn mark_side(&self, id: u32, aside: Aside, bytes: u64) {
        self.slots.get_or_create(id).mark(aside);
        self.side_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the series has samples or exemplars here.
    pub fn holds(&self, id: u32) -> bool {
        self.slots.get(id).is_some_and(|slot| slot.is_used())
    }

    /// Whether some of them lie in the range.
    pub fn holds_in(&self, id: u32, range: TimeRange) -> bool {
        let first = self.slots.get(id).and_then(|slot| first_time(&self.arena, slot));
        if first.is_some_and(|time| range.contains(time)) {
            return true;
        }
        let mut samples = SampleBuffer::default();
        self.read(id, range, &mut samples);
        !samples.is_empty() || !self.exemplars(id, range).is_empty()
    }

    fn has(&self, id: u32, aside: Aside) -> bool {
        self.slots.get(id).is_some_and(|slot| slot.has(aside))
    }

    /// Ids of the series that have samples or exemplars here.
    pub fn series_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.slots().filter(|(_, slot)| slot.is_used()).map(|(id, _)| id)
    }

    /// Has memory bring what the streams of these series begin with, each given with its head: who reads one after the other
    /// waits for each of them, but here none waits for another.
    pub fn fetch<'h>(series: impl Iterator<Item = (&'h Head, u32)>) {
        let mut blocks: Vec<(&Head, Option<u32>)> =
            series.map(|(head, id)| (head, head.slots.get(id).and_then(Slot::first_block))).collect();
        for _ in 0..BLOCKS_FETCHED {
            for (head, block) in &mut blocks {
                *block = block.and_then(|block| next_block(&head.arena, block));
            }
        }
        black_box(blocks);
    }

    /// Samples of a series here, before repeated timestamps are settled.
    pub fn count_at_most(&self, id: u32) -> u64 {
        let Some(slot) = self.slots.get(id) else { return 0 };
        let mut count = u64::from(slot.stream().1);
        if slot.has(Aside::Samples) {
            let side = self.side.lock();
            count += side.late.get(&id).map_or(0, Vec::len) as u64;
            count += side.histograms.get(&id).map_or(0, Vec::len) as u64;
        }
        count
    }

    /// Merges the samples of a series into `samples`, over older ones with the same timestamps.
    pub fn read(&self, id: u32, range: TimeRange, samples: &mut SampleBuffer) {
        let Some(slot) = self.slots.get(id) else { return };
        let mut read = SampleBuffer::default();
        let into_empty = samples.float_timestamps.is_empty();
        let target = if into_empty { &mut *samples } else { &mut read };
        read_stream(&self.arena, slot, |timestamp, bits| {
            if range.contains(timestamp) {
                target.float_timestamps.push(timestamp);
                target.floats.push(f64::from_bits(bits));
            }
        });
        if !into_empty {
            merge_floats(samples, &read.float_timestamps, &read.floats);
        }
        if slot.has(Aside::Samples) {
            self.read_side(id, range, samples);
        }
    }

    /// What came late replaces what is there: it was sent after it, or it would have gone to the stream.
    fn read_side(&self, id: u32, range: TimeRange, samples: &mut SampleBuffer) {
        let side = self.side.lock();
        let late = in_order(side.late.get(&id).map_or(&[][..], Vec::as_slice), range);
        let histograms = in_order(side.histograms.get(&id).map_or(&[][..], Vec::as_slice), range);
        drop(side);
        let (timestamps, values): (Vec<_>, Vec<_>) = late.into_iter().unzip();
        merge_floats(samples, &timestamps, &values);
        let (timestamps, values): (Vec<_>, Vec<_>) = histograms.into_iter().unzip();
        merge_histograms(samples, &timestamps, &values);
    }

    pub fn starts(&self, id: u32) -> Vec<(Timestamp, Timestamp)> {
        if !self.has(id, Aside::Starts) {
            return Vec::new();
        }
        self.side.lock().starts.get(&id).cloned().unwrap_or_default()
    }

    pub fn exemplars(&self, id: u32, range: TimeRange) -> Vec<Exemplar> {
        if !self.has(id, Aside::Exemplars) {
            return Vec::new();
        }
        let side = self.side.lock();
        let all = side.exemplars.get(&id).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|e| range.contains(e.timestamp)).cloned().collect()
    }
}

/// Those in range, by time; of equal timestamps the one that came last.
fn in_order<V: Clone>(arrived: &[(Timestamp, V)], range: TimeRange) -> Vec<(Timestamp, V)> {
    let mut sorted: Vec<_> = arrived.iter().filter(|(t, _)| range.contains(*t)).cloned().collect();
    // Stable: equal timestamps stay in the order of their arrival; reversed, so that the first one kept is the last.
    sorted.reverse();
    sorted.sort_by_key(|(t, _)| *t);
    sorted.dedup_by_key(|(t, _)| *t);
    sorted
}
