//! The real binary on ports of its own: whole answers to what Grafana, Prometheus and others send.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod bad_inputs;
mod check_data;
mod deletion;
mod export;
mod features;
mod federate;
mod first_minute;
mod grafana;
mod import;
mod jaeger_api;
mod lifecycle;
mod logs_push;
mod loki_api;
mod loki_tail;
mod otlp;
mod prometheus_api;
mod provisioning;
mod query_stats;
mod range_cache;
mod remote_read;
mod remote_write;
mod running_queries;
mod sent_traces;
mod spans;
mod tempo_api;
mod traces_api;
