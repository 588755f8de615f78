//! Spans of traces: the traces room of the storage hall.

mod batch;

pub use batch::{SpanBatch, SpanRow, SpanRows};
