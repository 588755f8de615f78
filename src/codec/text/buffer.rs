//! Texts of rows, one after the other in one allocation.

/// Texts by row. Invariant of what this crate fills: `ends` never decreases, and each end is a character's
/// boundary of `bytes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextBuffer {
    pub bytes: String,
    /// Where each text ends in `bytes`; it begins where the one before it ends.
    pub ends: Vec<usize>,
}

impl TextBuffer {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl<T: AsRef<str>> FromIterator<T> for TextBuffer {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> TextBuffer {
        let mut buffer = TextBuffer::default();
        texts.into_iter().for_each(|text| buffer.push(text.as_ref()));
        buffer
    }
}
