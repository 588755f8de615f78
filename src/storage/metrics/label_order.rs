//! Active series of all shards in the order of their labels, without writing those out.
//!
//! Each distinct text is ranked once; then series are compared by the ranks of their texts: most of them by the first few,
//! packed into one number.

use std::cmp::Ordering;

use roaring::RoaringBitmap;

use super::registry::Reading;

/// A series in the registry of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub shard: u32,
    pub id: u32,
}

/// Some series of an order, in order.
pub(super) struct InOrder<'o> {
    order: &'o [Place],
    positions: RoaringBitmap,
}

impl<'o> InOrder<'o> {
    pub fn new(order: &'o [Place], positions: RoaringBitmap) -> InOrder<'o> {
        InOrder { order, positions }
    }

    pub fn len(&self) -> usize {
        self.positions.len() as usize
    }

    pub fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.positions.iter().map(|at| self.order[at as usize])
    }

    /// Hands over some at a time: few enough that what is fetched for all of them is there still when each has its turn.
    pub fn for_each_batch<E>(&self, mut each: impl FnMut(&[Place]) -> Result<(), E>) -> Result<(), E> {
        const BATCH: usize = 64;
        let mut rest = self.iter();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            batch.extend(rest.by_ref().take(BATCH));
            if batch.is_empty() {
                return Ok(());
            }
            each(&batch)?;
        }
    }
}

/// How the labels of two series compare. For few of them: this goes by texts.
pub(super) fn compare_labels(shards: &[Reading<'_>], a: Place, b: Place) -> Ordering {
    let labels = |place: Place| shards[place.shard as usize].labels(place.id).into_iter().flatten();
    let (mut left, mut right) = (labels(a), labels(b));
    let texts = |place: Place, (name, value): (u32, u32)| {
        let shard = &shards[place.shard as usize];
        (shard.text(name), shard.text(value))
    };
    loop {
        let (left, right) = match (left.next(), right.next()) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return left.is_some().cmp(&right.is_some()),
        };
        if a.shard == b.shard && left == right {
            continue;
        }
        let order = texts(a, left).cmp(&texts(b, right));
        if order.is_ne() {
            return order;
        }
    }
}

/// Where each text stands among those of all shards, the first at 1; by shard and symbol.
pub(super) struct Ranks<'s> {
    shards: &'s [Reading<'s>],
    of_names: Vec<Vec<u32>>,
    of_values: Vec<Vec<u32>>,
    name_bits: u32,
    value_bits: u32,
}

impl<'s> Ranks<'s> {
    pub fn new(shards: &'s [Reading<'s>]) -> Ranks<'s> {
        let names = shards.iter().map(|shard| shard.names().collect()).collect();
        let (of_names, names_end) = ranked(shards, names);
        let all = shards.iter().map(|shard| (0..shard.symbols_end()).collect()).collect();
        let (of_values, values_end) = ranked(shards, all);
        let bits = |end: u32| u32::BITS - end.leading_zeros();
        Ranks { shards, of_names, of_values, name_bits: bits(names_end), value_bits: bits(values_end) }
    }

    /// These series by labels. Those that are not registered are left out.
    pub fn sort(&self, series: Vec<Place>) -> Vec<Place> {
        let mut places: Vec<(u128, Place)> = Vec::with_capacity(series.len());
        for place in series {
            places.extend(self.of(place).map(|labels| (self.packed(labels), place)));
        }
        let compare = |(packed, place): &(u128, Place), (other_packed, other): &(u128, Place)| {
            packed.cmp(other_packed).then_with(|| self.compare(*place, *other))
        };
        places.sort_unstable_by(compare);
        assert!(places.is_sorted_by(|a, b| compare(a, b).is_lt()), "a series is registered twice");
        let mut order: Vec<Place> = places.into_iter().map(|(_, place)| place).collect();
        // They are put where what they were sorted by was, too.
        order.shrink_to_fit();
        order
    }

    /// How the labels of two series compare.
    pub fn compare(&self, a: Place, b: Place) -> Ordering {
        self.of(a).into_iter().flatten().cmp(self.of(b).into_iter().flatten())
    }

    /// The labels of a series, if it is registered.
    fn of(&self, place: Place) -> Option<impl Iterator<Item = (u32, u32)> + '_> {
        let shard = place.shard as usize;
        let (names, values) = (&self.of_names[shard], &self.of_values[shard]);
        let labels = self.shards[shard].labels(place.id)?;
        Some(labels.map(|(name, value)| (names[name as usize], values[value as usize])))
    }

    /// As many as there is room for, the first in the highest bits; what ends there is before what goes on.
    fn packed(&self, labels: impl Iterator<Item = (u32, u32)>) -> u128 {
        let (mut packed, mut bits_left) = (0, u128::BITS);
        for (name, value) in labels {
            for (rank, bits) in [(name, self.name_bits), (value, self.value_bits)] {
                if bits_left < bits {
                    return packed;
                }
                bits_left -= bits;
                packed |= u128::from(rank) << bits_left;
            }
        }
        packed
    }
}

