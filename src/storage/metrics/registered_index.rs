//! The index of a segment of active series, made of what their registries know: who has a label stands in the postings
//! there, and becomes ordinals by one look-up each. No label of a series is kept for it, and each text is looked at once.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::io::{self, Write};

use foldhash::fast::RandomState;

use super::holders::Holders;
use super::label_order::{InOrder, Place};
use super::packed_labels::PackedLabels;
use super::registry::{Reading, SharedRegistry};
use crate::model::Labels;
use crate::storage::index::{HoldersWriter, IndexWriter, LabelIds, SeriesLabelsWriter, ValuesWriter};
use crate::storage::segment::SegmentWriter;

/// No series has this ordinal, and no name this symbol.
const NONE: u32 = u32::MAX;

/// Fewer than one of so many registered series are looked up one by one: else each label is, whether they have it or not.
const FEW_OF: usize = 16;

/// Writes the sections. The series come in the order of their labels, and must stay registered meanwhile.
pub(super) fn write_registered_index<W: Write>(
    series: &InOrder<'_>,
    registries: &[SharedRegistry],
    to: &mut SegmentWriter<W>,
) -> io::Result<()> {
    let registered: usize = registries.iter().map(|registry| registry.len()).sum();
    if series.len() < registered / FEW_OF {
        return plain_index(series, registries).finish(to);
    }
    registries.iter().for_each(|registry| registry.settle());
    let ordinals = Ordinals::new(series, registries);
    let mut numbers = LabelNumbers::new(registries);
    let holders = write_holders(&ordinals, registries, &mut numbers);
    write_series(series, registries, &numbers, to)?;
    holders.finish(to)
}

/// Made of the labels of each.
fn plain_index(series: &InOrder<'_>, registries: &[SharedRegistry]) -> IndexWriter {
    let mut index = IndexWriter::default();
    for place in series.iter() {
        registries[place.shard as usize]
            .with_labels(&[place.id], |_, labels| index.add(&Labels::from_sorted(labels)));
    }
    index
}

/// What is registered besides is left out.
fn write_holders(
    ordinals: &Ordinals,
    registries: &[SharedRegistry],
    numbers: &mut LabelNumbers,
) -> HoldersWriter {
    let (mut holders, mut list) = (HoldersWriter::default(), OrdinalList::new(ordinals.series_count));
    for name in names(registries) {
        // New series wait for one name at most.
        let shards: Vec<Reading<'_>> = registries.iter().map(|registry| registry.reading()).collect();
        let values = values_of(&name, &shards);
        holders.name(&name, |to: &mut ValuesWriter<'_>| {
            for same in values.chunk_by(|a, b| a.text == b.text) {
                let of_shards = same.iter().map(|value| (&ordinals.of_shards[value.shard], value.holders));
                let holders = list.of(of_shards);
                if !holders.is_empty() {
                    let label = to.value(same[0].text, holders);
                    same.iter().for_each(|value| numbers.set(value.shard, value.symbols, label));
                }
            }
        });
    }
    holders
}

fn names(registries: &[SharedRegistry]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for registry in registries {
        let registry = registry.reading();
        names.extend(registry.names().map(|name| registry.text(name).to_owned()));
    }
    names
}

/// A value of a name in one shard.
struct Value<'s> {
    text: &'s str,
    shard: usize,
    /// Of the name and of the value.
    symbols: (u32, u32),
    holders: &'s Holders,
}

