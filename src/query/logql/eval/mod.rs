//! Running LogQL: from a checked syntax tree to entries, or to the operators of PromQL.
//!
//! * `plan`: what storage does of a pipeline; `scan`: parts read by several threads
//! * `entries`, `found`: log queries, up to their limit
//! * `windows`, `series`, `count`, `sample`, `entry_reader`, `range`: range aggregations, from entries to rows of steps
//! * `build`: metric expressions over those rows, with PromQL's operators

mod build;
mod count;
mod entries;
mod entry_reader;
mod found;
mod plan;
mod range;
mod sample;
mod scan;
mod series;
mod windows;

pub use build::{Steps, evaluate};
pub use entries::{EntriesAsk, answer_line, entries, stream_labels};
pub use plan::Plan;
pub use scan::Scan;
