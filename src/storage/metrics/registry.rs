//! The active series of one shard: who they are and which labels they carry.
//!
//! Shared by the shard's thread, the receivers that resolve labels, and queries. Writing an existing series never
//! comes here; a new one takes the lock for a moment.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard};
use roaring::RoaringBitmap;

use super::symbols::Symbols;
use crate::codec::varint::{read_u64, write_u64};
use crate::model::{Labels, Lookout, MatchOp, Matcher};

#[derive(Default)]
pub(in crate::storage) struct Registry(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    symbols: Symbols,
    /// The labels of the series that was registered last, by their places: the next one is often like it.
    inserted_last: Vec<(u32, u32)>,
    entries: Vec<Option<Entry>>,
    free_ids: Vec<u32>,
    identity: HashTable<u32>,
    /// Label name → value → series that carry it.
    postings:
        HashMap<u32, HashMap<u32, RoaringBitmap, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    all: RoaringBitmap,
    /// How many were removed.
    let_go_count: u64,
    /// Chosen for removal, and not used since.
    retiring: RoaringBitmap,
}

struct Entry {
    fingerprint: u128,
    labels: PackedLabels,
}

/// Symbols of names and values, in the order of the names, as variable-length integers: a few bytes a label.
pub(super) struct PackedLabels(Box<[u8]>);

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

    /// The id of a series, registered now if it is new (then `true`); `None` if it would be `ids_max` or higher.
    pub fn find_or_insert(&self, labels: &Labels, fingerprint: u128, ids_max: usize) -> Option<(u32, bool)> {
        let mut inner = self.0.write();
        if let Some(id) = inner.find(labels, fingerprint) {
            inner.retiring.remove(id);
            return Some((id, false));
        }
        if inner.free_ids.is_empty() && inner.entries.len() >= ids_max {
            return None;
        }
        Some((inner.insert(labels, fingerprint), true))
    }

    /// All ids that were ever given out are below this.
    pub fn ids_end(&self) -> usize {
        self.0.read().entries.len()
    }

    pub fn len(&self) -> usize {
        self.0.read().all.len() as usize
    }

    /// All ids in use.
    pub fn ids(&self) -> RoaringBitmap {
        self.0.read().all.clone()
    }

    /// How many series were ever removed: none of them as long as this stays, so that ids mean what they meant.
    pub fn let_go_count(&self) -> u64 {
        self.0.read().let_go_count
    }

    /// Calls `visit` with the labels of each id, name by name; ids unknown here are skipped.
    pub fn with_labels(
        &self,
        ids: &[u32],
        mut visit: impl for<'a> FnMut(u32, &mut dyn Iterator<Item = (&'a str, &'a str)>),
    ) {
        let inner = self.0.read();
        for &id in ids {
            if let Some(entry) = inner.entry(id) {
                visit(id, &mut inner.pairs(entry));
            }
        }
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        Reading(self.0.read())
    }

    /// The series that all matchers let through, with their fingerprints and labels.
    pub fn select(
        &self,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
        mut visit: impl FnMut(u32, u128, &dyn Fn() -> Labels),
    ) {
        let inner = self.0.read();
        for id in inner.select(matchers, lookout) {
            if lookout.gives_up_before(0) {
                return;
            }
            if let Some(entry) = inner.entry(id) {
                visit(id, entry.fingerprint, &|| Labels::from_sorted(inner.pairs(entry)));
            }
        }
    }

    /// The label names on series that match.
    pub fn label_names(&self, matchers: &[Matcher], lookout: &Lookout<'_>, mut visit: impl FnMut(&str)) {
        let inner = self.0.read();
        if matchers.is_empty() {
            return inner.postings.keys().for_each(|&name| visit(inner.symbols.text(name)));
        }
        let mut names = RoaringBitmap::new();
        for id in inner.select(matchers, lookout) {
            if lookout.gives_up_before(0) {
                return;
            }
            let labels = inner.entry(id).into_iter().flat_map(|entry| entry.labels.iter());
            names.extend(labels.map(|(name, _)| name));
        }
        names.iter().for_each(|name| visit(inner.symbols.text(name)));
    }

    /// The values of one label on series that match.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
        mut visit: impl FnMut(&str),
    ) {
        let inner = self.0.read();
        let Some(values) = inner.values(name) else { return };
        let selected = (!matchers.is_empty()).then(|| inner.select(matchers, lookout));
        for (&value, postings) in values {
            if lookout.gives_up_before(0) {
                return;
            }
            if selected.as_ref().is_none_or(|s| !s.is_disjoint(postings)) {
                visit(inner.symbols.text(value));
            }
        }
    }

    /// How many series carry each value of a label, and how many values each label has; for the status page.
    pub fn label_statistics(&self, mut visit: impl FnMut(&str, &str, u64)) {
        let inner = self.0.read();
        for (&name, values) in &inner.postings {
            for (&value, postings) in values {
                visit(inner.symbols.text(name), inner.symbols.text(value), postings.len());
            }
        }
    }

    /// Marks series as about to go. Whoever finds one of them from now on keeps it.
    pub fn mark_retiring(&self, ids: &[u32]) {
        self.0.write().retiring.extend(ids);
    }

    /// Removes those of `ids` that are still marked and that `unused` agrees about; returns them. Their ids are
    /// not given out again before [`Registry::release`].
    pub fn retire(&self, ids: &[u32], unused: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut inner = self.0.write();
        let gone: Vec<u32> =
            ids.iter().copied().filter(|&id| inner.retiring.remove(id) && unused(id)).collect();
        gone.iter().for_each(|&id| inner.remove(id));
        gone
    }

    /// Lets ids be used for other series: nothing that is still readable may refer to them.
    pub fn release(&self, ids: &[u32]) {
        self.0.write().free_ids.extend(ids);
    }
}

