//! The error of a text that is no query, with where in the text it is.

use crate::query::lexical::position::{LineColumn, line_column};

/// Why a text is no TraceQL query. Columns count bytes, from one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {}, col {}: {message}", at.line, at.column)]
pub struct ParseError {
    pub at: LineColumn,
    pub message: String,
}

impl ParseError {
    pub(super) fn new(text: &str, at: usize, message: impl Into<String>) -> ParseError {
        let at = line_column(text, u32::try_from(at).unwrap_or(u32::MAX));
        ParseError { at, message: message.into() }
    }
}
