//! Durable, crash-safe, synchronous: the life of a batch from the shard's queue to the segment file.

pub mod fs;
pub mod index;
pub mod inspect;
pub mod metrics;
pub mod segment;
pub mod store;

pub use store::{Busy, Completion, OpenError, Options, Store, WriteError};
