//! Spans of traces: the traces room of the storage hall.

mod batch;
mod condition;
mod head;
mod log;
mod search;
mod snapshot;
mod span;
#[cfg(test)]
mod test_spans;
mod view;
mod writer;

pub use batch::{SpanBatch, SpanRow, SpanRows};
pub use condition::{AttributeScope, FieldValue, SpanCondition, SpanField, Test, ValueRef};
pub use head::SpanHead;
pub use log::TracesReplay;
pub use snapshot::{Candidate, TracesSnapshot};
pub use span::{Origin, StoredSpan};
pub use writer::SpansWriter;
