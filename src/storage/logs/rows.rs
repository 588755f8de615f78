//! Rows of log entries, column by column: in a chunk of the head, in a block on its way to the disk, and as what a
//! reader gets.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::text::TextBuffer;
use crate::model::Nanos;
use crate::model::labels::label_hash;

/// Entries that were read, in order of time within one part.
#[derive(Clone, Debug, Default)]
pub struct LogRowsBuffer {
    pub timestamps: Vec<Nanos>,
    /// For each row its stream, as index in `LogSelection::streams`.
    pub streams: Vec<u32>,
    /// Empty unless lines were asked for.
    pub lines: TextBuffer,
    /// Bytes of each line; empty unless asked for.
    pub line_lens: Vec<u32>,
    /// Of no rows unless metadata was asked for.
    pub metadata: MetadataRows,
}

impl LogRowsBuffer {
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.streams.clear();
        self.lines.clear();
        self.line_lens.clear();
        self.metadata.clear();
    }
}

/// What tells an entry from all others of its stream and instant: a hash of its line and its metadata, in whatever order
/// that is. Two others have it in common by chance with 2^-128.
pub fn identity<'m>(line: &str, metadata: impl Iterator<Item = (&'m str, &'m str)>) -> u128 {
    metadata.fold(xxh3_128(line.as_bytes()), |sum, (name, value)| sum.wrapping_add(label_hash(name, value)))
}

/// Structured metadata of rows. Names are numbered, for they repeat; a row has each name once at most.
#[derive(Clone, Debug, Default)]
pub struct MetadataRows {
    names: Names,
    pairs: Vec<Pair>,
    values: String,
    /// Of each row: where its pairs end.
    ends: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    name: u32,
    /// Where its value ends; it begins where the one before it ends.
    end: u32,
}

impl MetadataRows {
    /// How many rows there are, with metadata or without.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn clear(&mut self) {
        *self = MetadataRows { ends: std::mem::take(&mut self.ends), ..MetadataRows::default() };
        self.ends.clear();
    }

    /// Names and values of a row.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.numbered(row).map(|(name, value)| (self.names.get(name), value))
    }

    /// Adds a row. Of pairs with the same name the first counts; a pair without a value is none.
    pub fn push<'m>(&mut self, metadata: impl IntoIterator<Item = (&'m str, &'m str)>) {
        let row = self.ends.len() as u32;
        for (name, value) in metadata {
            if value.is_empty() {
                continue;
            }
            let guess = self.pairs.last().map_or(0, |last| last.name as usize + 1);
            let number = self.names.number(name, guess);
            if self.names.is_first_in(number, row) {
                self.push_pair(number, value);
            }
        }
        self.ends.push(short(self.pairs.len()));
    }

    /// How many different names its rows have.
    pub(super) fn name_count(&self) -> usize {
        self.names.all.len()
    }

    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number)
    }

    /// Numbers of names, and values, of a row.
    pub(super) fn numbered(&self, row: usize) -> impl Iterator<Item = (u32, &str)> + Clone {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        (start as usize..self.ends[row] as usize).map(|at| (self.pairs[at].name, self.value(at)))
    }

    pub(super) fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Bytes of all values.
    pub(super) fn value_bytes(&self) -> usize {
        self.values.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.pairs.capacity() * size_of::<Pair>() + self.ends.capacity() * 4;
        lists + self.values.capacity() + self.names.memory_bytes()
    }

    fn push_pair(&mut self, name: u32, value: &str) {
        self.values.push_str(value);
        self.pairs.push(Pair { name, end: short(self.values.len()) });
    }

    fn value(&self, pair: usize) -> &str {
        let start = pair.checked_sub(1).map_or(0, |before| self.pairs[before].end);
        &self.values[start as usize..self.pairs[pair].end as usize]
    }
}

fn short(len: usize) -> u32 {
    u32::try_from(len).expect("a chunk or block is cut off long before 4 GiB")
}

/// Names by number.
#[derive(Clone, Debug, Default)]
struct Names {
    all: Vec<Box<str>>,
    /// The row that each name was last seen in, plus one.
    seen_in: Vec<u32>,
    /// Numbers by name, once there are so many that a look at each is slower.
    numbers: HashMap<Box<str>, u32, RandomState>,
}

/// A look at so many names costs about as much as a hash.
const NAMES_SCANNED_MAX: usize = 16;

