//! Why a text is no query, and where: in Loki's words where it has any.

use crate::query::lexical::{LineColumn, PositionRange, line_column};

/// `parse error at line 1, col 6: syntax error: unexpected …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {}, col {}: {message}", at.line, at.column)]
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
