//! Evaluation: from a checked syntax tree to values, one series at a time.
//!
//! An expression becomes a tree of operators that pull from each other ([`source::Source`]). Each announces its
//! series first, nearly all from labels alone; then one series after the other flows up, all its steps at once, and is
//! folded into what its operator keeps. What can grow is paid for before it does, and loops ask the budget as they go.
//!
//! * `row`, `scalar`, `source`, `announced`: what flows and how; `context`: snapshot, budget and annotations of one query
//! * `tiers`, `selected`: which tier a selector reads; `series_reader`: reading it; `select`, `window`, `newest`,
//!   `newest_walk`, `sample_windows`: samples to steps; `bucket_walk`, `bucket_window`, `float_walk`, `float_window`,
//!   `float_change`: the same from rollups; `over_time`, `rate`, `changes`, `trend`: the window functions
//! * `extended`, `smoothed`: the modifiers that look beyond the edges of a window
//! * `aggregate`, `means`, `choose`, `grouping`: groups of series; `binary`, `matching`, `turns`, `join`, `sets`, `union`: operators
//! * `elementwise`, `relabel`, `quantiles`, `info`: functions; `build`, `call`, `range_vector`: from the tree to operators
//! * LogQL puts its own rows under the operators, and takes what it shares from here
//! * `invariant`: what is the same at every step; `tally`: what was looked at; `result`: from rows to the answer

pub(in crate::query) mod aggregate;
mod annotations;
pub(in crate::query) mod announced;
pub(in crate::query) mod binary;
mod bucket_turns;
mod bucket_walk;
mod bucket_window;
mod build;
mod call;
mod changes;
pub(in crate::query) mod choose;
mod context;
mod elementwise;
mod extended;
mod float_change;
mod float_walk;
mod float_window;
pub(in crate::query) mod grouping;
mod histogram_fold;
#[cfg(test)]
mod hostile_tests;
mod info;
mod invariant;
pub(in crate::query) mod join;
pub(in crate::query) mod matching;
pub(in crate::query) mod math;
mod means;
mod newest;
mod newest_walk;
pub(in crate::query) mod over_time;
mod quantiles;
mod range_vector;
mod rate;
pub(in crate::query) mod relabel;
pub(in crate::query) mod result;
pub(in crate::query) mod row;
mod sample_walk;
mod sample_windows;
pub(in crate::query) mod scalar;
mod select;
mod selected;
mod series_reader;
pub(in crate::query) mod sets;
mod smoothed;
pub(in crate::query) mod source;
mod starts;
mod step_set;
mod tally;
mod tiers;
mod trend;
mod turns;
pub(in crate::query) mod union;
mod window;
mod window_call;

pub use context::{Context, QueryShape};
pub use result::evaluate;
pub use tally::Samples;