impl Names {
    fn get(&self, number: u32) -> &str {
        &self.all[number as usize]
    }

    /// The number of a name, which is likely `guess`: senders repeat their names in one order.
    fn number(&mut self, name: &str, guess: usize) -> u32 {
        if self.all.get(guess).is_some_and(|known| **known == *name) {
            return guess as u32;
        }
        let known = if self.all.len() <= NAMES_SCANNED_MAX {
            self.all.iter().position(|known| **known == *name).map(|at| at as u32)
        } else {
            self.numbers.get(name).copied()
        };
        known.unwrap_or_else(|| self.add(name))
    }

    fn add(&mut self, name: &str) -> u32 {
        let number = self.all.len() as u32;
        self.all.push(name.into());
        self.seen_in.push(0);
        if self.all.len() > NAMES_SCANNED_MAX {
            // All of them, when there is one too many to look at each.
            for number in self.numbers.len()..self.all.len() {
                self.numbers.insert(self.all[number].clone(), number as u32);
            }
        }
        number
    }

    /// Whether the row does not have this name yet; it has it from now on.
    fn is_first_in(&mut self, number: u32, row: u32) -> bool {
        std::mem::replace(&mut self.seen_in[number as usize], row + 1) != row + 1
    }

    fn memory_bytes(&self) -> usize {
        let text: usize = self.all.iter().map(|name| name.len()).sum();
        self.all.capacity() * 20 + text + self.numbers.capacity() * 28 + self.numbers.len() * 16
    }
}

/// Rows of one group. Which streams the numbers stand for is told beside.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub timestamps: Vec<Nanos>,
    pub streams: Vec<u32>,
    pub lines: TextBuffer,
    pub metadata: MetadataRows,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn push<'m>(
        &mut self,
        timestamp: Nanos,
        stream: u32,
        line: &str,
        metadata: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) {
        self.timestamps.push(timestamp);
        self.streams.push(stream);
        self.lines.push(line);
        self.metadata.push(metadata);
    }

    /// Adds a row of another.
    pub fn push_from(&mut self, from: &Rows, row: usize, stream: u32) {
        self.push(from.timestamps[row], stream, from.lines.get(row), from.metadata.of(row));
    }

    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.streams.clear();
        self.lines.clear();
        self.metadata.clear();
    }

    /// Bytes of lines and metadata, which decide when a chunk or block is full.
    pub fn text_bytes(&self) -> usize {
        self.lines.bytes.len() + self.metadata.value_bytes()
    }

    pub fn memory_bytes(&self) -> usize {
        let numbers = self.timestamps.capacity() * 8 + self.streams.capacity() * 4;
        let lines = self.lines.bytes.capacity() + self.lines.ends.capacity() * size_of::<usize>();
        numbers + lines + self.metadata.memory_bytes()
    }

    pub fn line_len(&self, row: usize) -> usize {
        self.lines.ends[row] - row.checked_sub(1).map_or(0, |before| self.lines.ends[before])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_come_back_row_by_row() {
        let mut metadata = MetadataRows::default();
        metadata.push([("k8s.node.name", "n1"), ("user", "u")]);
        metadata.push([]);
        metadata.push([("user", "v"), ("empty", "")]);
        let rows: Vec<Vec<_>> = (0..metadata.len()).map(|row| metadata.of(row).collect()).collect();
        assert_eq!(rows, [vec![("k8s.node.name", "n1"), ("user", "u")], vec![], vec![("user", "v")]]);
    }

    #[test]
    fn of_a_name_that_comes_twice_the_first_value_counts() {
        let mut metadata = MetadataRows::default();
        metadata.push([("a", "1"), ("b", "2"), ("a", "3")]);
        metadata.push([("a", "4"), ("a", "5")]);
        assert_eq!(metadata.of(0).collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(metadata.of(1).collect::<Vec<_>>(), [("a", "4")]);
    }

    #[test]
    fn any_number_of_names_is_told_apart() {
        let names: Vec<String> = (0..100).map(|i| format!("name{i}")).collect();
        let mut metadata = MetadataRows::default();
        for skip in 0..3 {
            metadata.push(names.iter().rev().skip(skip).map(|name| (name.as_str(), &name[4..])));
        }
        assert_eq!(metadata.name_count(), 100);
        assert!((0..3).all(|row| metadata.of(row).count() == 100 - row));
        assert!(metadata.of(2).all(|(name, value)| &name[4..] == value));
    }
}
