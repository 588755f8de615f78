//! The frames of one generation of the log into its heads, in lanes side by side: one for the metrics of each shard, and
//! one for logs and traces. The frames of a shard stay in the order in which they were written.
//!
//! The number of shards may have changed since: rows then belong to the writer of another lane, which is locked for
//! those of one frame. What all shards share (metadata of families) comes in any order.

use std::collections::HashMap;
use std::io;
use std::thread::{self, Scope};

use crossbeam::channel::{Receiver, Sender, bounded};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::generation::Generation;
use super::logs::LogsReplay;
use super::metrics::log::{BadPayload, DeclaredSeries, read_payload};
use super::metrics::{MetricsWriter, SeriesRef, SharedRegistry};
use super::signal::Signal;
use super::stats::StoreMetrics;
use super::store::shard_of;
use super::traces::TracesReplay;
use super::wal::{FileLog, Frame, FrameHeader, GenerationReport, replay_generation};

/// What the log holds was acknowledged, so no limit of today applies to it: 16 Mi series of one shard
/// take 6 GiB, and a table with room for them 16 KiB while it is empty.
pub(super) const RECOVERED_IDS_MAX: usize = 1 << 24;
/// Frames are of some MiB; a lane need not be far ahead of who reads them.
const FRAMES_WAITING_MAX: usize = 4;

/// What a generation is replayed into.
pub(super) struct Target<'t> {
    pub generation: &'t Generation,
    pub registries: &'t [SharedRegistry],
    pub writers: &'t [Mutex<MetricsWriter>],
    pub metrics: &'t StoreMetrics,
}

/// Replays all frames of the generation. One that is damaged, or says what nobody declared, costs itself and is
/// reported.
pub(super) fn replay_into(target: &Target<'_>, log: &FileLog) -> io::Result<GenerationReport> {
    thread::scope(|scope| {
        let lanes = Lanes::start(scope, target)?;
        replay_generation(log, target.generation.number, &mut |frame| lanes.take(&frame))
    })
}

struct Logged {
    header: FrameHeader,
    payload: Vec<u8>,
}

struct Lanes<'t> {
    generation: &'t Generation,
    metrics: Vec<Sender<Logged>>,
    others: Sender<Logged>,
}

impl<'t> Lanes<'t> {
    fn start<'s>(scope: &'s Scope<'s, '_>, target: &'t Target<'t>) -> io::Result<Lanes<'t>>
    where
        't: 's,
    {
        let lane = |run: fn(&Target<'_>, Receiver<Logged>)| {
            let (sender, receiver) = bounded(FRAMES_WAITING_MAX);
            let lane = thread::Builder::new().name("replay".to_owned());
            lane.spawn_scoped(scope, move || run(target, receiver)).map(|_| sender)
        };
        let metrics: io::Result<Vec<_>> = target.writers.iter().map(|_| lane(replay_metrics)).collect();
        Ok(Lanes { generation: target.generation, metrics: metrics?, others: lane(replay_others)? })
    }

    fn take(&self, frame: &Frame<'_>) {
        let header = frame.header;
        self.generation.note_seq(header.seq);
        let lane = match Signal::from_byte(header.signal) {
            Some(Signal::Metrics) => &self.metrics[usize::from(header.shard) % self.metrics.len()],
            _ => &self.others,
        };
        // A lane that is gone has panicked, and its panic comes out at the end of the scope.
        let _ = lane.send(Logged { header, payload: frame.payload.to_vec() });
    }
}

fn replay_metrics(target: &Target<'_>, frames: Receiver<Logged>) {
    let mut declared = HashMap::<u16, Declared, RandomState>::default();
    for Logged { header, payload } in frames {
        let declared = declared.entry(header.shard).or_default();
        match declared.frame(&payload, target) {
            Ok(0) => {}
            Ok(strays) => target
                .report(header, &format!("{strays} rows of series declared in a damaged record are lost")),
            Err(error) => target.report(header, &error),
        }
    }
}

fn replay_others(target: &Target<'_>, frames: Receiver<Logged>) {
    let (mut logs, mut traces) = (LogsReplay::default(), TracesReplay::new());
    let generation = target.generation;
    for Logged { header, payload } in frames {
        let replayed = match Signal::from_byte(header.signal) {
            Some(Signal::Logs) => {
                logs.frame(header.shard, &payload, &generation.logs).map_err(|error| error.to_string())
            }
            Some(Signal::Traces) => {
                traces.frame(header.shard, &payload, &generation.traces).map_err(|error| error.to_string())
            }
            Some(Signal::Metrics) | None => Err("of a signal that this build does not know".to_owned()),
        };
        if let Err(error) = replayed {
            target.report(header, &error);
        }
    }
}

impl Target<'_> {
    fn report(&self, header: FrameHeader, error: &dyn std::fmt::Display) {
        self.metrics.corrupt_records.inc();
        tracing::error!(
            seq = header.seq, signal = header.signal, shard = header.shard, %error,
            "skipped a log record, or a part of it"
        );
    }

    fn register(&self, series: &DeclaredSeries<'_, '_>) -> Option<SeriesRef> {
        let shard = shard_of(series.fingerprint, self.registries.len());
        let registry = &self.registries[shard as usize];
        let (id, _) = registry.find_or_insert(series.labels(), series.fingerprint, RECOVERED_IDS_MAX)?;
        Some(SeriesRef { shard, id })
    }
}

const IDS_PER_CHUNK: u32 = 1024;

/// The series that the frames of one shard have declared so far, and later ones refer to, by the ids of that time: in
/// chunks, since ids are dense, and one that is damaged must not cost the memory of all below it.
#[derive(Default)]
struct Declared(HashMap<u32, Box<[Option<SeriesRef>]>, RandomState>);

impl Declared {
    /// Gives the rows of a frame to the shards that own their series now; answers with how many had no known series.
    fn frame(&mut self, payload: &[u8], target: &Target<'_>) -> Result<usize, BadPayload> {
        let rows = read_payload(payload)?;
        for declared in rows.series.iter() {
            if let Some(series) = target.register(&declared) {
                self.insert(declared.id, series);
            }
        }
        let (parts, strays) = rows.split(target.writers.len(), |id| self.get(id));
        for (writer, rows) in target.writers.iter().zip(parts) {
            if !rows.has_no_rows() {
                writer.lock().replay(rows);
            }
        }
        Ok(strays)
    }

    fn get(&self, id: u32) -> Option<SeriesRef> {
        self.0.get(&(id / IDS_PER_CHUNK))?[(id % IDS_PER_CHUNK) as usize]
    }

    fn insert(&mut self, id: u32, series: SeriesRef) {
        let chunk = self.0.entry(id / IDS_PER_CHUNK);
        let chunk = chunk.or_insert_with(|| vec![None; IDS_PER_CHUNK as usize].into());
        chunk[(id % IDS_PER_CHUNK) as usize] = Some(series);
    }
}
