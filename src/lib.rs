//! Icecore keeps metrics, logs and traces on one small machine, each acknowledged write durable.
//!
//! The layers, top to bottom; each imports only from layers below it (`tests/layers.rs` reads this table):
//!
//! | layer | may import |
//! |---|---|
//! | model, wire | nothing of ours |
//! | clock, codec | model |
//! | exchange | model, wire, codec |
//! | storage | model, codec |
//! | ingest | model, wire, storage |
//! | query | model, storage |
//! | api | model, wire, clock, codec, ingest, query, storage |
//! | config | nothing of ours |
//! | server | all of the above |
//! | cli | model, wire, clock, codec, exchange, config, server, storage |
//! | main | cli |
//!
//! Inside storage, everything that is not listed is at the level of the store and may use all of it. The log, the
//! container, the index and the manifest know no signal; metrics is a room that the store furnishes, and of the
//! store it knows only what a reader sees (`live`).
//!
//! | part of storage | may import |
//! |---|---|
//! | fs, partition, signal, tombstone, expiry | nothing of storage |
//! | wal, segment | fs |
//! | manifest | fs, tombstone |
//! | index, errors | segment |
//! | metrics, logs, traces | fs, segment, index, partition, signal, tombstone, expiry, errors, live |

pub mod clock;
pub mod codec;
pub mod model;
pub mod wire;

pub mod exchange;

pub mod storage;

pub mod ingest;
pub mod query;

pub mod api;

pub mod config;
pub mod server;

pub mod cli;
