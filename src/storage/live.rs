//! What can be read: the generations in memory and the sealed segments, as one immutable list that is replaced
//! whole. A reader that holds a view keeps what it lists alive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::errors::ReadError;
use super::expiry::Expiry;
use super::fs::Fs;
use super::generation::Generation;
use super::logs::LogsSegment;
use super::manifest::{SegmentEntry, Tombstones};
use super::metrics::{Cause, MetricsSegment, VisibleSegment};
use super::segment::{SectionId, Segment, SegmentError};
use super::signal::Signal;
use super::tombstone::Tombstone;
use super::traces::TracesSegment;
use crate::model::{TimeRange, Timestamp};

/// Everything readable at one instant.
#[derive(Clone, Default)]
pub(super) struct View {
    pub rollups: Rollups,
    /// Up to which partition samples of each resolution were let go.
    pub floors: BTreeMap<u32, Timestamp>,
    pub tombstones: Tombstones,
    /// What rules of retention let go of by now.
    pub expiries: Arc<[Arc<Expiry>]>,
    /// Oldest first; the last one is being written.
    pub generations: Vec<Arc<Generation>>,
    /// By sequence: where two hold the same timestamp of a series, the later one is right.
    pub segments: Vec<Arc<LiveSegment>>,
}

/// Which rollups the tiers ask for.
#[derive(Clone, Default)]
pub(super) struct Rollups {
    /// In ms, finest first.
    pub resolutions: Arc<[i64]>,
    /// What a segment whose samples are in all of them is marked with (`storage-format.md` §3); 0 if there are none.
    pub mark: u32,
}

impl Rollups {
    pub fn new(resolutions: Vec<i64>) -> Rollups {
        let bytes: Vec<u8> = resolutions.iter().flat_map(|resolution| resolution.to_le_bytes()).collect();
        let mark = if bytes.is_empty() { 0 } else { (xxh3_64(&bytes) as u32).max(1) };
        Rollups { resolutions: resolutions.into(), mark }
    }
}

impl View {
    /// Up to where samples of a resolution were let go.
    pub fn floor(&self, resolution_ms: i64) -> Timestamp {
        let resolution = u32::try_from(resolution_ms).unwrap_or(u32::MAX);
        self.floors.get(&resolution).copied().unwrap_or(Timestamp::MIN)
    }

    /// The newest day that may be read from rollups.
    pub fn rolled_until(&self) -> Option<Timestamp> {
        let rolled = self.segments_of(Signal::Metrics).filter(|(_, segment)| segment.entry.rolled != 0);
        let days = rolled.map(|(_, segment)| segment.entry.partition);
        days.chain(self.floors.get(&0).copied()).max()
    }

    /// Whether all that it holds is in all rollups that the tiers ask for.
    pub fn is_rolled(&self, segment: &LiveSegment) -> bool {
        self.rollups.mark != 0 && segment.entry.rolled == self.rollups.mark
    }

    /// The segments of a signal, each with its place in the list.
    pub fn segments_of(&self, signal: Signal) -> impl Iterator<Item = (usize, &Arc<LiveSegment>)> {
        self.segments.iter().enumerate().filter(move |(_, segment)| segment.signal() == Some(signal))
    }

    pub fn active(&self) -> &Arc<Generation> {
        self.generations.last().expect("there is always a generation to write to")
    }

    pub fn with_segments(&self, add: &[Arc<LiveSegment>], remove: &[u64]) -> View {
        let kept = self.segments.iter().filter(|s| !remove.contains(&s.entry.id));
        let mut segments: Vec<_> = kept.chain(add).cloned().collect();
        // A seal may write two of one day. Where damage keeps one from being merged, whatever becomes of it holds what was sealed first,
        // and the merge that begins with the other comes after it.
        segments.sort_by_key(|s| (s.entry.min_seq, s.entry.level, s.entry.id));
        View { segments, ..self.clone() }
    }

    /// The same, with its tombstones and expiries told to each segment of which they may hide something.
    pub fn masked(mut self) -> View {
        for segment in &mut self.segments {
            let tombstones = segment.concerned_by(&self.tombstones);
            let expiries = segment.let_go_by(&self.expiries);
            if segment.tombstones != tombstones || segment.expiries != expiries {
                *segment = Arc::new(segment.masked(tombstones, expiries));
            }
        }
        self
    }

    pub fn without_generation(mut self, number: u64) -> View {
        self.generations.retain(|generation| generation.number != number);
        self
    }
}