/// Those of all shards, by their texts.
fn values_of<'s>(name: &str, shards: &'s [Reading<'_>]) -> Vec<Value<'s>> {
    let mut values = Vec::new();
    for (shard, registry) in shards.iter().enumerate() {
        let Some((name, of_shard)) = registry.values(name) else { continue };
        values.extend(of_shard.map(|(value, holders)| Value {
            text: registry.text(value),
            shard,
            symbols: (name, value),
            holders,
        }));
    }
    values.sort_unstable_by_key(|value| value.text);
    values
}

fn write_series<W: Write>(
    series: &InOrder<'_>,
    registries: &[SharedRegistry],
    numbers: &LabelNumbers,
    to: &mut SegmentWriter<W>,
) -> io::Result<()> {
    let mut written = SeriesLabelsWriter::default();
    series.for_each_batch(|places| {
        let shards: Vec<Reading<'_>> = registries.iter().map(|registry| registry.reading()).collect();
        let packed = |place: &Place| shards[place.shard as usize].packed_labels(place.id);
        let packed: Vec<PackedLabels<'_>> =
            places.iter().map(|place| packed(place).expect("it stays registered")).collect();
        // They lie all over the memory. Nothing waits for the one before here, as it would below.
        black_box(packed.iter().fold(0, |sum, labels| sum ^ labels.fetch()));
        for (place, labels) in places.iter().zip(packed) {
            written.add(labels.iter().map(|symbols| numbers.get(place.shard as usize, symbols)));
        }
        io::Result::Ok(())
    })?;
    written.finish(to)
}

/// Which series of the segment each registered one is.
struct Ordinals {
    series_count: usize,
    /// By id; [`NONE`] if it is none of them.
    of_shards: Vec<Vec<u32>>,
}

impl Ordinals {
    fn new(series: &InOrder<'_>, registries: &[SharedRegistry]) -> Ordinals {
        let mut of_shards: Vec<Vec<u32>> =
            registries.iter().map(|registry| vec![NONE; registry.ids_end()]).collect();
        for (place, ordinal) in series.iter().zip(0..) {
            of_shards[place.shard as usize][place.id as usize] = ordinal;
        }
        Ordinals { series_count: series.len(), of_shards }
    }
}

/// A list under construction.
struct OrdinalList {
    ordinals: Vec<u32>,
    /// A bit for each series, none of them set between two lists.
    bits: Vec<u64>,
}

impl OrdinalList {
    fn new(series_count: usize) -> OrdinalList {
        OrdinalList { ordinals: Vec::new(), bits: vec![0; series_count.div_ceil(64)] }
    }

    /// The ordinals of these series, in order.
    fn of<'s>(&mut self, of_shards: impl Iterator<Item = (&'s Vec<u32>, &'s Holders)>) -> &[u32] {
        self.ordinals.clear();
        for (ordinals, ids) in of_shards {
            // Who was registered since has none.
            let of_id = |id: u32| ordinals.get(id as usize).copied().filter(|&ordinal| ordinal != NONE);
            ids.for_each(|id| self.ordinals.extend(of_id(id)));
        }
        if !self.ordinals.is_sorted() {
            self.sort();
        }
        &self.ordinals
    }

    fn sort(&mut self) {
        let span = self.ordinals.iter().fold((NONE, 0), |(min, max), &at| (at.min(min), at.max(max)));
        let words = span.0 as usize / 64..span.1 as usize / 64 + 1;
        // A sort looks at each ordinal some times, this at each word once.
        if self.ordinals.len() * 4 < words.len() {
            return self.ordinals.sort_unstable();
        }
        self.ordinals.iter().for_each(|&at| self.bits[at as usize / 64] |= 1 << (at % 64));
        self.ordinals.clear();
        for at in words {
            let mut word = std::mem::take(&mut self.bits[at]);
            while word != 0 {
                self.ordinals.push(at as u32 * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
    }
}

/// The numbers of labels in the index, by the symbols of the registries.
struct LabelNumbers {
    of_shards: Vec<NumbersOfShard>,
}

#[derive(Default)]
struct NumbersOfShard {
    /// By symbol of a value: the name it stands under, and the numbers of that label.
    labels: Vec<(u32, LabelIds)>,
    /// Of values that stand under several names: the others, by symbols.
    others: HashMap<(u32, u32), LabelIds, RandomState>,
}

impl LabelNumbers {
    fn new(registries: &[SharedRegistry]) -> LabelNumbers {
        let of_shard = |registry: &SharedRegistry| NumbersOfShard {
            labels: vec![(NONE, (0, 0)); registry.reading().symbols_end() as usize],
            others: HashMap::default(),
        };
        LabelNumbers { of_shards: registries.iter().map(of_shard).collect() }
    }

    fn set(&mut self, shard: usize, symbols: (u32, u32), label: LabelIds) {
        let numbers = &mut self.of_shards[shard];
        // A text that came since stands for no series of the segment in this shard, though it may in another.
        let Some(first) = numbers.labels.get_mut(symbols.1 as usize) else { return };
        if first.0 == NONE {
            *first = (symbols.0, label);
        } else {
            numbers.others.insert(symbols, label);
        }
    }

    /// The numbers of a label that some series has.
    fn get(&self, shard: usize, symbols: (u32, u32)) -> LabelIds {
        let numbers = &self.of_shards[shard];
        let (name, label) = numbers.labels[symbols.1 as usize];
        if name == symbols.0 { label } else { numbers.others[&symbols] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::segment::SegmentMeta;

    const SHARDS: usize = 3;

    fn any_labels() -> impl Strategy<Value = Labels> {
        // Values that stand under several names, and names that not all have.
        prop::collection::btree_map("[a-d]", "[a-c]|é|[a-z]{2}|h[0-9]{3}", 1..5)
            .prop_map(|pairs| Labels::from_pairs(pairs).expect("a map holds each name once"))
    }

    fn file(write: impl FnOnce(&mut SegmentWriter<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
        let mut to = SegmentWriter::new(Vec::new()).unwrap();
        write(&mut to).unwrap();
        to.finish(&SegmentMeta::default()).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_the_index_of_the_labels_as_texts(
            series in prop::collection::btree_map(any_labels(), (0..SHARDS, any::<bool>()), 0..150),
        ) {
            let registries: Vec<SharedRegistry> = (0..SHARDS).map(|_| SharedRegistry::default()).collect();
            let mut shuffled: Vec<_> = series.iter().collect();
            shuffled.sort_by_key(|(labels, _)| labels.fingerprint());
            for (labels, (shard, _)) in shuffled {
                registries[*shard].find_or_insert(labels, labels.fingerprint(), 1000).unwrap();
            }
            let (mut active, mut places) = (Vec::new(), Vec::new());
            for (labels, (shard, is_active)) in &series {
                if *is_active {
                    active.push(labels);
                    let id = registries[*shard].find(labels, labels.fingerprint()).unwrap();
                    places.push(Place { shard: *shard as u32, id });
                }
            }
            let few = (places.len() as u32).min(3);
            for count in [places.len() as u32, few] {
                let mut plain = IndexWriter::default();
                active[..count as usize].iter().for_each(|labels| plain.add(labels));
                let found = file(|to| write_registered_index(&InOrder::new(&places, (0..count).collect()), &registries, to));
                prop_assert_eq!(found, file(|to| plain.finish(to)));
            }
        }

        #[test]
        fn what_is_registered_meanwhile_changes_nothing(
            series in prop::collection::btree_set(any_labels(), 1..20),
            meanwhile in prop::collection::btree_set(any_labels(), 1..20),
        ) {
            let registries: Vec<SharedRegistry> = (0..2).map(|_| SharedRegistry::default()).collect();
            let register = |shard: usize, labels: &Labels| {
                let (id, _) = registries[shard].find_or_insert(labels, labels.fingerprint(), 1000).unwrap();
                Place { shard: shard as u32, id }
            };
            let places: Vec<Place> = series.iter().map(|labels| register(0, labels)).collect();
            let all = InOrder::new(&places, (0..places.len() as u32).collect());
            let before = file(|to| write_registered_index(&all, &registries, to));
            let (ordinals, mut numbers) = (Ordinals::new(&all, &registries), LabelNumbers::new(&registries));
            for labels in &meanwhile {
                register(0, labels);
            }
            for labels in meanwhile.iter().chain(&series) {
                register(1, labels);
            }
            registries.iter().for_each(|registry| registry.settle());
            let after = file(|to| {
                let holders = write_holders(&ordinals, &registries, &mut numbers);
                write_series(&all, &registries, &numbers, to)?;
                holders.finish(to)
            });
            prop_assert_eq!(after, before);
        }

        #[test]
        fn lists_are_in_order(lists in prop::collection::vec((prop::collection::btree_set(0..5000u32, 0..200), 0..5000u32), 1..5)) {
            let mut under_construction = OrdinalList::new(5000);
            for (list, shift) in lists {
                // The first ids have the last ordinals, or some of the others.
                let ordinals = (0..5000).map(|id| (9999 - id + shift) % 5000).collect();
                let mut ids = Holders::default();
                list.iter().map(|ordinal| (9999 - ordinal + shift) % 5000).for_each(|id| ids.insert(id..id + 1));
                let found = under_construction.of([(&ordinals, &ids)].into_iter());
                prop_assert_eq!(found, list.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
