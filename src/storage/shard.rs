//! A shard: a bounded queue and the one thread that takes from it.
//!
//! The thread alone writes the shard's heads, so it needs no locks; what it took is framed for the log, and the
//! senders are acknowledged by the syncer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::channel::Sender;
use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};

use super::generation::Generation;
use super::logs::{LogRows, LogsWriter};
use super::metrics::{MetricRows, MetricsWriter};
use super::pressure::Pressure;
use super::signal::{PerSignal, Signal};
use super::sync::{Ack, LogItem, LogQueue};
use super::traces::{SpanRows, SpansWriter};
use super::wal::{FrameBuffer, FrameHeader};
use crate::model::Timestamp;

/// A frame this long goes to the log even if more is queued.
const FRAME_BYTES: usize = 1 << 20;
/// Control jobs need no reservation; there are few.
const CONTROL_JOBS: usize = 16;

/// What a batch has for one shard.
pub(super) enum Rows {
    Metrics(MetricRows),
    Logs(LogRows),
    Traces(SpanRows),
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        match self {
            Rows::Metrics(rows) => rows.is_empty(),
            Rows::Logs(rows) => rows.is_empty(),
            Rows::Traces(rows) => rows.is_empty(),
        }
    }

    fn signal(&self) -> Signal {
        match self {
            Rows::Metrics(_) => Signal::Metrics,
            Rows::Logs(_) => Signal::Logs,
            Rows::Traces(_) => Signal::Traces,
        }
    }
}

pub(super) enum Job {
    Write {
        rows: Rows,
        ack: Ack,
    },
    /// Goes on in a new generation; everything taken before is durable when the acknowledgement comes.
    Rotate {
        generation: Arc<Generation>,
        ack: Ack,
    },
    /// Removes these series unless they came back; the removed ids go to the channel.
    Retire {
        ids: Vec<u32>,
        oldest_live: u64,
        removed: Sender<Vec<u32>>,
    },
    /// Asks for ids of series that were written neither since then nor in a live generation.
    Idle {
        now: Timestamp,
        since: Timestamp,
        oldest_live: u64,
        reply: Sender<Vec<u32>>,
    },
    Stop,
}

/// The sending side of a shard.
pub(super) struct ShardQueue {
    jobs: ArrayQueue<Job>,
    reserved: AtomicUsize,
    capacity: usize,
    unparker: Unparker,
}

impl ShardQueue {
    /// The queue and what its thread waits with.
    pub fn new(capacity: usize) -> (ShardQueue, Parker) {
        let parker = Parker::new();
        let jobs = ArrayQueue::new(capacity + CONTROL_JOBS);
        let unparker = parker.unparker().clone();
        (ShardQueue { jobs, reserved: AtomicUsize::new(0), capacity, unparker }, parker)
    }

    /// Takes room for one batch; false if there is none.
    pub fn reserve(&self) -> bool {
        let add = |n: usize| (n < self.capacity).then_some(n + 1);
        self.reserved.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).is_ok()
    }

    pub fn cancel_reservation(&self) {
        self.reserved.fetch_sub(1, Ordering::AcqRel);
    }

    /// Queues a batch that room was reserved for.
    pub fn push_reserved(&self, rows: Rows, ack: Ack) {
        assert!(self.jobs.push(Job::Write { rows, ack }).is_ok(), "room was reserved");
        self.unparker.unpark();
    }

    /// Queues a control job, behind everything queued before it.
    pub fn push_control(&self, mut job: Job) {
        while let Err(back) = self.jobs.push(job) {
            job = back;
            std::thread::yield_now();
        }
        self.unparker.unpark();
    }

    /// Batches waiting.
    pub fn len(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }
}

/// The thread's own state.
pub(super) struct Shard {
    pub index: usize,
    pub queue: Arc<ShardQueue>,
    pub parker: Parker,
    pub log: Arc<LogQueue>,
    pub seq: Arc<AtomicU64>,
    pub generation: Arc<Generation>,
    pub pressure: Arc<Pressure>,
    pub metrics: MetricsWriter,
    pub logs: LogsWriter,
    pub traces: SpansWriter,
}

