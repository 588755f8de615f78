//! Structured metadata on its way: names and values, one after the other in memory that is used again.

#[derive(Debug, Default)]
pub struct Pairs {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<usize>,
}

impl Pairs {
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a pair, unless its value is empty, which is the same as no pair.
    pub fn push(&mut self, name: &str, value: &str) {
        self.push_with(name, |text| text.push_str(value));
    }

    /// As [`Pairs::push`], of a value that is yet to be written.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        let begin = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        write(&mut self.text);
        if middle == begin || self.text.len() == middle {
            self.text.truncate(begin);
            return;
        }
        self.ends.extend([middle, self.text.len()]);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let text = |index: usize| {
            let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.text[begin..self.ends[index]]
        };
        (0..self.ends.len()).step_by(2).map(move |at| (text(at), text(at + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_out_as_they_were_put_in_without_the_empty_ones() {
        let mut pairs = Pairs::default();
        pairs.push("a", "1");
        pairs.push("b", "");
        pairs.push("", "c");
        pairs.push_with("d", |text| text.push('é'));
        pairs.push("a", "2");
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "1"), ("d", "é"), ("a", "2")]);
        pairs.clear();
        assert_eq!(pairs.iter().count(), 0);
    }
}
