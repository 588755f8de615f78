//! The metrics half of a shard's thread: rows in, head and log payload out. It alone writes the shard's heads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus::IntCounter;
use roaring::RoaringBitmap;

use super::changes::Changes;
use super::deltas::DeltaTotals;
use super::head::{Appended, Head, SeriesWriter};
use super::log::{self, LoggedRows};
use super::registry::SharedRegistry;
use super::{HistogramRow, MetricRows};
use crate::model::{MetricMetadata, Timestamp};

/// What is known of metric families; all shards share it.
pub(in crate::storage) type SharedMetadata = Arc<RwLock<BTreeMap<String, Vec<MetricMetadata>>>>;

/// Beyond these a sender's metadata is dropped: it is an aid to people, not data.
const FAMILIES_MAX: usize = 100_000;
const METADATA_PER_FAMILY_MAX: usize = 8;

/// What happened to samples on their way into a head.
#[derive(Clone)]
pub(in crate::storage) struct WriterCounters {
    pub samples: IntCounter,
    pub duplicates: IntCounter,
    pub late: IntCounter,
    pub repeated_deltas: IntCounter,
}

pub(in crate::storage) struct MetricsWriter {
    registry: SharedRegistry,
    metadata: SharedMetadata,
    counters: WriterCounters,
    changes: Arc<Changes>,
    head: Arc<Head>,
    series: Vec<SeriesState>,
    /// The generation that `head` belongs to.
    generation: u64,
    /// Generations and when they were opened, oldest first, as far back as retiring looks.
    opened: VecDeque<(u64, Timestamp)>,
    deltas: DeltaTotals,
    /// Series that were registered and not written then, and when that was looked at.
    unwritten: (Timestamp, RoaringBitmap),
}

/// The stream of one series, valid in the generation that it was last written in.
struct SeriesState {
    generation: u64,
    stream: SeriesWriter,
}

impl MetricsWriter {
    pub fn new(
        registry: SharedRegistry,
        metadata: SharedMetadata,
        counters: WriterCounters,
        changes: Arc<Changes>,
        deltas: DeltaTotals,
        head: Arc<Head>,
    ) -> MetricsWriter {
        MetricsWriter {
            registry,
            metadata,
            counters,
            changes,
            head,
            series: Vec::new(),
            generation: 0,
            opened: VecDeque::new(),
            deltas,
            unwritten: (Timestamp::MIN, RoaringBitmap::new()),
        }
    }

    /// Puts rows into the head and appends to `payload` what a replay needs to do the same.
    pub fn append(&mut self, mut rows: MetricRows, payload: &mut Vec<u8>) {
        let added_to = self.convert_deltas(&mut rows);
        self.declare(&rows, payload);
        rows.metadata.retain(|(family, metadata)| learn(&self.metadata, family, metadata));
        log::write_starts(&rows.starts, payload);
        log::write_samples(&rows.samples, payload);
        log::write_histograms(&rows.histograms, payload);
        log::write_exemplars(&rows.exemplars, payload);
        // Whoever replays this must go on adding where we do, and know which interval was the last.
        let totals: Vec<_> = added_to.iter().filter_map(|&id| Some((id, self.deltas.get(id)?))).collect();
        log::write_delta_totals(totals.into_iter(), payload);
        log::write_metadata(rows.metadata.iter().map(|(family, m)| (family.as_str(), m)), payload);
        if let Some(earliest) = self.apply(rows) {
            self.changes.note_samples(earliest);
        }
    }

    /// Puts rows that come from the log into the head; their ids are this shard's.
    pub fn replay(&mut self, rows: LoggedRows<'_>) {
        for (family, metadata) in &rows.metadata {
            learn(&self.metadata, family, metadata);
        }
        for (id, state) in rows.delta_totals {
            self.deltas.restore(id, state);
        }
        self.apply(MetricRows {
            samples: rows.samples,
            histograms: rows.histograms,
            starts: rows.starts,
            exemplars: rows.exemplars,
            ..MetricRows::default()
        });
    }

    /// Goes on in the head of a new generation.
    pub fn rotate(&mut self, head: Arc<Head>, generation: u64, opened_at: Timestamp) {
        self.head = head;
        self.generation = generation;
        // Else carrying them over would keep their series active for ever.
        self.deltas.forget_idle(opened_at);
        self.opened.push_back((generation, opened_at));
    }

