//! The error that carries where in the text it is.

use crate::query::lexical::{LineColumn, PositionRange, line_column};

/// Why a text is no expression: `1:6: parse error: …`, in Prometheus's words where it has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: parse error: {message}")]
pub struct ParseError {
    pub at: LineColumn,
    pub position: PositionRange,
    pub message: String,
}

impl ParseError {
    pub(super) fn new(text: &str, position: PositionRange, message: impl Into<String>) -> ParseError {
        ParseError { at: line_column(text, position.start), position, message: message.into() }
    }
}
