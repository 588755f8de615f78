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
    /// By id: the stream of each in the round that it was last written in.
    series: Vec<SeriesWriter>,
    /// That of the generation that `head` belongs to.
    round: u32,
    rounds: Rounds,
    /// Generations and when they were opened, oldest first, as far back as retiring looks.
    opened: VecDeque<(u64, Timestamp)>,
    deltas: DeltaTotals,
    /// Series that were registered and not written then, and when that was looked at.
    unwritten: (Timestamp, RoaringBitmap),
}

/// Generations in half the bits, for what is kept of each series: counted from `base` on, from 1. Round 0 is none.
#[derive(Default)]
struct Rounds {
    base: u64,
}

impl Rounds {
    /// The round of a generation that comes after all others, and whether it begins a count, in which all that were before are round
    /// 1: it does where it is too far ahead, as only who names a directory of the log by himself can have it.
    fn next(&mut self, generation: u64) -> (u32, bool) {
        match u32::try_from(generation - self.base) {
            Ok(round) => (round, false),
            Err(_) => {
                self.base = generation - 2;
                (2, true)
            }
        }
    }

    /// Its generation, or where a count began anew, one that is not older.
    fn generation(&self, round: u32) -> u64 {
        if round == 0 { 0 } else { self.base + u64::from(round) }
    }
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
            round: 0,
            rounds: Rounds::default(),
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
        let (round, begins_count) = self.rounds.next(generation);
        if begins_count {
            self.series.iter_mut().for_each(|series| series.round = series.round.min(1));
        }
        self.round = round;
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
        let idle = |&id: &u32| (1..before).contains(&self.written_in(id));
        (0..self.series.len() as u32).filter(idle).collect()
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
        self.series.get(id as usize).map_or(0, |series| self.rounds.generation(series.round))
    }

    /// Removes those series that nobody has asked for since they were marked and that no generation from
    /// `oldest_live` on holds.
    pub fn retire(&mut self, ids: &[u32], oldest_live: u64) -> Vec<u32> {
        let gone = self.registry.retire(ids, |id| self.written_in(id) < oldest_live);
        for &id in &gone {
            self.deltas.forget(id);
            if let Some(series) = self.series.get_mut(id as usize) {
                series.round = 0;
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
            self.series.resize_with(id as usize + 1, SeriesWriter::new);
        }
        let series = &mut self.series[id as usize];
        if series.round == self.round {
            return false;
        }
        *series = SeriesWriter::of_round(self.round);
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
            let stream = &mut self.series[row.id as usize];
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

    fn writer(registry: &SharedRegistry) -> MetricsWriter {
        let counter = || IntCounter::new("n", "help").unwrap();
        let counters = WriterCounters {
            samples: counter(),
            duplicates: counter(),
            late: counter(),
            repeated_deltas: counter(),
        };
        let (head, deltas) = (Arc::new(Head::new(100)), DeltaTotals::new(1, 1));
        MetricsWriter::new(registry.clone(), Default::default(), counters, Default::default(), deltas, head)
    }

    fn register(registry: &SharedRegistry, name: &str) -> u32 {
        let labels = Labels::from_pairs([("__name__", name)]).unwrap();
        registry.find_or_insert(&labels, labels.fingerprint(), 100).unwrap().0
    }

    fn sample(id: u32, timestamp: Timestamp) -> MetricRows {
        MetricRows { samples: vec![SampleRow { id, timestamp, value: 1.0 }], ..MetricRows::default() }
    }

    #[test]
    fn series_that_are_known_do_not_wait_for_who_registers_others() {
        let registry = SharedRegistry::default();
        let mut writer = writer(&registry);
        writer.rotate(Arc::new(Head::new(100)), 1, 0);
        let id = register(&registry, "known");
        writer.append(sample(id, 1), &mut Vec::new());

        let (sender, receiver) = channel();
        let held = registry.held_by_a_writer();
        std::thread::spawn(move || {
            writer.append(sample(id, 2), &mut Vec::new());
            sender.send(writer.head.sample_count())
        });
        let found = receiver.recv_timeout(Duration::from_secs(10));
        drop(held);
        assert_eq!(found, Ok(2));
    }

    #[test]
    fn generations_are_told_apart_however_far_ahead_somebody_has_named_them() {
        let registry = SharedRegistry::default();
        let mut writer = writer(&registry);
        let ids = ["a", "b", "c", "d"].map(|name| register(&registry, name));
        let generations = [3, u64::from(u32::MAX), 1 << 40, u64::MAX - 7];
        for (opened_at, generation) in (0..).zip(generations) {
            writer.rotate(Arc::new(Head::new(100)), generation, opened_at);
            let mut payload = Vec::new();
            for &id in &ids[opened_at as usize..] {
                writer.append(sample(id, 10 + opened_at), &mut payload);
                assert!(writer.head.holds(id));
            }
            let declared = log::read_payload(&payload)
                .unwrap()
                .series
                .iter()
                .map(|series| series.id)
                .collect::<Vec<_>>();
            assert_eq!(declared, ids[opened_at as usize..], "generation {generation}");
        }
        let idle = |writer: &mut MetricsWriter, oldest_live| writer.idle_ids(3, oldest_live);
        // Those of generations before a leap are taken for newer ones, and may stay too long.
        assert_eq!(idle(&mut writer, 3), [0; 0]);
        assert_eq!(idle(&mut writer, 4), [0; 0]);
        assert_eq!(idle(&mut writer, u64::MAX - 7), ids[..3]);
    }
}
