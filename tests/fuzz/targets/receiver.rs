//! The receivers over a store of their own, which begins anew once in a while: nothing seals it.

use std::sync::mpsc::{Receiver as Done, channel};
use std::sync::{LazyLock, Mutex};

use icecore::ingest::{Ingest, IngestError, Options, Outcome};
use icecore::storage::{self, Completion, Store, SyncMode, WriteError};

/// Early, so that a time of a few bytes is recent.
pub const NOW: i64 = 100_000;
const REQUESTS_MAX: usize = 2_000;

struct Receiver {
    ingest: Ingest,
    requests_left: usize,
    _dir: tempfile::TempDir,
}

static RECEIVER: LazyLock<Mutex<Receiver>> = LazyLock::new(|| Mutex::new(Receiver::new()));

impl Receiver {
    fn new() -> Receiver {
        let dir = tempfile::tempdir().expect("there is room for a folder");
        let options = storage::Options {
            shards: 1,
            sync: SyncMode::Off,
            series_max: 1_000,
            ..storage::Options::new(dir.path())
        };
        let registry = prometheus::Registry::new();
        let store = Store::open(options, &registry, NOW).expect("an empty folder opens");
        let ingest = Ingest::new(store, Options::default(), &registry);
        Receiver { ingest, requests_left: REQUESTS_MAX, _dir: dir }
    }
}

/// Sends a request: what is taken is stored, and what is refused as a whole is not.
pub fn receive(
    send: impl FnOnce(&Ingest, Completion) -> Result<Outcome, IngestError>,
) -> Result<Outcome, IngestError> {
    let mut receiver = RECEIVER.lock().expect("a finding ends the process");
    if receiver.requests_left == 0 {
        *receiver = Receiver::new();
    }
    receiver.requests_left -= 1;
    let (sender, done): (_, Done<Result<(), WriteError>>) = channel();
    let outcome = send(&receiver.ingest, Box::new(move |result| drop(sender.send(result))));
    match &outcome {
        Ok(_) => assert!(done.recv().is_ok_and(|stored| stored.is_ok()), "taken, but not stored"),
        Err(error) => assert!(done.recv().is_err(), "stored, but refused: {error}"),
    }
    outcome
}