impl PackedLabels {
    /// Has memory bring them, for who will look at them soon.
    pub fn fetch(&self) -> u8 {
        let ends = [self.0.first(), self.0.last()];
        ends.into_iter().flatten().fold(0, |sum, end| sum ^ end)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut packed = &*self.0;
        let mut next = move || read_u64(&mut packed).ok().map(|symbol| symbol as u32);
        std::iter::from_fn(move || Some((next()?, next()?)))
    }
}

impl Reading<'_> {
    /// The symbols of the labels of a series, in order.
    pub fn labels(&self, id: u32) -> Option<impl Iterator<Item = (u32, u32)> + '_> {
        self.packed_labels(id).map(PackedLabels::iter)
    }

    pub fn packed_labels(&self, id: u32) -> Option<&PackedLabels> {
        self.0.entry(id).map(|entry| &entry.labels)
    }

    /// The symbols of all label names.
    pub fn names(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.postings.keys().copied()
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
    fn entry(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize)?.as_ref()
    }

    fn pairs<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        entry.labels.iter().map(|(name, value)| (self.symbols.text(name), self.symbols.text(value)))
    }

    fn find(&self, labels: &Labels, fingerprint: u128) -> Option<u32> {
        let same = |&id: &u32| {
            self.entry(id).is_some_and(|e| e.fingerprint == fingerprint && self.pairs(e).eq(labels.iter()))
        };
        self.identity.find(fingerprint as u64, same).copied()
    }

    fn insert(&mut self, labels: &Labels, fingerprint: u128) -> u32 {
        let id = self.free_ids.pop().unwrap_or(self.entries.len() as u32);
        let mut pairs = Vec::with_capacity(4 * labels.len());
        for (at, (name, value)) in labels.iter().enumerate() {
            if at == self.inserted_last.len() {
                self.inserted_last.push((u32::MAX, u32::MAX));
            }
            let last = &mut self.inserted_last[at];
            let pair =
                (self.symbols.acquire_guessed(name, last.0), self.symbols.acquire_guessed(value, last.1));
            *last = pair;
            let postings = self.postings.entry(pair.0).or_default().entry(pair.1).or_default();
            // Most ids are higher than all before them, which needs no search.
            if postings.try_push(id).is_err() {
                postings.insert(id);
            }
            write_u64(&mut pairs, pair.0.into());
            write_u64(&mut pairs, pair.1.into());
        }
        let entry = Some(Entry { fingerprint, labels: PackedLabels(pairs.into()) });
        if id as usize == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[id as usize] = entry;
        }
        self.all.insert(id);
        let entries = &self.entries;
        let hash_of = |id: &u32| entries[*id as usize].as_ref().map_or(0, |e| e.fingerprint as u64);
        self.identity.insert_unique(fingerprint as u64, id, hash_of);
        id
    }

    fn remove(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::take) else { return };
        if let Ok(found) = self.identity.find_entry(entry.fingerprint as u64, |&other| other == id) {
            found.remove();
        }
        for (name, value) in entry.labels.iter() {
            if let Some(values) = self.postings.get_mut(&name) {
                if let Some(postings) = values.get_mut(&value) {
                    postings.remove(id);
                    if postings.is_empty() {
                        values.remove(&value);
                    }
                }
                if values.is_empty() {
                    self.postings.remove(&name);
                }
            }
            self.symbols.release(name);
            self.symbols.release(value);
        }
        self.all.remove(id);
        self.let_go_count += 1;
    }

    fn values(&self, name: &str) -> Option<&HashMap<u32, RoaringBitmap, foldhash::fast::RandomState>> {
        self.postings.get(&self.symbols.find(name)?)
    }

    fn select(&self, matchers: &[Matcher], lookout: &Lookout<'_>) -> RoaringBitmap {
        // What demands a label narrows the set; it goes first, equalities before regexes.
        let (mut narrowing, excluding): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
        narrowing.sort_by_key(|m| m.op != MatchOp::Equal);
        let mut selected: Option<RoaringBitmap> = None;
        for matcher in narrowing {
            let matched = self.holders(matcher, lookout);
            selected = Some(match selected {
                None => matched,
                Some(before) => before & matched,
            });
            if selected.as_ref().is_some_and(RoaringBitmap::is_empty) {
                return RoaringBitmap::new();
            }
        }
        let mut selected = selected.unwrap_or_else(|| self.all.clone());
        for matcher in excluding {
            selected -= self.holders(&matcher.inverse(), lookout);
        }
        selected
    }

    /// The series that have the matcher's label with a value that it lets through.
    fn holders(&self, matcher: &Matcher, lookout: &Lookout<'_>) -> RoaringBitmap {
        let Some(values) = self.values(&matcher.name) else { return RoaringBitmap::new() };
        if let Some(listed) = matcher.literal_values() {
            let symbols = listed.iter().filter_map(|value| self.symbols.find(value));
            let mut lists = symbols.filter_map(|symbol| values.get(&symbol));
            let first = lists.next().cloned().unwrap_or_default();
            return lists.fold(first, |matched, list| matched | list);
        }
        let mut matched = RoaringBitmap::new();
        for (&value, postings) in values {
            let text = self.symbols.text(value);
            if lookout.gives_up_before(text.len()) {
                break;
            }
            if matcher.matches_within(text, lookout) {
                matched |= postings;
            }
        }
        matched
    }
}

