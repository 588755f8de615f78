//! The stages of a pipeline at work on one entry.
//!
//! * `labels`: the labels of an entry; `wanted`: which of them the rest of the query looks at
//! * `json`, `json_scan`, `logfmt`, `texts`: parsers; `filter`: conditions on labels
//! * `format`, `decolorize`: what changes lines and labels; `pipeline`: all of them in order

mod decolorize;
pub mod filter;
mod format;
mod json;
pub mod json_scan;
pub mod labels;
mod logfmt;
mod pipeline;
#[cfg(test)]
mod testing;
mod texts;
mod wanted;

pub use json::paths as json_paths;
pub use labels::{Category, EntryError, EntryLabels};
pub use pipeline::{EntryState, Pipeline, Uses, add_filter_names, asks_for_errors};
pub use wanted::Wanted;
