//! What was used last, as much of it as fits into a number of bytes. Nothing is allocated before something is kept.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// Invariant: each kept value stands in both maps, and `bytes` is the sum of theirs, never above `bytes_max`.
pub struct Lru<K, V> {
    values: HashMap<Arc<K>, Kept<V>>,
    /// By when they were used, the oldest first.
    uses: BTreeMap<u64, Arc<K>>,
    uses_so_far: u64,
    bytes: u64,
    bytes_max: u64,
}

struct Kept<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K: Hash + Eq, V: Clone> Lru<K, V> {
    pub fn new(bytes_max: u64) -> Lru<K, V> {
        Lru { values: HashMap::new(), uses: BTreeMap::new(), uses_so_far: 0, bytes: 0, bytes_max }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The value, which counts as used now.
    pub fn get(&mut self, key: &K) -> Option<V> {
        let kept = self.values.get_mut(key)?;
        let key = self.uses.remove(&kept.used).expect("what is kept was used");
        self.uses_so_far += 1;
        kept.used = self.uses_so_far;
        self.uses.insert(kept.used, key);
        Some(kept.value.clone())
    }

    /// Keeps a value that takes so many bytes in place of the one it had, and lets go of the longest unused ones. What
    /// fits nowhere is not kept. Answers with how many had to go.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) -> u64 {
        self.remove(&key);
        if bytes > self.bytes_max {
            return 0;
        }
        let mut gone = 0;
        while self.bytes + bytes > self.bytes_max {
            let (_, oldest) = self.uses.first_key_value().expect("what takes room is kept");
            self.remove(&oldest.clone());
            gone += 1;
        }
        let key = Arc::new(key);
        self.uses_so_far += 1;
        self.uses.insert(self.uses_so_far, key.clone());
        self.values.insert(key, Kept { value, bytes, used: self.uses_so_far });
        self.bytes += bytes;
        gone
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.values.remove(key) {
            self.uses.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let mut lru = Lru::new(10);
        for (key, bytes) in [("a", 4), ("b", 4), ("c", 2)] {
            assert_eq!(lru.insert(key, key, bytes), 0);
        }
        assert_eq!(lru.get(&"a"), Some("a"));
        assert_eq!(lru.insert("d", "d", 3), 1);
        assert_eq!(["a", "b", "c", "d"].map(|key| lru.get(&key)), [Some("a"), None, Some("c"), Some("d")]);
        assert_eq!(lru.bytes(), 9);
    }

    #[test]
    fn what_does_not_fit_at_all_takes_the_place_of_nothing_but_its_own() {
        let mut lru = Lru::new(10);
        lru.insert("a", 1, 5);
        lru.insert("b", 1, 5);
        assert_eq!(lru.insert("b", 2, 11), 0);
        assert_eq!((lru.get(&"a"), lru.get(&"b"), lru.bytes()), (Some(1), None, 5));
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_what_is_kept(ops in prop::collection::vec((0..8u8, 0..40u64, any::<bool>()), 0..200)) {
            let mut lru = Lru::new(100);
            for (key, bytes, is_insert) in ops {
                match is_insert {
                    true => drop(lru.insert(key, key, bytes)),
                    false => prop_assert!(lru.get(&key).is_none_or(|value| value == key)),
                }
                prop_assert_eq!(lru.bytes, lru.values.values().map(|kept| kept.bytes).sum::<u64>());
                prop_assert!(lru.bytes <= 100);
                prop_assert_eq!(lru.uses.len(), lru.values.len());
                prop_assert!(lru.uses.iter().all(|(used, key)| lru.values[key].used == *used));
            }
        }
    }
}