/// A frame being filled, and who waits for it.
#[derive(Default)]
struct Pending {
    frame: FrameBuffer,
    acks: Vec<Ack>,
}

impl Shard {
    /// Runs until told to stop.
    pub fn run(mut self) {
        self.carry_over();
        let mut pending = PerSignal::<Pending>::default();
        loop {
            let Some(job) = self.queue.jobs.pop() else {
                self.flush_all(&mut pending);
                if self.queue.jobs.is_empty() {
                    self.parker.park();
                }
                continue;
            };
            match job {
                Job::Write { rows, ack } => {
                    let signal = rows.signal();
                    let pending = &mut pending[signal];
                    self.append(rows, pending.frame.payload());
                    self.pressure.added_to(&self.generation);
                    self.queue.cancel_reservation();
                    pending.acks.push(ack);
                    if pending.frame.len() >= FRAME_BYTES {
                        self.flush(signal, pending);
                    }
                }
                Job::Rotate { generation, ack } => {
                    self.flush_all(&mut pending);
                    self.rotate(generation);
                    self.log.push(LogItem::Barrier(ack));
                }
                // Who asked may have gone: then nobody needs the answer.
                Job::Retire { ids, oldest_live, removed } => {
                    let _ = removed.send(self.metrics.retire(&ids, oldest_live));
                }
                Job::Idle { now, since, oldest_live, reply } => {
                    let mut ids = self.metrics.idle_ids(since, oldest_live);
                    ids.extend(self.metrics.never_written_ids(now, since));
                    let _ = reply.send(ids);
                }
                Job::Stop => return self.flush_all(&mut pending),
            }
        }
    }

    /// Into the head, and into the frame what a replay needs to do the same.
    fn append(&mut self, rows: Rows, payload: &mut Vec<u8>) {
        match rows {
            Rows::Metrics(rows) => self.metrics.append(rows, payload),
            Rows::Logs(rows) => self.logs.append(rows, payload),
            Rows::Traces(rows) => self.traces.append(rows, payload),
        }
    }

    fn rotate(&mut self, generation: Arc<Generation>) {
        self.metrics.rotate(generation.metrics[self.index].clone(), generation.number, generation.opened_at);
        self.logs.rotate(generation.logs[self.index].clone());
        self.traces.rotate(generation.traces[self.index].clone());
        std::mem::replace(&mut self.generation, generation).leave();
        self.carry_over();
    }

    /// Writes to the new generation what it needs to stand alone.
    fn carry_over(&mut self) {
        let mut pending = Pending::default();
        self.metrics.carry_over(self.index == 0, pending.frame.payload());
        self.flush(Signal::Metrics, &mut pending);
    }

    fn flush_all(&mut self, pending: &mut PerSignal<Pending>) {
        Signal::ALL.into_iter().for_each(|signal| self.flush(signal, &mut pending[signal]));
    }

    fn flush(&mut self, signal: Signal, pending: &mut Pending) {
        if pending.frame.is_empty() {
            // Duplicates only: they are as durable as what they repeat, which was queued before.
            return pending.acks.drain(..).for_each(|ack| self.log.push(LogItem::Barrier(ack)));
        }
        // The next frame will be about as long: growing by doubling would take twice its memory on the way.
        let len = pending.frame.len();
        let frame = self.log.spare(len).map_or_else(|| FrameBuffer::with_capacity(len), FrameBuffer::reusing);
        let Pending { frame, acks } = std::mem::replace(pending, Pending { frame, acks: Vec::new() });
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        self.generation.note_seq(seq);
        let header = FrameHeader { seq, signal: signal.byte(), shard: self.index as u16 };
        let bytes = frame.finish(header, self.generation.number);
        self.log.push(LogItem::Frame { generation: self.generation.number, bytes, acks });
    }
}
