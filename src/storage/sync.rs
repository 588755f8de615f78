//! The syncer: one thread that writes the frames of all shards and signals, syncs once, and only then lets their
//! senders hear "yes".
//!
//! There is no timer: a sync starts as soon as the one before it ends and takes all that was queued meanwhile. A
//! frame that could not be written is kept and written again, to another file, until it is durable: what the heads
//! show is never forgotten unless the process dies. Until then new batches are refused.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::{Histogram, IntCounter};

use super::store::{Completion, WriteError};
use super::wal::{FileLog, GenerationWriter};

/// When an acknowledgement is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// After the sync of the group that holds the write.
    Group,
    /// After the write; a sync follows within this time.
    Interval(Duration),
    /// After the write; the operating system syncs when it likes.
    Off,
}

/// Told when all shards of a request have made it durable. Clones share one completion.
#[derive(Clone)]
pub(super) struct Ack(Arc<AckState>);

struct AckState {
    waiting_for: AtomicUsize,
    done: Mutex<Option<Completion>>,
    error: Mutex<Option<WriteError>>,
}

impl Ack {
    /// An acknowledgement that waits for `parts` calls of [`Ack::finish`].
    pub fn new(parts: usize, done: Completion) -> Ack {
        let waiting_for = AtomicUsize::new(parts);
        Ack(Arc::new(AckState { waiting_for, done: Mutex::new(Some(done)), error: Mutex::new(None) }))
    }

    pub fn finish(&self, result: Result<(), WriteError>) {
        if let Err(error) = result {
            self.0.error.lock().get_or_insert(error);
        }
        if self.0.waiting_for.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.0.done.lock().take()
        {
            done(self.0.error.lock().take().map_or(Ok(()), Err));
        }
    }
}

/// What a shard hands over.
pub(super) enum LogItem {
    Frame {
        generation: u64,
        bytes: Vec<u8>,
        acks: Vec<Ack>,
    },
    /// Finishes when everything queued before it is durable.
    Barrier(Ack),
    /// No frame of this or an older generation will follow.
    EndGeneration(u64),
}

/// Frames on their way to the log. When the syncer falls behind by `bytes_max`, shards wait for it; their own queues
/// fill and senders are told to come back later.
pub(super) struct LogQueue {
    state: Mutex<QueueState>,
    filled: Condvar,
    emptied: Condvar,
    bytes_max: usize,
    failing: AtomicBool,
    spares: Mutex<Spares>,
}

/// Memory of frames that were written is filled again while much comes in: what the allocator has back is soon the system's,
/// which hands it out page by page.
const SPARES_MAX: usize = 4;
const SPARE_BYTES: RangeInclusive<usize> = JOINED_BYTES_MAX..=4 << 20;
/// Where frames are shorter, not much comes in.
const LONG_BYTES_MIN: usize = 32 << 10;
/// So many looks of housekeeping without a long frame, two seconds, and the memory is given back.
const IDLE_LOOKS_MAX: u32 = 8;

#[derive(Default)]
struct Spares {
    frames: Vec<Vec<u8>>,
    /// Looks since one was kept.
    idle_looks: u32,
}

#[derive(Default)]
struct QueueState {
    items: Vec<LogItem>,
    bytes: usize,
    closed: bool,
}

impl LogQueue {
    pub fn new(bytes_max: usize) -> LogQueue {
        LogQueue {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bytes_max,
            failing: AtomicBool::new(false),
            spares: Mutex::default(),
        }
    }

    /// The memory of a frame that was written, if some is kept. `len`: of the frame before; where that is short, the next one
    /// will hardly need it.
    pub fn spare(&self, len: usize) -> Option<Vec<u8>> {
        if len < LONG_BYTES_MIN { None } else { self.spares.lock().frames.pop() }
    }

    fn keep(&self, written: impl Iterator<Item = Vec<u8>>) {
        let mut spares = self.spares.lock();
        for bytes in written.filter(|bytes| SPARE_BYTES.contains(&bytes.capacity())) {
            spares.idle_looks = 0;
            if spares.frames.len() < SPARES_MAX {
                spares.frames.push(bytes);
            }
        }
    }

    /// Gives back the memory that was kept for long frames, once none came for some time. To be called some times a second.
    pub fn look(&self) {
        let mut spares = self.spares.lock();
        spares.idle_looks = spares.idle_looks.saturating_add(1);
        if spares.idle_looks > IDLE_LOOKS_MAX {
            spares.frames = Vec::new();
        }
    }