    /// What a new generation must know to be replayed alone: totals of deltas, and (told by one shard for all)
    /// metadata.
    pub fn carry_over(&mut self, with_metadata: bool, payload: &mut Vec<u8>) {
        let ids: Vec<u32> = self.deltas.iter().map(|(id, _)| id).collect();
        self.declare_ids(ids, payload);
        log::write_delta_totals(self.deltas.iter(), payload);
        if with_metadata {
            let known = self.metadata.read();
            let all: Vec<_> =
                known.iter().flat_map(|(f, list)| list.iter().map(move |m| (f.as_str(), m))).collect();
            log::write_metadata(all.into_iter(), payload);
        }
    }

    /// Ids of series that were last written before `idle_since` and before the generation `oldest_live`.
    pub fn idle_ids(&mut self, idle_since: Timestamp, oldest_live: u64) -> Vec<u32> {
        // Who was last written before the newest generation that is older than `idle_since` has been idle that long.
        while self.opened.len() > 1 && self.opened[1].1 <= idle_since {
            self.opened.pop_front();
        }
        let Some(&(generation, opened_at)) = self.opened.front() else { return Vec::new() };
        if opened_at > idle_since {
            return Vec::new();
        }
        let before = generation.min(oldest_live);
        let idle = |(_, state): &(usize, &SeriesState)| state.generation > 0 && state.generation < before;
        self.series.iter().enumerate().filter(idle).map(|(id, _)| id as u32).collect()
    }

    /// Ids of series that were registered for samples which were then refused, and that nobody has written to since the
    /// call before, if that was long enough ago.
    pub fn never_written_ids(&mut self, now: Timestamp, idle_since: Timestamp) -> Vec<u32> {
        let (looked_at, before) = &self.unwritten;
        if *looked_at > idle_since {
            return Vec::new();
        }
        let is_first_look = *looked_at == Timestamp::MIN;
        let unwritten: RoaringBitmap =
            self.registry.ids().into_iter().filter(|&id| self.written_in(id) == 0).collect();
        let still = if is_first_look { Vec::new() } else { (before & &unwritten).into_iter().collect() };
        self.unwritten = (now, unwritten);
        still
    }

    /// The generation that the series was last written in; 0 if it never was.
    fn written_in(&self, id: u32) -> u64 {
        self.series.get(id as usize).map_or(0, |state| state.generation)
    }

    /// Removes those series that nobody has asked for since they were marked and that no generation from
    /// `oldest_live` on holds.
    pub fn retire(&mut self, ids: &[u32], oldest_live: u64) -> Vec<u32> {
        let gone = self.registry.retire(ids, |id| self.written_in(id) < oldest_live);
        for &id in &gone {
            self.deltas.forget(id);
            if let Some(state) = self.series.get_mut(id as usize) {
                state.generation = 0;
            }
        }
        gone
    }

    /// Turns deltas into totals; answers with the series whose totals changed, each once.
    fn convert_deltas(&mut self, rows: &mut MetricRows) -> Vec<u32> {
        let mut added_to = Vec::new();
        for row in std::mem::take(&mut rows.deltas) {
            match self.deltas.add(&row) {
                Some((sample, start)) => {
                    added_to.push(sample.id);
                    rows.samples.push(sample);
                    rows.starts.extend(start);
                }
                None => self.counters.repeated_deltas.inc(),
            }
        }
        for row in std::mem::take(&mut rows.delta_histograms) {
            match self.deltas.add_histogram(row) {
                Some((histogram, start)) => {
                    added_to.push(histogram.id);
                    rows.histograms.push(histogram);
                    rows.starts.extend(start);
                }
                None => self.counters.repeated_deltas.inc(),
            }
        }
        added_to.sort_unstable();
        added_to.dedup();
        added_to
    }

    /// Declares the series that this generation has not seen yet.
    fn declare(&mut self, rows: &MetricRows, payload: &mut Vec<u8>) {
        let mut fresh = Vec::new();
        let ids = rows.samples.iter().map(|r| r.id).chain(rows.histograms.iter().map(|r| r.id));
        for id in ids.chain(rows.starts.iter().map(|r| r.id)).chain(rows.exemplars.iter().map(|r| r.id)) {
            if self.touch(id) {
                fresh.push(id);
            }
        }
        self.declare_fresh(&fresh, payload);
    }

