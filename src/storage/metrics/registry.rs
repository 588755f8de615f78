//! The active series of one shard: who they are and which labels they carry.
//!
//! Shared by the shard's thread, the receivers that resolve labels, and queries. Writing an existing series never
//! comes here; a new one takes the lock for a moment. What queries ask is in `registry/select.rs`.

mod select;

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use roaring::RoaringBitmap;

use super::holders::Holders;
use super::packed_labels::{LabelStore, PackedLabels};
use super::postings::Postings;
use super::symbols::Symbols;
use crate::codec::varint::write_u64;
use crate::model::Labels;

/// Who looks at the registry meanwhile, or registers series, waits for so many at most, about a millisecond.
const REMOVED_AT_ONCE: usize = 1024;

#[derive(Default)]
pub(in crate::storage) struct Registry(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    symbols: Symbols,
    /// Labels of the series that is being registered.
    packed: Vec<u8>,
    labels: LabelStore,
    /// By id.
    fingerprints: Vec<u128>,
    free_ids: Vec<u32>,
    identity: HashTable<u32>,
    postings: Postings,
    all: RoaringBitmap,
    /// Those that were removed and that nobody was told of by [`Registry::take_let_go`].
    let_go: RoaringBitmap,
    /// Chosen for removal, and not used since.
    retiring: RoaringBitmap,
}

/// A registry, locked for a while against new series.
pub(in crate::storage) struct Reading<'a>(RwLockReadGuard<'a, Inner>);

impl Registry {
    /// The id of a series that is known. A series about to be retired is kept by being asked for.
    pub fn find(&self, labels: &Labels, fingerprint: u128) -> Option<u32> {
        let inner = self.0.read();
        let id = inner.find(labels, fingerprint)?;
        if inner.retiring.contains(id) {
            drop(inner);
            let mut inner = self.0.write();
            // It may have gone while the lock was open.
            let id = inner.find(labels, fingerprint)?;
            inner.retiring.remove(id);
            return Some(id);
        }
        Some(id)
    }

    /// The id of a series, registered now if it is new (then `true`); `None` if it would be `ids_max` or higher, or if there is
    /// no room for its labels: beyond 4 GiB of those of all.
    pub fn find_or_insert<'l>(
        &self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)> + Clone,
        fingerprint: u128,
        ids_max: usize,
    ) -> Option<(u32, bool)> {
        let mut inner = self.0.write();
        if let Some(id) = inner.find(labels.clone(), fingerprint) {
            inner.retiring.remove(id);
            return Some((id, false));
        }
        if inner.free_ids.is_empty() && inner.fingerprints.len() >= ids_max || inner.labels.is_full() {
            return None;
        }
        Some((inner.insert(labels, fingerprint), true))
    }

    /// All ids that were ever given out are below this.
    pub fn ids_end(&self) -> usize {
        self.0.read().fingerprints.len()
    }

    pub fn len(&self) -> usize {
        self.0.read().all.len() as usize
    }

    /// All ids in use.
    pub fn ids(&self) -> RoaringBitmap {
        self.0.read().all.clone()
    }

    /// Ids of the series that were removed since this was asked for last, which seals alone do: if in use, they are those of
    /// others. As long as the registry that comes with them is held, no more go.
    pub(super) fn take_let_go(&self) -> (RoaringBitmap, Reading<'_>) {
        let inner = self.0.read();
        if inner.let_go.is_empty() {
            return (RoaringBitmap::new(), Reading(inner));
        }
        drop(inner);
        let mut inner = self.0.write();
        let let_go = std::mem::take(&mut inner.let_go);
        (let_go, Reading(RwLockWriteGuard::downgrade(inner)))
    }

    /// Calls `visit` with the labels of each id, name by name; ids unknown here are skipped.
    pub fn with_labels(
        &self,
        ids: &[u32],
        mut visit: impl for<'a> FnMut(u32, &mut dyn Iterator<Item = (&'a str, &'a str)>),
    ) {
        let inner = self.0.read();
        for &id in ids {
            if let Some(labels) = inner.labels.get(id) {
                visit(id, &mut inner.pairs(labels));
            }
        }
    }

    /// Asks for no postings, and so waits for no writer that would settle them.
    pub(super) fn reading(&self) -> Reading<'_> {
        Reading(self.0.read())
    }

    /// Holds it as who registers series does.
    #[cfg(test)]
    pub(super) fn held_by_a_writer(&self) -> impl Drop + '_ {
        self.0.write()
    }

    /// From here on the postings have all series that are registered now, as long as these stay.
    pub(super) fn settle(&self) {
        drop(self.settled());
    }

    /// For who looks at the postings.
    fn settled(&self) -> RwLockReadGuard<'_, Inner> {
        let inner = self.0.read();
        if inner.postings.are_settled() {
            return inner;
        }
        drop(inner);
        let mut inner = self.0.write();
        inner.postings.settle();
        RwLockWriteGuard::downgrade(inner)
    }

    /// Marks series as about to go. Whoever finds one of them from now on keeps it.
    pub fn mark_retiring(&self, ids: &[u32]) {
        self.0.write().retiring.extend(ids);
    }

    /// Removes those of `ids` that are still marked and that `unused` agrees about; returns them. Their ids are
    /// not given out again before [`Registry::release`].
    pub fn retire(&self, ids: &[u32], unused: impl Fn(u32) -> bool) -> Vec<u32> {
        let (mut inner, mut gone) = (self.0.write(), Vec::new());
        for ids in ids.chunks(REMOVED_AT_ONCE) {
            for &id in ids {
                if inner.retiring.remove(id) && unused(id) {
                    inner.remove(id);
                    gone.push(id);
                }
            }
            RwLockWriteGuard::bump(&mut inner);
        }
        gone
    }

    /// Lets ids be used for other series: nothing that is still readable may refer to them.
    pub fn release(&self, ids: &[u32]) {
        self.0.write().free_ids.extend(ids);
    }
}

