//! Spans of traces: the traces room of the storage hall.

mod batch;
mod block_parts;
mod block_reader;
mod block_search;
mod block_values;
mod block_writer;
mod candidates;
mod columns;
mod columns_builder;
mod condition;
mod first_values;
mod flush;
mod head;
mod head_search;
mod log;
mod segment_layout;
mod segment_reader;
mod segment_search;
#[cfg(test)]
mod segment_tests;
mod segment_writer;
mod snapshot;
mod span;
#[cfg(test)]
pub(in crate::storage) mod test_spans;
mod view;
mod writer;

pub use batch::{SpanBatch, SpanRow, SpanRows};
pub use candidates::{Candidate, Candidates};
pub use condition::{AttributeScope, FieldValue, SpanCondition, SpanField, Test, ValueRef};
pub use flush::{merge_segments, write_generation};
pub use head::SpanHead;
pub use log::TracesReplay;
pub use segment_layout::section_name;
pub use segment_reader::{BlockSummary, TracesSegment};
pub use segment_writer::TracesSegmentWriter;
pub use snapshot::TracesSnapshot;
pub use span::{Origin, StoredSpan};
pub use writer::SpansWriter;
