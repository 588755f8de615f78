//! The questions about logs that the API hands down, and their answers.
//!
//! Times are nanoseconds. A log query covers `[start, end)`, as Loki's do; a metric query has the steps `start`,
//! `start + step_ns`, … up to and with `end`. Everything else takes a range.

mod detected;
mod listing;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod order_tests;
mod query;
mod tail;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod volume;

use super::QueryValue;
use crate::model::{Labels, Nanos};
pub(super) use listing::select;
pub use tail::LogTail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

#[derive(Clone, Debug)]
pub struct LogQuery {
    pub expr: String,
    pub start: Nanos,
    pub end: Nanos,
    /// 0: an instant query at `start`, which is for metric expressions only.
    pub step_ns: i64,
    /// After an entry, those within less than this of it are left out, whatever their stream; 0 leaves all.
    pub interval_ns: i64,
    pub direction: Direction,
    /// The entries wanted; for metric expressions without meaning.
    pub limit: usize,
    /// When the query runs, for templates.
    pub now: Nanos,
}

#[derive(Clone, Debug)]
pub enum LogValue {
    /// The streams in order of their labels; entries in the direction asked for.
    Streams(Vec<StreamAnswer>),
    Metric(QueryValue),
}

/// What one query read and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogStats {
    /// Bytes of the lines in the parts that were looked at.
    pub bytes_read: u64,
    /// Entries in those parts.
    pub lines_read: u64,
    pub entries_returned: u64,
    /// Wall time of the evaluation.
    pub seconds: f64,
}

#[derive(Clone, Debug)]
pub struct LogAnswer {
    pub value: LogValue,
    pub warnings: Vec<String>,
    pub stats: LogStats,
}

/// Entries of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAnswer {
    /// The stream's own labels, as the pipeline left them.
    pub labels: Labels,
    pub entries: Vec<LogLine>,
}

/// One entry as the pipeline left it. Names are sanitised; sorted, each name in one of the two lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub timestamp: Nanos,
    pub line: String,
    pub metadata: Vec<(String, String)>,
    pub parsed: Vec<(String, String)>,
}

/// How much a selector covers, told from the headers of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectionStats {
    pub streams: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub entries: u64,
}

/// What the volumes of [`VolumeQuery`] are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateBy {
    /// Sets of labels: those named in `target_labels`, or in the selector.
    Series,
    /// Label names.
    Labels,
}

#[derive(Clone, Debug)]
pub struct VolumeQuery {
    /// A selector; what follows it is ignored.
    pub expr: String,
    pub start: Nanos,
    pub end: Nanos,
    /// 0: one total; otherwise a matrix with a point for each step.
    pub step_ns: i64,
    pub limit: usize,
    pub target_labels: Vec<String>,
    pub aggregate_by: AggregateBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedLabel {
    pub label: String,
    pub cardinality: u64,
}

#[derive(Clone, Debug)]
pub struct DetectedFieldsQuery {
    pub expr: String,
    pub start: Nanos,
    pub end: Nanos,
    /// Newest entries that are looked at.
    pub line_limit: usize,
    /// Fields, or values, that are given.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Int,
    Float,
    String,
    Duration,
    Bytes,
    Boolean,
}

impl FieldType {
    pub fn text(self) -> &'static str {
        match self {
            FieldType::Int => "int",
            FieldType::Float => "float",
            FieldType::String => "string",
            FieldType::Duration => "duration",
            FieldType::Bytes => "bytes",
            FieldType::Boolean => "boolean",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedField {
    pub label: String,
    pub field_type: FieldType,
    pub cardinality: u64,
    /// `json`, `logfmt`; empty for structured metadata.
    pub parsers: Vec<&'static str>,
    /// Where a JSON line holds it; empty where no JSON line does.
    pub json_path: Vec<String>,
}