impl Reading<'_> {
    /// The symbols of the labels of a series, in order.
    pub fn labels(&self, id: u32) -> Option<impl Iterator<Item = (u32, u32)> + '_> {
        self.packed_labels(id).map(PackedLabels::iter)
    }

    pub fn packed_labels(&self, id: u32) -> Option<PackedLabels<'_>> {
        self.0.labels.get(id)
    }

    /// The symbols of all label names; some come more than once.
    pub fn names(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.postings.names()
    }

    /// The symbol of a name, those of its values, and who has them, but for series that were registered after
    /// [`Registry::settle`].
    pub fn values(&self, name: &str) -> Option<(u32, impl Iterator<Item = (u32, &Holders)> + '_)> {
        let name = self.0.symbols.find(name)?;
        let values = self.0.postings.values(name)?;
        Some((name, values.iter().map(|(&value, holders)| (value, holders))))
    }

    pub fn text(&self, symbol: u32) -> &str {
        self.0.symbols.text(symbol)
    }

    /// All symbols are below this.
    pub fn symbols_end(&self) -> u32 {
        self.0.symbols.end()
    }
}

impl Inner {
    fn pairs<'a>(&'a self, labels: PackedLabels<'a>) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        labels.iter().map(|(name, value)| (self.symbols.text(name), self.symbols.text(value)))
    }

    fn find<'l>(
        &self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)> + Clone,
        fingerprint: u128,
    ) -> Option<u32> {
        let has_labels = |found| {
            let mut wanted = labels.clone().into_iter();
            self.pairs(found).all(|label| wanted.next() == Some(label)) && wanted.next().is_none()
        };
        let same = |&id: &u32| {
            self.fingerprints[id as usize] == fingerprint && self.labels.get(id).is_some_and(has_labels)
        };
        self.identity.find(fingerprint as u64, same).copied()
    }

    fn insert<'l>(&mut self, labels: impl IntoIterator<Item = (&'l str, &'l str)>, fingerprint: u128) -> u32 {
        let id = self.free_ids.pop().unwrap_or(self.fingerprints.len() as u32);
        self.packed.clear();
        for (at, (name, value)) in labels.into_iter().enumerate() {
            self.postings.add(at, id, |before| {
                let name = self.symbols.acquire_guessed(name, before.0);
                let value = self.symbols.acquire_guessed(value, before.1);
                write_u64(&mut self.packed, name.into());
                write_u64(&mut self.packed, value.into());
                (name, value)
            });
        }
        self.labels.insert(id, &self.packed);
        if id as usize == self.fingerprints.len() {
            self.fingerprints.push(fingerprint);
        } else {
            self.fingerprints[id as usize] = fingerprint;
        }
        if self.all.try_push(id).is_err() {
            self.all.insert(id);
        }
        let fingerprints = &self.fingerprints;
        let hash_of = |id: &u32| fingerprints[*id as usize] as u64;
        self.identity.insert_unique(fingerprint as u64, id, hash_of);
        id
    }

    fn remove(&mut self, id: u32) {
        let Some(labels) = self.labels.get(id) else { return };
        if let Ok(found) =
            self.identity.find_entry(self.fingerprints[id as usize] as u64, |&other| other == id)
        {
            found.remove();
        }
        for (name, value) in labels.iter() {
            self.postings.remove((name, value), id);
            self.symbols.release(name);
            self.symbols.release(value);
        }
        self.labels.remove(id);
        self.all.remove(id);
        self.let_go.insert(id);
    }
}

