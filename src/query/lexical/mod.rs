//! What the texts of all query languages are made of: positions, strings, numbers, durations.

pub mod duration;
pub mod number;
pub mod position;
pub mod strings;

pub use position::{LineColumn, PositionRange, line_column};