/// Shared by readers and writers of a shard.
pub(in crate::storage) type SharedRegistry = Arc<Registry>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StopSign;

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(',').map(|pair| pair.split_once('=').unwrap())).unwrap()
    }

    fn insert(registry: &Registry, text: &str) -> u32 {
        let labels = labels(text);
        registry.find_or_insert(&labels, labels.fingerprint(), 100).unwrap().0
    }

    fn select(registry: &Registry, matchers: &[(&str, MatchOp, &str)]) -> Vec<String> {
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

    #[test]
    fn a_label_that_is_absent_has_the_value_nothing() {
        use MatchOp::*;
        let registry = Registry::default();
        for series in ["__name__=up,job=a", "__name__=up,job=b,env=dev", "__name__=down"] {
            insert(&registry, series);
        }
        assert_eq!(select(&registry, &[("job", NotEqual, "a")]), [r#"up{env="dev", job="b"}"#, "down"]);
        assert_eq!(select(&registry, &[("env", Equal, "")]), [r#"up{job="a"}"#, "down"]);
        assert_eq!(select(&registry, &[("env", NotEqual, "")]), [r#"up{env="dev", job="b"}"#]);
        assert_eq!(
            select(&registry, &[("__name__", Equal, "up"), ("job", NotEqual, "b")]),
            [r#"up{job="a"}"#]
        );
        assert!(select(&registry, &[("job", Equal, "zzz")]).is_empty());
        assert_eq!(select(&registry, &[("job", Regex, "c|b|zzz|dev")]), [r#"up{env="dev", job="b"}"#]);
        assert_eq!(select(&registry, &[("job", Regex, "a|b")]).len(), 2);
        assert_eq!(select(&registry, &[("job", NotRegex, "a|b|up")]), ["down"]);
        assert_eq!(select(&registry, &[("job", NotRegex, "b|")]), [r#"up{job="a"}"#]);
        assert_eq!(select(&registry, &[("job", Regex, "b|")]), [r#"up{env="dev", job="b"}"#, "down"]);
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
