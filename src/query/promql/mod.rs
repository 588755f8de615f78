//! PromQL: text → tokens → syntax tree → checked tree → evaluation.

pub mod ast;
pub mod check;
pub mod classic_histogram;
pub mod duration;
pub mod error;
pub mod eval;
pub mod functions_table;
pub mod histogram_functions;
pub mod histogram_literal;
pub mod histogram_rate;
pub mod histogram_total;
pub mod histogram_trim;
pub mod lexer;
pub mod operators;
mod parse_calls;
mod parse_durations;
mod parse_matching;
mod parse_selectors;
pub mod parser;
mod prettify;
mod printer;
pub mod reuse;
pub mod series_description;
pub mod token;

pub use error::ParseError;
pub use parser::{ParseOptions, parse, parse_selector};
pub use prettify::prettify;
pub use reuse::Reuse;
