//! LogQL: text → tokens → checked syntax tree; parsers, filters and templates of lines.

pub mod ast;
pub mod ip;
pub mod json_path;
pub mod pattern;
pub mod template;