/// Shared by readers and writers of a shard.
pub(in crate::storage) type SharedRegistry = Arc<Registry>;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use crossbeam::channel::bounded;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Lookout, MatchOp, Matcher, StopSign};

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(',').map(|pair| pair.split_once('=').unwrap())).unwrap()
    }

    pub(super) fn insert(registry: &Registry, text: &str) -> u32 {
        let labels = labels(text);
        registry.find_or_insert(&labels, labels.fingerprint(), 100).unwrap().0
    }

    pub(super) fn select(registry: &Registry, matchers: &[(&str, MatchOp, &str)]) -> Vec<String> {
        let matchers: Vec<_> = matchers.iter().map(|(n, op, v)| Matcher::new(*n, *op, *v).unwrap()).collect();
        let mut found = Vec::new();
        registry.select(&matchers, &Lookout::new(&StopSign::never()), |_, fingerprint, labels| {
            assert_eq!(labels().fingerprint(), fingerprint);
            found.push(labels().to_string());
        });
        found
    }

    #[test]
    fn one_label_set_is_one_series() {
        let registry = Registry::default();
        let a = insert(&registry, "__name__=up,job=a");
        assert_eq!(insert(&registry, "job=a,__name__=up"), a);
        assert_ne!(insert(&registry, "job=b,__name__=up"), a);
        assert_eq!(registry.len(), 2);
    }

    proptest! {
        #[test]
        fn series_are_found_by_each_of_their_labels_however_they_came_and_went(
            steps in prop::collection::vec((any::<bool>(), prop::collection::btree_map("[a-c]", "[x-z]", 1..4)), 1..40),
        ) {
            let registry = Registry::default();
            let mut known = BTreeMap::new();
            for (comes, pairs) in steps {
                let labels = Labels::from_pairs(&pairs).unwrap();
                if comes {
                    known.insert(labels.to_string(), registry.find_or_insert(&labels, labels.fingerprint(), 100).unwrap().0);
                } else if let Some(id) = known.remove(&labels.to_string()) {
                    registry.mark_retiring(&[id]);
                    prop_assert_eq!(registry.retire(&[id], |_| true), [id]);
                    registry.release(&[id]);
                } else {
                    // What was looked at between two that came.
                    let (name, value) = pairs.iter().next().unwrap();
                    let holders: Vec<String> = select(&registry, &[(name, MatchOp::Equal, value)]);
                    let has = |labels: &&String| labels.contains(&format!("{name}={value:?}"));
                    prop_assert_eq!(BTreeSet::from_iter(&holders), known.keys().filter(has).collect::<BTreeSet<_>>());
                }
            }
            let all: Vec<u32> = registry.ids().into_iter().collect();
            prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), known.into_values().collect::<BTreeSet<_>>());
        }
    }

    /// How many series who comes to look while all of them go finds left, if he gets to the lock within this time.
    fn seen_while_all_go(count: usize, wait: Duration) -> usize {
        let registry = Registry::default();
        for number in 0..count {
            let labels = labels(&format!("a={number}"));
            registry.find_or_insert(&labels, labels.fingerprint(), count).unwrap();
        }
        let ids: Vec<u32> = registry.ids().into_iter().collect();
        registry.mark_retiring(&ids);
        let (begin, begun) = bounded(1);
        let seen = std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                begun.recv().unwrap();
                registry.len()
            });
            let wait_once = |id| {
                if id == ids[0] {
                    begin.send(()).unwrap();
                    std::thread::sleep(wait);
                }
                true
            };
            assert_eq!(registry.retire(&ids, wait_once), ids);
            seen.join().unwrap()
        });
        assert_eq!(registry.len(), 0);
        seen
    }

    #[test]
    fn who_looks_while_many_series_go_need_not_wait_for_all_of_them() {
        let count = 4 * REMOVED_AT_ONCE;
        // On a busy machine it takes long until he gets there: 1 ms, 2 ms, up to 8 s.
        let mut waits = (0..14).map(|doubled| Duration::from_millis(1 << doubled));
        assert!(waits.any(|wait| (1..count).contains(&seen_while_all_go(count, wait))));
    }

    #[test]
    fn a_retired_series_leaves_nothing_behind_unless_it_was_asked_for_meanwhile() {
        let registry = Registry::default();
        let (gone, kept) = (insert(&registry, "a=1"), insert(&registry, "a=2"));
        registry.mark_retiring(&[gone, kept]);
        let again = labels("a=2");
        assert_eq!(registry.find(&again, again.fingerprint()), Some(kept));
        assert_eq!(registry.retire(&[gone, kept], |_| true), [gone]);
        assert_eq!(select(&registry, &[]), [r#"{a="2"}"#]);
        assert_ne!(insert(&registry, "a=3"), gone, "an id is not given out again before it is released");
        registry.release(&[gone]);
        assert_eq!(insert(&registry, "a=4"), gone);
    }
}
