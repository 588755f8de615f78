//! Icecore keeps metrics, logs and traces on one small machine: a year of them, each acknowledged write durable.
//!
//! The layers, top to bottom; each imports only from layers below it (`tests/layers.rs` checks):
//!
//! | layer | may import |
//! |---|---|
//! | model, wire, clock | nothing of ours |
//! | codec | model |
//! | storage | model, codec |
//! | ingest | model, wire, storage |
//! | query | model, storage |
//! | api | model, wire, clock, ingest, query, storage |
//! | server | all of the above, config |
//! | cli, main | config, server, storage |

pub mod clock;
pub mod codec;
pub mod model;
pub mod wire;

pub mod storage;

pub mod ingest;
pub mod query;

pub mod api;

pub mod config;
pub mod server;

pub mod cli;
