//! Lines of log streams: the logs room of the storage hall.

mod batch;

pub use batch::{Entry, LogBatch, LogRows, StreamRows};
