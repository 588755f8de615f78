//! Bytes to values and back: pure functions on slices that know no signal and no file.

pub mod varint;
