//! Lines of log streams: the logs room of the storage hall.

mod appender;
mod batch;
mod block;
mod block_reader;
mod chunk_reader;
mod flush;
mod head;
pub(in crate::storage) mod log;
mod merge;
mod names;
mod replay;
mod rows;
mod segment_layout;
mod segment_reader;
#[cfg(test)]
mod segment_tests;
mod segment_writer;
mod selection;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod trace_ids;
mod writer;

pub use batch::{Entry, LogBatch, LogRows, StreamRows};
pub(in crate::storage) use flush::write_generation;
pub use head::LogHead;
pub(in crate::storage) use head::group_fingerprint;
pub(in crate::storage) use merge::merge_segments;
pub(in crate::storage) use replay::LogsReplay;
pub use rows::{LogRowsBuffer, MetadataRows, identity};
pub use segment_layout::section_name;
pub use segment_reader::{LogBlockSummary, LogsSegment};
pub use selection::{LogPart, LogSelection, SelectionSize, StreamShare};
pub use snapshot::{LogAsk, LogsSnapshot};
pub use tail::{LogTail, TailHub};
pub use writer::{LogCounters, LogsWriter};
