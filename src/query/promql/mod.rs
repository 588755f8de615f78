//! PromQL: text → tokens → syntax tree → checked tree → evaluation.

pub mod ast;
pub mod duration;
pub mod functions_table;
