//! Who has a label, by id: most labels have few series, which came one after the other, and a list of these takes less than a
//! bitmap.

use std::ops::Range;

use roaring::RoaringBitmap;

/// A bitmap's own parts take about as much as so many ids.
const FEW_MAX: usize = 16;

/// Some ids.
pub(super) enum Holders {
    Run(Range<u32>),
    /// In order, and no more than [`FEW_MAX`].
    Few(Vec<u32>),
    /// There are so few of these that what they point at may be one step further away.
    Many(Box<RoaringBitmap>),
}

// There is one for each label.
const _: () = assert!(size_of::<Holders>() == 24);

impl Default for Holders {
    fn default() -> Holders {
        Holders::Run(0..0)
    }
}

impl Holders {
    pub fn insert(&mut self, ids: Range<u32>) {
        match self {
            Holders::Run(run) if run.start == run.end => *run = ids,
            Holders::Run(run) if run.end == ids.start => run.end = ids.end,
            Holders::Run(run) => {
                *self = Holders::listed(run.clone());
                self.insert(ids);
            }
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
                *self = Holders::Many(Box::new(many));
            }
            // Most ids are higher than all before them, which needs no search.
            Holders::Many(many) => {
                if ids.len() > 1 || many.try_push(ids.start).is_err() {
                    many.insert_range(ids);
                }
            }
        }
    }

    /// A run that will not stay one.
    fn listed(run: Range<u32>) -> Holders {
        if run.len() <= FEW_MAX {
            return Holders::Few(run.collect());
        }
        let mut many = RoaringBitmap::new();
        many.insert_range(run);
        Holders::Many(Box::new(many))
    }

    pub fn remove(&mut self, id: u32) {
        match self {
            Holders::Run(run) if !run.contains(&id) => {}
            Holders::Run(run) if run.start == id => run.start += 1,
            Holders::Run(run) if run.end - 1 == id => run.end -= 1,
            Holders::Run(run) => {
                *self = Holders::listed(run.clone());
                self.remove(id);
            }
            Holders::Few(few) => few.retain(|&other| other != id),
            Holders::Many(many) => drop(many.remove(id)),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Holders::Run(run) => run.len() as u64,
            Holders::Few(few) => few.len() as u64,
            Holders::Many(many) => many.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_disjoint(&self, ids: &RoaringBitmap) -> bool {
        match self {
            Holders::Run(run) => ids.range_cardinality(run.clone()) == 0,
            Holders::Few(few) => !few.iter().any(|&id| ids.contains(id)),
            Holders::Many(many) => many.is_disjoint(ids),
        }
    }

    pub fn add_to(&self, ids: &mut RoaringBitmap) {
        match self {
            Holders::Run(run) => drop(ids.insert_range(run.clone())),
            Holders::Few(few) => ids.extend(few),
            Holders::Many(many) if ids.is_empty() => *ids = RoaringBitmap::clone(many),
            Holders::Many(many) => *ids |= &**many,
        }
    }

    /// In order.
    pub fn for_each(&self, each: impl FnMut(u32)) {
        match self {
            Holders::Run(run) => run.clone().for_each(each),
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