/// A segment that the manifest lists.
pub(super) struct LiveSegment {
    pub entry: SegmentEntry,
    file: Arc<LiveFile>,
    /// Those that may hide something of it, in order of sequence.
    tombstones: Vec<Arc<Tombstone>>,
    /// As well, by place of their rules.
    expiries: Vec<Arc<Expiry>>,
    visible: Opened<VisibleSegment>,
}

impl LiveSegment {
    pub fn new(entry: SegmentEntry, path: PathBuf, fs: Arc<dyn Fs>) -> LiveSegment {
        let file = LiveFile {
            path,
            fs,
            metrics: Opened::default(),
            logs: Opened::default(),
            traces: Opened::default(),
            doomed: AtomicBool::new(false),
            unmergeable: AtomicBool::new(false),
        };
        LiveSegment {
            entry,
            file: Arc::new(file),
            tombstones: Vec::new(),
            expiries: Vec::new(),
            visible: Opened::default(),
        }
    }

    /// The same file, of which the manifest says something else now.
    pub fn with_entry(&self, entry: SegmentEntry) -> LiveSegment {
        LiveSegment {
            entry,
            file: self.file.clone(),
            tombstones: self.tombstones.clone(),
            expiries: self.expiries.clone(),
            visible: Opened::default(),
        }
    }

    pub fn masked(&self, tombstones: Vec<Arc<Tombstone>>, expiries: Vec<Arc<Expiry>>) -> LiveSegment {
        LiveSegment { tombstones, expiries, ..self.with_entry(self.entry.clone()) }
    }

    /// Those that reach into its times, and are of its resolution.
    fn let_go_by(&self, expiries: &[Arc<Expiry>]) -> Vec<Arc<Expiry>> {
        if expiries.is_empty() || self.signal() != Some(Signal::Metrics) {
            return Vec::new();
        }
        let is_hit = |expiry: &&Arc<Expiry>| {
            let is_of_it = expiry.resolution_ms.is_none_or(|of| of == self.resolution_ms());
            is_of_it && self.entry.min_time <= expiry.until
        };
        expiries.iter().filter(is_hit).cloned().collect()
    }

    /// Those that came after all that is in it, and reach into its times.
    pub fn concerned_by(&self, tombstones: &Tombstones) -> Vec<Arc<Tombstone>> {
        if tombstones.is_empty() || self.signal() != Some(Signal::Metrics) {
            return Vec::new();
        }
        let later = tombstones.range(self.entry.max_seq + 1..).map(|(_, tombstone)| tombstone);
        let is_hit = |tombstone: &&Arc<Tombstone>| {
            let mut hidden = tombstone.hidden_ends(self.resolution_ms()).into_iter();
            hidden.any(|times| times.overlaps(&self.time_range()))
        };
        later.filter(is_hit).cloned().collect()
    }

    /// The highest sequence number of what is in it, or of a tombstone that was applied to it: what is written from it
    /// now has no need of these tombstones any more.
    pub fn seq_of_a_copy(&self) -> u64 {
        self.tombstones.last().map_or(self.entry.max_seq, |tombstone| tombstone.seq)
    }

    /// In ms; 0 for rows as sent.
    pub fn resolution_ms(&self) -> i64 {
        self.entry.resolution_ms.into()
    }

    pub fn is_rollup(&self) -> bool {
        self.entry.resolution_ms > 0
    }

    pub fn time_range(&self) -> TimeRange {
        TimeRange::closed(self.entry.min_time, self.entry.max_time)
    }

    pub fn signal(&self) -> Option<Signal> {
        Signal::from_byte(self.entry.signal)
    }

    pub fn metrics(&self) -> Result<&Arc<MetricsSegment>, ReadError> {
        self.file.metrics.get(|| self.open(Signal::Metrics).map(MetricsSegment::open))
    }

    /// What deletions and rules of retention leave of it.
    pub fn visible(&self) -> Result<&Arc<VisibleSegment>, ReadError> {
        self.visible
            .get(|| Ok(VisibleSegment::under(self.metrics()?.clone(), &self.tombstones, &self.expiries)?))
    }

    /// The tombstones that may hide something of it, by number.
    pub fn may_be_hidden_by(&self) -> impl Iterator<Item = u64> {
        self.tombstones.iter().map(|tombstone| tombstone.seq)
    }

