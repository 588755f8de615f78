//! Who has a label, by id: most labels have few series, and a list of these takes less than a bitmap.

use std::ops::Range;

use roaring::RoaringBitmap;

/// A bitmap's own parts take about as much as so many ids.
const FEW_MAX: usize = 16;

/// Some ids.
pub(super) enum Holders {
    /// In order, and no more than [`FEW_MAX`].
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

impl Default for Holders {
    fn default() -> Holders {
        Holders::Few(Vec::new())
    }
}

impl Holders {
    pub fn insert(&mut self, ids: Range<u32>) {
        match self {
            Holders::Few(few) if few.len() + ids.len() <= FEW_MAX => {
                let is_above_all = few.last().is_none_or(|&last| last < ids.start);
                few.reserve_exact(ids.len());
                few.extend(ids);
                if !is_above_all {
                    few.sort_unstable();
                    few.dedup();
                }
            }
            Holders::Few(few) => {
                let mut many =
                    RoaringBitmap::from_sorted_iter(few.iter().copied()).expect("they are in order");
                many.insert_range(ids);
                *self = Holders::Many(many);
            }
            // Most ids are higher than all before them, which needs no search.
            Holders::Many(many) => {
                if ids.len() > 1 || many.try_push(ids.start).is_err() {
                    many.insert_range(ids);
                }
            }
        }
    }

    pub fn remove(&mut self, id: u32) {
        match self {
            Holders::Few(few) => few.retain(|&other| other != id),
            Holders::Many(many) => drop(many.remove(id)),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Holders::Few(few) => few.len() as u64,
            Holders::Many(many) => many.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_disjoint(&self, ids: &RoaringBitmap) -> bool {
        match self {
            Holders::Few(few) => !few.iter().any(|&id| ids.contains(id)),
            Holders::Many(many) => many.is_disjoint(ids),
        }
    }

    pub fn add_to(&self, ids: &mut RoaringBitmap) {
        match self {
            Holders::Few(few) => ids.extend(few),
            Holders::Many(many) if ids.is_empty() => *ids = many.clone(),
            Holders::Many(many) => *ids |= many,
        }
    }

    /// In order.
    pub fn for_each(&self, each: impl FnMut(u32)) {
        match self {
            Holders::Few(few) => few.iter().copied().for_each(each),
            Holders::Many(many) => many.iter().for_each(each),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_or_many_they_are_a_set(
            steps in prop::collection::vec((any::<bool>(), 0..100u32, 1..12u32), 0..20),
            other in prop::collection::btree_set(0..110u32, 0..20),
        ) {
            let (mut holders, mut plain) = (Holders::default(), BTreeSet::new());
            for (comes, first, count) in steps {
                if comes {
                    holders.insert(first..first + count);
                    plain.extend(first..first + count);
                } else {
                    holders.remove(first);
                    plain.remove(&first);
                }
                prop_assert_eq!((holders.len(), holders.is_empty()), (plain.len() as u64, plain.is_empty()));
            }
            let mut listed = Vec::new();
            holders.for_each(|id| listed.push(id));
            prop_assert_eq!(&listed, &plain.iter().copied().collect::<Vec<_>>());
            let mut ids: RoaringBitmap = other.iter().copied().collect();
            prop_assert_eq!(holders.is_disjoint(&ids), plain.is_disjoint(&other));
            holders.add_to(&mut ids);
            prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>(), &plain | &other);
        }
    }
}