    fn declare_ids(&mut self, mut ids: Vec<u32>, payload: &mut Vec<u8>) {
        ids.retain(|&id| self.touch(id));
        self.declare_fresh(&ids, payload);
    }

    /// Most batches have none, and must not wait for the registry then.
    fn declare_fresh(&self, ids: &[u32], payload: &mut Vec<u8>) {
        if !ids.is_empty() {
            log::declare_series(ids, &self.registry.reading(), payload);
        }
    }

    /// Makes the state of a series one of this round; true if it was not.
    fn touch(&mut self, id: u32) -> bool {
        if self.series.len() <= id as usize {
            self.series
                .resize_with(id as usize + 1, || SeriesState { generation: 0, stream: SeriesWriter::new() });
        }
        let state = &mut self.series[id as usize];
        if state.generation == self.generation {
            return false;
        }
        *state = SeriesState { generation: self.generation, stream: SeriesWriter::new() };
        true
    }

    /// Answers with the earliest time of a sample that is news. Series are touched here for a replay; for others they have
    /// been declared.
    fn apply(&mut self, rows: MetricRows) -> Option<Timestamp> {
        for row in rows.starts {
            self.touch(row.id);
            self.head.append_start(row.id, row.timestamp, row.start);
        }
        let (mut late, mut duplicates, mut earliest) = (0, 0, Timestamp::MAX);
        self.counters.samples.inc_by((rows.samples.len() + rows.histograms.len()) as u64);
        for row in rows.samples {
            self.touch(row.id);
            let stream = &mut self.series[row.id as usize].stream;
            match self.head.append_float(stream, row.id, row.timestamp, row.value) {
                Appended::InOrder => {}
                Appended::Duplicate => {
                    duplicates += 1;
                    continue;
                }
                Appended::Late => late += 1,
            }
            earliest = earliest.min(row.timestamp);
        }
        self.counters.late.inc_by(late);
        self.counters.duplicates.inc_by(duplicates);
        for HistogramRow { id, timestamp, histogram } in rows.histograms {
            self.touch(id);
            earliest = earliest.min(timestamp);
            self.head.append_histogram(id, timestamp, Arc::from(histogram));
        }
        for row in rows.exemplars {
            self.touch(row.id);
            self.head.append_exemplar(row.id, row.exemplar);
        }
        Some(earliest).filter(|earliest| *earliest < Timestamp::MAX)
    }
}

/// Remembers metadata; true if it was news.
fn learn(known: &SharedMetadata, family: &str, metadata: &MetricMetadata) -> bool {
    if known.read().get(family).is_some_and(|list| list.contains(metadata)) {
        return false;
    }
    let mut known = known.write();
    if known.len() >= FAMILIES_MAX && !known.contains_key(family) {
        return false;
    }
    let list = known.entry(family.to_owned()).or_default();
    if list.len() >= METADATA_PER_FAMILY_MAX {
        list.remove(0);
    }
    list.push(metadata.clone());
    true
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::SampleRow;
    use super::*;
    use crate::model::Labels;

    #[test]
    fn series_that_are_known_do_not_wait_for_who_registers_others() {
        let (registry, counter) = (SharedRegistry::default(), || IntCounter::new("n", "help").unwrap());
        let counters = WriterCounters {
            samples: counter(),
            duplicates: counter(),
            late: counter(),
            repeated_deltas: counter(),
        };
        let (head, deltas) = (Arc::new(Head::new(100)), DeltaTotals::new(1, 1));
        let mut writer = MetricsWriter::new(
            registry.clone(),
            Default::default(),
            counters,
            Default::default(),
            deltas,
            head,
        );
        writer.rotate(Arc::new(Head::new(100)), 1, 0);
        let labels = Labels::from_pairs([("__name__", "known")]).unwrap();
        let (id, _) = registry.find_or_insert(&labels, labels.fingerprint(), 1).unwrap();
        let rows = move |timestamp| MetricRows {
            samples: vec![SampleRow { id, timestamp, value: 1.0 }],
            ..MetricRows::default()
        };
        writer.append(rows(1), &mut Vec::new());

        let (sender, receiver) = channel();
        let held = registry.held_by_a_writer();
        std::thread::spawn(move || {
            writer.append(rows(2), &mut Vec::new());
            sender.send(writer.head.sample_count())
        });
        let found = receiver.recv_timeout(Duration::from_secs(10));
        drop(held);
        assert_eq!(found, Ok(2));
    }
}
