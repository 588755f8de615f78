//! The order of series by their labels, kept from one seal to the next: new ones are put where they belong, and what is let go
//! of is taken out.

use std::cmp::Ordering;

use roaring::RoaringBitmap;

use super::label_order::{Place, Ranks, compare_labels};
use super::registry::Reading;

/// To compare the texts of a new series takes as long as to rank the texts of so many that are known.
const COMPARED_MEANWHILE: usize = if cfg!(test) { 2 } else { 32 };

#[derive(Default)]
pub(super) struct KeptOrder {
    /// 8 bytes a series.
    places: Vec<Place>,
}

/// What became of positions in an order.
pub(super) struct Moved {
    /// By position before.
    gone: RoaringBitmap,
    /// By position after.
    come: RoaringBitmap,
}

impl KeptOrder {
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Takes out the series with these ids, a set for each shard.
    pub fn let_go(&mut self, ids: &[RoaringBitmap]) -> Moved {
        let mut gone = RoaringBitmap::new();
        if ids.iter().any(|ids| !ids.is_empty()) {
            let is_gone = |place: &Place| ids[place.shard as usize].contains(place.id);
            gone.extend((0..).zip(&self.places).filter(|(_, place)| is_gone(place)).map(|(at, _)| at));
            self.places.retain(|place| !is_gone(place));
        }
        Moved { gone, come: RoaringBitmap::new() }
    }

    /// Puts series in that are not in it. All of both must be registered.
    pub fn insert(&mut self, shards: &[Reading<'_>], mut new: Vec<Place>) -> Moved {
        let come = if new.len() * COMPARED_MEANWHILE <= self.places.len() {
            let compare = |a, b| compare_labels(shards, a, b);
            new.sort_unstable_by(|a, b| compare(*a, *b));
            self.merge(new, compare)
        } else {
            let ranks = Ranks::new(shards);
            self.merge(ranks.sort(new), |a, b| ranks.compare(a, b))
        };
        Moved { gone: RoaringBitmap::new(), come }
    }

    /// Puts series in that are in order; says where they are.
    fn merge(&mut self, new: Vec<Place>, compare: impl Fn(Place, Place) -> Ordering) -> RoaringBitmap {
        if self.places.is_empty() {
            self.places = new;
            return (0..self.places.len() as u32).collect();
        }
        let known = std::mem::take(&mut self.places);
        self.places.reserve_exact(known.len() + new.len());
        let (mut come, mut rest) = (RoaringBitmap::new(), &known[..]);
        for place in new {
            let is_before = |other: &Place| compare(*other, place).is_lt();
            let (before, after) = rest.split_at(count_before(rest, is_before));
            self.places.extend_from_slice(before);
            let is_first = self.places.last().is_none_or(|last| compare(*last, place).is_lt());
            let is_new = after.first().is_none_or(|next| compare(place, *next).is_lt());
            assert!(is_first && is_new, "a series is registered twice");
            come.insert(self.places.len() as u32);
            self.places.push(place);
            rest = after;
        }
        self.places.extend_from_slice(rest);
        come
    }
}

/// How many come before a series, of those after the one before it: the first are looked at first.
fn count_before(order: &[Place], is_before: impl Fn(&Place) -> bool) -> usize {
    let (mut count, mut step) = (0, 1);
    while order.get(count + step - 1).is_some_and(&is_before) {
        count += step;
        step *= 2;
    }
    let end = order.len().min(count + step - 1);
    count + order[count..end].partition_point(is_before)
}

impl Moved {
    /// Those that came.
    pub fn come(&self) -> &RoaringBitmap {
        &self.come
    }

    /// Those that went.
    pub fn gone(&self) -> &RoaringBitmap {
        &self.gone
    }

    /// Where these are after it, without those that are gone.
    pub fn follow(&self, positions: &RoaringBitmap) -> RoaringBitmap {
        if self.gone.is_empty() && self.come.is_empty() {
            return positions.clone();
        }
        let (mut gone, mut come) = (self.gone.iter().peekable(), self.come.iter().peekable());
        let (mut gone_count, mut come_count) = (0, 0);
        let after = (positions - &self.gone).into_iter().map(|before| {
            while gone.next_if(|&at| at < before).is_some() {
                gone_count += 1;
            }
            while come.next_if(|&at| at <= before - gone_count + come_count).is_some() {
                come_count += 1;
            }
            before - gone_count + come_count
        });
        RoaringBitmap::from_sorted_iter(after).expect("they stay in order")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::registry::SharedRegistry;
    use super::*;
    use crate::model::Labels;

    proptest! {
        #[test]
        fn an_order_that_is_kept_is_that_of_all_series(
            steps in prop::collection::vec((prop::collection::btree_set(0..60u32, 0..30), any::<bool>()), 1..8),
        ) {
            let registries: Vec<SharedRegistry> = (0..2).map(|_| SharedRegistry::default()).collect();
            let (mut order, mut known) = (KeptOrder::default(), BTreeMap::new());
            let position = |order: &KeptOrder, place| order.places().iter().position(|at| *at == place).unwrap() as u32;
            for (series, comes) in steps {
                // Those that stay in any case.
                let held: Vec<Place> = known.iter().filter(|(n, _)| comes || !series.contains(n)).map(|(_, at)| *at).collect();
                let before: RoaringBitmap = held.iter().map(|place| position(&order, *place)).collect();
                let all_before: RoaringBitmap = (0..order.places().len() as u32).collect();
                let shards_of = |number: u32| number as usize % 2;
                let mut new = Vec::new();
                for number in series {
                    let registry = &registries[shards_of(number)];
                    if comes && !known.contains_key(&number) {
                        let (name, host) = (format!("m{}", number * 7 % 5), format!("h{number}"));
                        let labels = Labels::from_pairs([("__name__", name.as_str()), ("host", &host)]).unwrap();
                        let (id, _) = registry.find_or_insert(&labels, labels.fingerprint(), 100).unwrap();
                        let place = Place { shard: shards_of(number) as u32, id };
                        known.insert(number, place);
                        new.push(place);
                    } else if !comes && let Some(place) = known.remove(&number) {
                        registry.mark_retiring(&[place.id]);
                        registry.release(&registry.retire(&[place.id], |_| true));
                    }
                }
                let (let_go, shards): (Vec<_>, Vec<_>) = registries.iter().map(|registry| registry.take_let_go()).unzip();
                let gone = order.let_go(&let_go);
                let moved = order.insert(&shards, new);
                prop_assert_eq!(order.places().len(), known.len());
                prop_assert!(order.places().is_sorted_by(|a, b| compare_labels(&shards, *a, *b).is_lt()));
                let after: RoaringBitmap = held.iter().map(|place| position(&order, *place)).collect();
                prop_assert_eq!(moved.follow(&gone.follow(&before)), after.clone());
                // Those that go besides are not followed.
                let all_after = moved.follow(&gone.follow(&all_before));
                prop_assert_eq!(if comes { &all_after } else { &after }, &all_after);
                prop_assert_eq!(gone.gone().len(), all_before.len() - all_after.len());
            }
        }
    }
}
