//! Batches on their way to the server, a few at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use parking_lot::Mutex;

use super::summary::Tally;
use crate::cli::CliError;
use crate::cli::client::{Client, WriteAnswer};
use crate::exchange::Batch;

/// The server syncs what arrives together at once; more would wait there instead of here.
const IN_FLIGHT: usize = 4;
/// How long a server may refuse one batch for now, or not be there: a restart, or a full queue.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Where batches go; blocks while enough are in flight.
pub struct Outbox {
    to: Sender<Batch>,
    stored: std::sync::Arc<AtomicU64>,
}

impl Outbox {
    pub fn send(&self, batch: Batch) -> Result<(), CliError> {
        // They left because one of them failed; that failure is told instead of this.
        self.to.send(batch).map_err(|_| CliError::Refused("sending has ended".to_owned()))
    }

    /// Samples that the server has so far.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

/// Runs `read`, which feeds the outbox, and waits until all is sent. What became of the batches, and how it ended.
pub fn sending(
    client: &Client<'_>,
    read: impl FnOnce(&Outbox) -> Result<(), CliError>,
) -> (Tally, Result<(), CliError>) {
    let (to, batches) = channel::bounded(IN_FLIGHT);
    let outbox = Outbox { to, stored: Default::default() };
    let (tally, failure) = (Mutex::new(Tally::default()), Mutex::new(None));
    let workers = Workers { client, tally: &tally, failure: &failure, stored: &outbox.stored.clone() };
    let ended = thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            let batches = batches.clone();
            scope.spawn(|| workers.run(batches));
        }
        drop(batches);
        let ended = read(&outbox);
        drop(outbox);
        ended
    });
    let ended = failure.into_inner().map_or(ended, Err);
    (tally.into_inner(), ended)
}

struct Workers<'a> {
    client: &'a Client<'a>,
    tally: &'a Mutex<Tally>,
    /// The first one; all stop then.
    failure: &'a Mutex<Option<CliError>>,
    stored: &'a AtomicU64,
}

impl Workers<'_> {
    fn run(&self, batches: Receiver<Batch>) {
        for batch in batches {
            if self.failure.lock().is_some() {
                return;
            }
            match self.send(&batch) {
                Ok((refused, reasons)) => {
                    self.stored.fetch_add(batch.sample_count.saturating_sub(refused), Ordering::Relaxed);
                    self.tally.lock().add(&batch, refused, reasons);
                }
                Err(error) => {
                    self.failure.lock().get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Until the server has it; what of it was refused, and why.
    fn send(&self, batch: &Batch) -> Result<(u64, String), CliError> {
        let body = batch.encode();
        let began = Instant::now();
        loop {
            let waited_enough = began.elapsed() >= PATIENCE;
            let wait = match self.client.write(&body) {
                Ok(WriteAnswer::Taken { refused, reasons }) => return Ok((refused, reasons)),
                Ok(WriteAnswer::Later { reason, .. }) if waited_enough => {
                    return Err(CliError::Refused(format!("{}: {reason}", batch.origin)));
                }
                Ok(WriteAnswer::Later { after, .. }) => after,
                Ok(WriteAnswer::Refused(reason)) => {
                    return Err(CliError::Refused(format!("{}: {reason}", batch.origin)));
                }
                // Whether it was ever there is not known before the first answer.
                Err(error @ CliError::Unreachable { .. })
                    if waited_enough || self.stored.load(Ordering::Relaxed) == 0 =>
                {
                    return Err(error);
                }
                Err(CliError::Unreachable { .. }) => Duration::from_secs(1),
                Err(error) => return Err(error),
            };
            thread::sleep(wait);
        }
    }
}