    /// Those that do, which is looked up once; where it cannot be read, all that may.
    pub fn hidden_by(&self) -> Vec<u64> {
        if self.tombstones.is_empty() {
            return Vec::new();
        }
        match self.visible() {
            Ok(visible) => visible.deletions().collect(),
            Err(_) => self.may_be_hidden_by().collect(),
        }
    }

    /// Whether there is any.
    pub fn is_under_a_tombstone(&self) -> bool {
        !self.hidden_by().is_empty()
    }

    /// Whether rules let go of anything in it, and its whole partition is as old as they say.
    pub fn holds_expired_series(&self) -> bool {
        let mut due = self.expiries.iter().filter(|expiry| self.entry.partition <= expiry.until);
        due.any(|expiry| self.visible().is_ok_and(|visible| visible.is_under(Cause::Expiry(expiry.rule))))
    }

    pub fn logs(&self) -> Result<&Arc<LogsSegment>, ReadError> {
        self.file.logs.get(|| self.open(Signal::Logs).map(LogsSegment::open))
    }

    pub fn traces(&self) -> Result<&Arc<TracesSegment>, ReadError> {
        self.file.traces.get(|| self.open(Signal::Traces).map(TracesSegment::open))
    }

    /// Reads and compares all of it; what this build does not know is taken as it is.
    pub fn verify(&self) -> Result<(), ReadError> {
        match self.signal() {
            Some(Signal::Metrics) => self.metrics()?.verify()?,
            Some(Signal::Logs) => self.logs()?.verify()?,
            Some(Signal::Traces) => self.traces()?.verify()?,
            None => {}
        }
        Ok(())
    }

    fn open(&self, signal: Signal) -> Result<Segment, ReadError> {
        self.file.open(signal)
    }

    /// A merge met damage in it: what is left of it can be read where it is, and would be lost by a merge.
    pub fn set_unmergeable(&self) {
        self.file.unmergeable.store(true, Ordering::Relaxed);
    }

    pub fn is_unmergeable(&self) -> bool {
        self.file.unmergeable.load(Ordering::Relaxed)
    }

    /// The manifest no longer lists it.
    pub fn doom(&self) {
        self.file.doomed.store(true, Ordering::Release);
    }
}

/// Its file. It is opened at first use, so that a start does not depend on how much history there is, and removed when
/// the last reader of a doomed segment has gone, or the seals that may copy its index.
struct LiveFile {
    path: PathBuf,
    fs: Arc<dyn Fs>,
    /// One of these, as its signal is.
    metrics: Opened<MetricsSegment>,
    logs: Opened<LogsSegment>,
    traces: Opened<TracesSegment>,
    doomed: AtomicBool,
    unmergeable: AtomicBool,
}

impl LiveFile {
    fn open(&self, signal: Signal) -> Result<Segment, ReadError> {
        let mapped = self.fs.map(&self.path).map_err(|error| ReadError::opening(&self.path, &error))?;
        let segment = Segment::open(mapped, &self.path)?;
        if segment.meta().signal != signal.byte() {
            let what = "a segment of another signal than the manifest says";
            let (path, section) = (self.path.clone(), SectionId::FRAME);
            return Err(SegmentError::Damaged { path, section, offset: 0, what }.into());
        }
        Ok(segment)
    }
}

/// A file as a signal understands it, opened at first use. What is damaged stays so until the next start.
struct Opened<T> {
    outcome: OnceLock<Result<Arc<T>, ReadError>>,
    /// Held by who opens it, so that the others need not.
    opening: Mutex<()>,
}

impl<T> Default for Opened<T> {
    fn default() -> Opened<T> {
        Opened { outcome: OnceLock::new(), opening: Mutex::new(()) }
    }
}

impl<T> Opened<T> {
    fn get(&self, open: impl FnOnce() -> Result<T, ReadError>) -> Result<&Arc<T>, ReadError> {
        if self.outcome.get().is_none() {
            let _one = self.opening.lock();
            if self.outcome.get().is_none() {
                let outcome = open().map(Arc::new);
                if let Err(error @ ReadError::NotNow { .. }) = outcome {
                    return Err(error);
                }
                self.outcome.get_or_init(|| outcome);
            }
        }
        self.outcome.get().expect("it was just set").as_ref().map_err(Clone::clone)
    }
}

impl Drop for LiveFile {
    fn drop(&mut self) {
        if *self.doomed.get_mut()
            && let Err(error) = self.fs.remove(&self.path)
        {
            // The next start removes what the manifest does not list.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a segment that is no longer needed");
        }
    }
}