/// The ranks of these symbols, and the highest of them.
fn ranked(shards: &[Reading<'_>], symbols: Vec<Vec<u32>>) -> (Vec<Vec<u32>>, u32) {
    let mut texts: Vec<(&str, usize, u32)> = Vec::with_capacity(symbols.iter().map(Vec::len).sum());
    for (shard, symbols) in symbols.into_iter().enumerate() {
        texts.extend(symbols.into_iter().map(|symbol| (shards[shard].text(symbol), shard, symbol)));
    }
    texts.sort_unstable();
    let mut ranks: Vec<Vec<u32>> = shards.iter().map(|shard| vec![0; shard.symbols_end() as usize]).collect();
    let (mut rank, mut last) = (0, None);
    for (text, shard, symbol) in texts {
        rank += u32::from(last != Some(text));
        last = Some(text);
        ranks[shard][symbol as usize] = rank;
    }
    (ranks, rank)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::registry::SharedRegistry;
    use super::*;
    use crate::model::Labels;

    fn any_labels() -> impl Strategy<Value = Labels> {
        // Many names and long lists, so that some are alike in all that is packed.
        prop::collection::btree_map("[a-d]|[e-f]{4}", "[a-c]|b{9}|é|[a-z]{2}", 1..20)
            .prop_map(|pairs| Labels::from_pairs(pairs).expect("a map holds each name once"))
    }

    proptest! {
        #[test]
        fn series_are_ordered_by_their_labels(series in prop::collection::btree_map(any_labels(), 0..3usize, 0..60)) {
            let registries: Vec<SharedRegistry> = (0..3).map(|_| SharedRegistry::default()).collect();
            let mut places = Vec::new();
            // Hash order, so that ids and order have nothing to do with each other.
            let mut shuffled: Vec<_> = series.iter().collect();
            shuffled.sort_by_key(|(labels, _)| labels.fingerprint());
            for (labels, &shard) in shuffled {
                let registered = registries[shard].find_or_insert(labels, labels.fingerprint(), 100);
                places.push(Place { shard: shard as u32, id: registered.unwrap().0 });
            }
            places.push(Place { shard: 0, id: 99 });
            let shards: Vec<Reading<'_>> = registries.iter().map(|registry| registry.reading()).collect();
            let ranks = Ranks::new(&shards);
            let order = ranks.sort(places);
            prop_assert!(order.is_sorted_by(|a, b| compare_labels(&shards, *a, *b).is_lt()));
            prop_assert!(order.is_sorted_by(|a, b| ranks.compare(*a, *b).is_lt()));
            let mut found = Vec::new();
            for place in order {
                registries[place.shard as usize]
                    .with_labels(&[place.id], |_, labels| found.push(Labels::from_sorted(labels)));
            }
            prop_assert_eq!(found, series.into_keys().collect::<Vec<_>>());
        }
    }
}
