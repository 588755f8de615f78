//! Why a text is no query, and where: in Loki's words where it has any.

use crate::query::lexical::{LineColumn, PositionRange, line_column};

const CHARS_MAX: usize = 400;

/// `parse error at line 1, col 6: syntax error: unexpected …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {}, col {}: {message}", at.line, at.column)]
pub struct ParseError {
    pub at: LineColumn,
    pub position: PositionRange,
    pub message: String,
}

impl ParseError {
    /// What the message tells of the query's own text is cut, and its control characters are written out.
    pub(super) fn new(text: &str, position: PositionRange, message: impl Into<String>) -> ParseError {
        let message: String = message.into();
        let mut shown = String::with_capacity(message.len().min(CHARS_MAX));
        for (i, c) in message.chars().enumerate() {
            match c {
                _ if i == CHARS_MAX => {
                    shown.push('…');
                    break;
                }
                _ if c.is_control() => shown.extend(c.escape_default()),
                _ => shown.push(c),
            }
        }
        ParseError { at: line_column(text, position.start), position, message: shown }
    }
}
