//! Lines of log streams: the logs room of the storage hall.

#![allow(dead_code, reason = "the segments that use it come next")]

mod batch;
mod chunk_reader;
#[cfg(test)]
pub(crate) mod fixture;
mod head;
mod rows;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::{Entry, LogBatch, LogRows, StreamRows};
pub use head::LogHead;
pub use rows::{LogRowsBuffer, MetadataRows};
pub use snapshot::{LogAsk, LogPart, LogSelection, LogsSnapshot, SelectionSize, StreamShare};
pub use tail::{LogTail, TailHub};
pub use writer::{LogCounters, LogsWriter};
