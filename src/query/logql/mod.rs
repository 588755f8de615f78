//! LogQL: text → tokens → checked syntax tree; parsers, filters and templates of lines.

pub mod ast;
mod check;
mod equality;
pub mod error;
pub mod eval;
pub mod ip;
pub mod json_path;
pub mod label_name;
mod lexer;
mod operators;
mod parse_filters;
mod parse_metrics;
mod parse_stages;
pub mod parser;
pub mod pattern;
mod printer;
pub mod stages;
pub mod template;
mod token;
pub mod units;

#[cfg(test)]
mod parser_tests;
#[cfg(test)]
mod printer_tests;

pub use error::ParseError;
pub use parser::{ParseOptions, parse, parse_selector};
