//! The labels of a registry's series, packed side by side: an allocation for each of them takes half as much again.
//!
//! Labels lie in the order in which their series came. What is left by those that went is a gap until there is more of gaps than
//! of labels; then all are packed anew.

use crate::codec::varint::{read_u64, write_u64};

const CHUNK_BITS: u32 = 18;
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
/// A place is the number of a chunk and an offset there, in 32 bits.
const CHUNKS_MAX: usize = 1 << (32 - CHUNK_BITS);
/// Labels are not packed anew for less than this.
const GAPS_MIN: usize = 1 << 20;
/// Where there is no series: nothing begins at the last byte of a chunk.
const NOWHERE: u32 = u32::MAX;

/// Labels of series by id.
#[derive(Default)]
pub(super) struct LabelStore {
    /// Of each series a length, then labels of so many bytes. A chunk is longer than [`CHUNK_BYTES`] if it has one series only.
    chunks: Vec<Vec<u8>>,
    places: Vec<u32>,
    label_bytes: usize,
    gap_bytes: usize,
}

/// Symbols of names and values, in the order of the names, as variable-length integers: a few bytes a label.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PackedLabels<'a>(&'a [u8]);

impl LabelStore {
    /// Whether there may be no room for another series.
    pub fn is_full(&self) -> bool {
        self.chunks.len() == CHUNKS_MAX
    }

    pub fn get(&self, id: u32) -> Option<PackedLabels<'_>> {
        let place = *self.places.get(id as usize).filter(|&&place| place != NOWHERE)?;
        Some(labels_at(&self.chunks, place))
    }

    /// Keeps the labels of a series that has none: symbols of names and values as they come.
    pub fn insert(&mut self, id: u32, packed: &[u8]) {
        if self.places.len() <= id as usize {
            self.places.resize(id as usize + 1, NOWHERE);
        }
        assert_eq!(self.places[id as usize], NOWHERE, "series {id} has labels");
        self.label_bytes += packed.len();
        self.places[id as usize] = push(&mut self.chunks, packed);
    }

    /// Lets go of the labels of a series that has some.
    pub fn remove(&mut self, id: u32) {
        let place = std::mem::replace(&mut self.places[id as usize], NOWHERE);
        let bytes = labels_at(&self.chunks, place).0.len();
        self.label_bytes -= bytes;
        self.gap_bytes += bytes;
        if self.gap_bytes > self.label_bytes.max(GAPS_MIN) {
            self.pack_anew();
        }
    }

    fn pack_anew(&mut self) {
        let before = std::mem::take(&mut self.chunks);
        for place in self.places.iter_mut().filter(|place| **place != NOWHERE) {
            *place = push(&mut self.chunks, labels_at(&before, *place).0);
        }
        self.gap_bytes = 0;
    }
}

/// Appends labels; answers with their place.
fn push(chunks: &mut Vec<Vec<u8>>, packed: &[u8]) -> u32 {
    // Ten bytes are enough for any length.
    let bytes_max = packed.len() + 10;
    if chunks.last().is_none_or(|chunk| chunk.len() + bytes_max > CHUNK_BYTES) {
        chunks.push(Vec::with_capacity(bytes_max.max(CHUNK_BYTES)));
    }
    let number = chunks.len() - 1;
    assert!(number < CHUNKS_MAX, "labels in {number} chunks");
    let chunk = &mut chunks[number];
    let offset = chunk.len();
    write_u64(chunk, packed.len() as u64);
    chunk.extend_from_slice(packed);
    (number as u32) << CHUNK_BITS | offset as u32
}

fn labels_at(chunks: &[Vec<u8>], place: u32) -> PackedLabels<'_> {
    let mut from = &chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK_BYTES..];
    let len = read_u64(&mut from).expect("labels follow their length");
    PackedLabels(&from[..len as usize])
}

impl<'a> PackedLabels<'a> {
    /// Has memory bring them, for who will look at them soon.
    pub fn fetch(self) -> u8 {
        let ends = [self.0.first(), self.0.last()];
        ends.into_iter().flatten().fold(0, |sum, end| sum ^ end)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        // The last byte of each integer is below 0x80. So few at a time are counted in a byte, many bytes at once.
        let ends = |bytes: &[u8]| usize::from(bytes.iter().map(|&byte| u8::from(byte < 0x80)).sum::<u8>());
        self.0.chunks(128).map(ends).sum::<usize>() / 2
    }

    pub fn iter(mut self) -> impl Iterator<Item = (u32, u32)> + 'a {
        std::iter::from_fn(move || self.take_first())
    }

    /// The first one; the others stay.
    pub fn take_first(&mut self) -> Option<(u32, u32)> {
        Some((self.take_symbol()?, self.take_symbol()?))
    }

    fn take_symbol(&mut self) -> Option<u32> {
        // Names, and the values that many series have.
        if let &[byte @ 0..0x80, ref rest @ ..] = self.0 {
            self.0 = rest;
            return Some(byte.into());
        }
        read_u64(&mut self.0).ok().map(|symbol| symbol as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn packed(labels: &[(u32, u32)]) -> Vec<u8> {
        let mut packed = Vec::new();
        labels.iter().flat_map(|&(name, value)| [name, value]).for_each(|s| write_u64(&mut packed, s.into()));
        packed
    }

    fn assert_holds(store: &LabelStore, known: &BTreeMap<u32, Vec<(u32, u32)>>) {
        for id in 0..store.places.len() as u32 + 2 {
            let found: Option<Vec<_>> = store.get(id).map(|labels| labels.iter().collect());
            assert_eq!(found.as_ref(), known.get(&id), "series {id}");
            assert_eq!(store.get(id).map(PackedLabels::count), known.get(&id).map(Vec::len), "series {id}");
        }
    }

    proptest! {
        #[test]
        fn each_series_has_its_labels_however_they_came_and_went(
            // Some are longer than a chunk.
            steps in prop::collection::vec((0..40u32, prop_oneof![9 => 0..30usize, 1 => 0..40_000usize], any::<u32>()), 1..50),
        ) {
            let (mut store, mut known) = (LabelStore::default(), BTreeMap::new());
            for (id, count, symbol) in steps {
                if known.remove(&id).is_some() {
                    store.remove(id);
                    continue;
                }
                let labels: Vec<_> = (0..count as u32).map(|at| (at, symbol.rotate_left(at))).collect();
                store.insert(id, &packed(&labels));
                known.insert(id, labels);
            }
            assert_holds(&store, &known);
        }
    }

    #[test]
    fn what_went_takes_no_more_than_what_stayed() {
        let (mut store, mut known) = (LabelStore::default(), BTreeMap::new());
        let labels = |id: u32| (0..20).map(|at| (at, id.rotate_left(at))).collect::<Vec<_>>();
        for id in 0..200_000 {
            store.insert(id % 50_000, &packed(&labels(id)));
            known.insert(id % 50_000, labels(id));
            if id >= 40_000 {
                store.remove((id - 40_000) % 50_000);
                known.remove(&((id - 40_000) % 50_000));
            }
        }
        assert_eq!(known.len(), 40_000);
        assert_holds(&store, &known);
        let bytes: usize = known.values().map(|labels| packed(labels).len() + 1).sum();
        assert!(
            store.chunks.len() * CHUNK_BYTES < 5 * bytes / 2,
            "{} chunks for {bytes} bytes",
            store.chunks.len()
        );
    }
}
