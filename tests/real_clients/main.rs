//! Programs people run beside Icecore, as they are installed: Prometheus, node_exporter, the OpenTelemetry SDKs.
//! A test whose program is not on the machine says "skipped" and why; `.ci/install` brings them all.
//!
//! `ICECORE_FULL=1` lets the tests run for minutes instead of seconds.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/corpus.rs"]
mod corpus;

mod agent;
mod answers;
mod compliance;
mod corpora;
mod differential;
mod exporter;
mod exposition;
mod import;
mod known_differences;
mod logs_and_spans;
mod opentelemetry;
mod programs;
mod random_calls;
mod random_expressions;
mod random_selectors;
mod recorded;
mod remote_read;
mod same_answers;
mod side_by_side;
mod tally;

/// Whether there is time for long runs.
fn full() -> bool {
    std::env::var_os("ICECORE_FULL").is_some()
}
