//! TraceQL: text → tokens → syntax tree → checked tree. What the tree finds in a trace: `query/traces`.
//!
//! The whole language is read; what it asks for beyond the search of spans (metrics) is checked and then refused by
//! name, so that no question gets a wrong answer.

pub mod ast;
mod check;
mod lexer;
mod parse_field;
mod parse_metrics;
mod parser;
mod position;
mod recover;
mod value;

pub use lexer::{duration, field};
pub use parser::{ParseOptions, parse};
pub use position::ParseError;
pub use recover::matchers;
pub use value::{Kind, Status, Value};

#[cfg(test)]
mod tests;
