//! From a byte in the text to its line and column.

use std::fmt;

/// Bytes `start..end` of the query's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PositionRange {
    pub start: u32,
    pub end: u32,
}

/// 1-based; columns count bytes, as Prometheus's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    pub line: usize,
    pub column: usize,
}

impl PositionRange {
    pub fn new(start: usize, end: usize) -> PositionRange {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        PositionRange { start: narrow(start), end: narrow(end) }
    }

    /// From the start of this to the end of `last`.
    pub fn to(self, last: PositionRange) -> PositionRange {
        PositionRange { start: self.start, end: last.end }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where byte `at` of `text` stands.
pub fn line_column(text: &str, at: u32) -> LineColumn {
    let before = &text.as_bytes()[..(at as usize).min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    LineColumn { line, column: before.len() - line_start + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let at = |at| line_column("ab\ncd", at).to_string();
        assert_eq!([at(0), at(2), at(3), at(5), at(99)], ["1:1", "1:3", "2:1", "2:3", "2:3"]);
    }
}
