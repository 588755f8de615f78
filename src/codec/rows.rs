//! A set of the rows of one block: which of them still count while conditions are tried one after the other.
//!
//! One bit a row; rows are numbered from 0. Invariant: no bit is set beyond the last row.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    row_count: usize,
}

impl RowSet {
    /// All rows of a block of `row_count`.
    pub fn all(row_count: usize) -> RowSet {
        let mut words = vec![u64::MAX; row_count.div_ceil(64)];
        if let Some(last) = words.last_mut()
            && !row_count.is_multiple_of(64)
        {
            *last = (1 << (row_count % 64)) - 1;
        }
        RowSet { words, row_count }
    }

    /// None of the rows of a block of `row_count`.
    pub fn none(row_count: usize) -> RowSet {
        RowSet { words: vec![0; row_count.div_ceil(64)], row_count }
    }

    /// How many rows the block has, in the set or not.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// How many rows are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The last row in the set.
    pub fn last(&self) -> Option<usize> {
        let at = self.words.iter().rposition(|&word| word != 0)?;
        Some(at * 64 + self.words[at].ilog2() as usize)
    }

    pub fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    pub fn insert(&mut self, row: usize) {
        assert!(row < self.row_count, "row {row} of {}", self.row_count);
        self.words[row / 64] |= 1 << (row % 64);
    }

    pub fn remove(&mut self, row: usize) {
        self.words[row / 64] &= !(1 << (row % 64));
    }

    /// Leaves no row.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Leaves the rows that are in `other` too.
    pub fn intersect(&mut self, other: &RowSet) {
        assert_eq!(self.row_count, other.row_count, "sets of different blocks");
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Leaves the rows that are not in `other`.
    pub fn subtract(&mut self, other: &RowSet) {
        assert_eq!(self.row_count, other.row_count, "sets of different blocks");
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Adds the rows that are in `other`.
    pub fn unite(&mut self, other: &RowSet) {
        assert_eq!(self.row_count, other.row_count, "sets of different blocks");
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Leaves the rows for which `holds`; asks only about rows in the set, in order.
    pub fn retain(&mut self, mut holds: impl FnMut(usize) -> bool) {
        for (at, word) in self.words.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if !holds(at * 64 + bit as usize) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// As [`Self::retain`], for the rows whose value in a column `holds`: many values are compared at once.
    pub fn retain_values<T>(&mut self, values: &[T], holds: impl Fn(&T) -> bool) {
        assert_eq!(self.row_count, values.len(), "a column of another block");
        let words = self.words.iter_mut().zip(values.chunks(64));
        for (word, values) in words.filter(|(word, _)| **word != 0) {
            let mut held = [0u8; 64];
            held.iter_mut().zip(values).for_each(|(held, value)| *held = u8::from(holds(value)));
            *word &= bits_of(&held);
        }
    }

    /// The rows in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let next = |left: &u64| Some(left & (left - 1)).filter(|&left| left != 0);
            let words = std::iter::successors(Some(word).filter(|&word| word != 0), next);
            words.map(move |left| at * 64 + left.trailing_zeros() as usize)
        })
    }
}

/// The lowest bit of each byte, in their order.
fn bits_of(bytes: &[u8; 64]) -> u64 {
    // The product has the lowest bits of all eight bytes side by side in its highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    bytes.chunks_exact(8).rev().fold(0, |bits, eight| {
        let eight = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        bits << 8 | eight.wrapping_mul(GATHER) >> 56
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_rows_are_those_of_the_block_and_no_more() {
        for row_count in [0, 1, 63, 64, 65, 128, 1000] {
            let rows = RowSet::all(row_count);
            assert_eq!(rows.count(), row_count);
            assert!(rows.iter().eq(0..row_count));
            assert!(RowSet::none(row_count).is_empty());
        }
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set(row_count in 1usize..300, picks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..100)) {
            let (mut rows, mut model) = (RowSet::none(row_count), std::collections::BTreeSet::new());
            for (pick, is_insert) in picks {
                let row = pick.index(row_count);
                if is_insert {
                    rows.insert(row);
                    model.insert(row);
                } else {
                    rows.remove(row);
                    model.remove(&row);
                }
                prop_assert_eq!(rows.contains(row), is_insert);
                prop_assert_eq!(rows.last(), model.last().copied());
            }
            prop_assert!(rows.iter().eq(model.iter().copied()));
            let mut even = RowSet::all(row_count);
            even.retain(|row| row % 2 == 0);
            rows.intersect(&even);
            model.retain(|row| row % 2 == 0);
            prop_assert!(rows.iter().eq(model.iter().copied()));
            prop_assert_eq!(rows.count(), model.len());
            let mut third = RowSet::none(row_count);
            (0..row_count).step_by(3).for_each(|row| third.insert(row));
            let (mut united, mut left) = (rows.clone(), rows.clone());
            united.unite(&third);
            left.subtract(&third);
            prop_assert!(united.iter().eq((0..row_count).filter(|row| row % 3 == 0 || model.contains(row))));
            prop_assert!(left.iter().eq(model.iter().copied().filter(|row| row % 3 != 0)));
            let squares: Vec<_> = (0..row_count).map(|row| row * row).collect();
            rows.retain_values(&squares, |square| square % 7 < 4);
            model.retain(|row| row * row % 7 < 4);
            prop_assert!(rows.iter().eq(model.iter().copied()));
        }
    }
}
