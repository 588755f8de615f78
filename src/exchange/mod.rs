//! Samples in the formats that carry history from one system to another: read into batches that a server takes.
//!
//! Readers stream: what they hold is bounded, however long the input. What they read was written by others, so that
//! whatever stands in it ends in an error that names the place, never in a panic.

mod batch;
mod histogram;
pub mod json_lines;
mod number;
pub mod stream;
pub mod text;
pub mod tsdb;

pub use batch::Batch;