    pub fn push(&self, item: LogItem) {
        let mut state = self.state.lock();
        while state.bytes > self.bytes_max && !state.closed {
            self.emptied.wait(&mut state);
        }
        if let LogItem::Frame { bytes, .. } = &item {
            state.bytes += bytes.len();
        }
        state.items.push(item);
        self.filled.notify_one();
    }

    /// Ends the syncer once it has dealt with what is queued.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
        self.emptied.notify_all();
    }

    /// True while frames cannot be written: new batches must be refused.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// All that is queued; waits for something if there is nothing, at most until `deadline`. `None` when closed
    /// and empty.
    fn take(&self, deadline: Option<Instant>) -> Option<Vec<LogItem>> {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            match deadline {
                None => self.filled.wait(&mut state),
                Some(deadline) => {
                    if self.filled.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        if state.items.is_empty() && state.closed {
            return None;
        }
        Some(self.take_all(&mut state))
    }

    /// All that is queued at this moment.
    fn take_now(&self) -> Vec<LogItem> {
        self.take_all(&mut self.state.lock())
    }

    fn take_all(&self, state: &mut QueueState) -> Vec<LogItem> {
        state.bytes = 0;
        self.emptied.notify_all();
        std::mem::take(&mut state.items)
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

/// What the syncer counts.
#[derive(Clone)]
pub(super) struct SyncMetrics {
    pub sync_seconds: Histogram,
    pub bytes: IntCounter,
    pub failures: IntCounter,
}

pub(super) struct Syncer {
    queue: Arc<LogQueue>,
    log: FileLog,
    mode: SyncMode,
    metrics: SyncMetrics,
    writers: Vec<GenerationWriter>,
    unsynced_since: Option<Instant>,
}

/// How long to wait before writing again to a disk that refused.
const RETRY_AFTER: Duration = Duration::from_millis(200);

impl Syncer {
    pub fn new(queue: Arc<LogQueue>, log: FileLog, mode: SyncMode, metrics: SyncMetrics) -> Syncer {
        Syncer { queue, log, mode, metrics, writers: Vec::new(), unsynced_since: None }
    }

    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        while let Some(items) = self.queue.take(self.sync_deadline()) {
            let mut group = Group::default();
            group.add(items);
            while let Err(error) = self.write_group(&group) {
                self.metrics.failures.inc();
                self.queue.failing.store(true, Ordering::Release);
                tracing::error!(%error, "cannot write the log; refusing new data until it can be written");
                group.fail(&error);
                if self.queue.is_closed() {
                    group.add(self.queue.take_now());
                    return group.fail(&error);
                }
                std::thread::sleep(RETRY_AFTER);
                // What was queued before new batches were refused joins: its senders must not wait for as long as
                // the disk is full, and whoever seals or stops must hear that the log fails.
                group.add(self.queue.take_now());
                self.end_generations(&group.ended);
                group.forget_ended();
            }
            if self.queue.failing.swap(false, Ordering::AcqRel) {
                tracing::info!("the log can be written again");
            }
            group.finish();
            self.end_generations(&group.ended);
            self.queue.keep(group.writes.into_iter().map(|(_, bytes)| bytes));
            self.sync_if_due();
        }
        for writer in &mut self.writers {
            if let Err(error) = writer.finish_file() {
                tracing::warn!(path = %writer.path().display(), %error, "cannot close a file of the log");
            }
        }
    }

    fn sync_deadline(&self) -> Option<Instant> {
        match self.mode {
            SyncMode::Interval(period) => self.unsynced_since.map(|since| since + period),
            SyncMode::Group | SyncMode::Off => None,
        }
    }

    fn write_group(&mut self, group: &Group) -> Result<(), WriteError> {
        for (generation, bytes) in &group.writes {
            let writer = self.writer(*generation);
            let written = writer.write(bytes);
            written.map_err(|source| given_up(self.writer(*generation), &source))?;
            self.metrics.bytes.inc_by(bytes.len() as u64);
        }
        match self.mode {
            SyncMode::Group => self.sync_all(),
            SyncMode::Interval(_) => {
                self.unsynced_since.get_or_insert_with(Instant::now);
                if group.needs_sync { self.sync_all() } else { Ok(()) }
            }
            SyncMode::Off if group.needs_sync => self.sync_all(),
            SyncMode::Off => Ok(()),
        }
    }

    fn sync_if_due(&mut self) {
        if self.sync_deadline().is_some_and(|deadline| deadline <= Instant::now())
            && let Err(error) = self.sync_all()
        {
            self.metrics.failures.inc();
            tracing::error!(%error, "cannot sync the log; acknowledged writes of the last interval may be lost");
        }
    }

    fn sync_all(&mut self) -> Result<(), WriteError> {
        let timer = self.metrics.sync_seconds.start_timer();
        for writer in &mut self.writers {
            if let Err(source) = writer.sync() {
                return Err(given_up(writer, &source));
            }
        }
        timer.observe_duration();
        self.unsynced_since = None;
        Ok(())
    }

    fn writer(&mut self, generation: u64) -> &mut GenerationWriter {
        if let Some(i) = self.writers.iter().position(|w| w.generation() == generation) {
            return &mut self.writers[i];
        }
        self.writers.push(GenerationWriter::new(self.log.clone(), generation));
        self.writers.last_mut().expect("just pushed")
    }

    fn end_generations(&mut self, ended: &[u64]) {
        self.writers.retain(|writer| !ended.iter().any(|&generation| writer.generation() <= generation));
    }
}

fn given_up(writer: &mut GenerationWriter, source: &std::io::Error) -> WriteError {
    let path: PathBuf = writer.path();
    writer.give_up();
    WriteError::Wal { path, message: source.to_string() }
}

/// Frames are put together for one write up to this much; a longer one is worth a write of its own, and not a copy.
const JOINED_BYTES_MAX: usize = 256 << 10;

/// What is written and synced together.
#[derive(Default)]
struct Group {
    writes: Vec<(u64, Vec<u8>)>,
    acks: Vec<Ack>,
    ended: Vec<u64>,
    needs_sync: bool,
}

impl Group {
    fn add(&mut self, items: Vec<LogItem>) {
        for item in items {
            match item {
                LogItem::Frame { generation, bytes, acks } => {
                    match self.writes.last_mut() {
                        Some((last, all))
                            if *last == generation && all.len() + bytes.len() <= JOINED_BYTES_MAX =>
                        {
                            all.extend_from_slice(&bytes);
                        }
                        _ => self.writes.push((generation, bytes)),
                    }
                    self.acks.extend(acks);
                }
                LogItem::Barrier(ack) => {
                    self.acks.push(ack);
                    self.needs_sync = true;
                }
                LogItem::EndGeneration(generation) => self.ended.push(generation),
            }
        }
    }

    /// Frames of a generation that was sealed while they waited are durable in its segments, and the directory of
    /// its log is gone.
    fn forget_ended(&mut self) {
        let Some(&newest) = self.ended.iter().max() else { return };
        self.writes.retain(|(generation, _)| *generation > newest);
    }

    fn finish(&mut self) {
        self.acks.drain(..).for_each(|ack| ack.finish(Ok(())));
    }

    /// Tells the waiting senders; the frames themselves are tried again. Barriers are told too: who waits for one
    /// must not take it for done.
    fn fail(&mut self, error: &WriteError) {
        self.acks.drain(..).for_each(|ack| ack.finish(Err(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_frames_is_kept_while_much_comes_in_and_never_much_of_it() {
        let queue = LogQueue::new(1);
        let written = |len: usize| std::iter::once(Vec::with_capacity(len));
        queue.keep(written(JOINED_BYTES_MAX - 1));
        queue.keep(written((4 << 20) + 1));
        assert!(queue.spare(1 << 20).is_none(), "too short, and too long");
        (0..9).for_each(|_| queue.keep(written(1 << 20)));
        for _ in 0..SPARES_MAX {
            assert!(queue.spare(LONG_BYTES_MIN).is_some());
        }
        assert!(queue.spare(LONG_BYTES_MIN).is_none());
        queue.keep(written(1 << 20));
        assert!(queue.spare(LONG_BYTES_MIN - 1).is_none());
        assert!(
            queue.spare(LONG_BYTES_MIN).is_some(),
            "a short one, of another shard perhaps, costs nothing"
        );
    }

    #[test]
    fn memory_of_frames_is_given_back_when_no_long_one_came_for_a_while() {
        let queue = LogQueue::new(1);
        let keep = |len: usize| queue.keep(std::iter::once(Vec::with_capacity(len)));
        for _ in 0..3 {
            keep(1 << 20);
            (0..IDLE_LOOKS_MAX).for_each(|_| queue.look());
        }
        keep(100);
        assert_eq!(queue.spares.lock().frames.len(), 3);
        queue.look();
        assert_eq!(queue.spares.lock().frames.capacity(), 0, "short ones are no reason to keep it");
        keep(1 << 20);
        queue.look();
        assert!(queue.spare(LONG_BYTES_MIN).is_some(), "much comes in again");
    }
}
