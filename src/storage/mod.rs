//! Durable, crash-safe, synchronous: the life of a batch from the shard's queue to the segment file.
//!
//! A batch comes in by [`Store::append`] (`store.rs`) and waits in the queue of each shard it concerns. The shard's
//! thread (`shard.rs`) alone writes the shard's head (`metrics/head.rs`) and frames the rows for the log; the syncer
//! (`sync.rs`) writes the frames of all shards, syncs once and completes the batch: its sender hears "yes".
//!
//! What all shards take in between two seals is a generation (`generation.rs`): heads in memory and a directory of
//! the log (`wal/`) under one number. `seal.rs` turns it into segments (`segment/`, `metrics/flush.rs`), and one edit
//! of the manifest (`manifest.rs`) puts them in force in its place. `compaction.rs` merges segments, `retention.rs`
//! lets them go, `deletion.rs` hides what was asked to be deleted, `cleaning.rs` writes what is hidden out of files,
//! `idle.rs` forgets series. After a crash `recovery.rs` replays the generations that were not sealed, shard beside
//! shard (`replaying.rs`).
//!
//! Readers take a view (`live.rs`) of generations and segments as they are at one instant, and wait for nobody.

pub mod check;
pub mod fs;
pub mod index;
pub mod inspect;
pub mod logs;
pub mod metrics;
pub mod segment;
pub mod traces;

#[cfg(test)]
mod apart_tests;
mod arrivals;
mod cleaning;
#[cfg(test)]
mod cleaning_tests;
mod compaction;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
mod deletion;
#[cfg(test)]
mod deletion_tests;
mod errors;
mod expiry;
#[cfg(test)]
mod failure_tests;
mod generation;
mod idle;
mod limiter;
mod live;
mod maintenance;
mod manifest;
mod open;
mod pace;
mod partition;
mod pressure;
mod publish;
#[cfg(test)]
mod race_tests;
mod recovery;
mod replaying;
mod retention;
#[cfg(test)]
mod retention_tests;
mod rollup;
#[cfg(test)]
mod rollup_tests;
#[cfg(test)]
mod rule_tests;
mod seal;
mod shard;
mod signal;
mod stats;
mod store;
#[cfg(test)]
mod store_tests;
mod sync;
mod tier_dirs;
mod tier_status;
mod tombstone;
mod wal;

pub use deletion::DeletionError;
pub use errors::ReadError;
pub use expiry::RetentionRule;
pub use manifest::ManifestError;
pub use open::OpenError;
pub use seal::MaintenanceError;
pub use signal::{PerSignal, Signal};
pub use stats::{Cardinality, SealedSamples, SeriesStats, StoreStats};
pub use store::{Busy, Completion, Options, Store, WriteError};
pub use sync::SyncMode;
pub use tier_dirs::TierOptions;
pub use tier_status::{Deletion, StoreStatus, TierStatus};
