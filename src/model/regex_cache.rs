//! The expressions of recent queries, compiled: dashboards ask the same again and again, and to compile one takes as long as to read
//! some thousand samples.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::bounded_regex::BoundedRegex;
use super::re2;
use super::regex::{LabelRegex, RegexError};

/// Larger ones are compiled anew for every query, so that those that are cached stay below 40 MiB, or four times that once each
/// has been stepped through a long text.
const CACHED_BYTES_MAX: usize = 64 << 10;
const MATCHERS_MAX: usize = 512;
const REPLACED_MAX: usize = 128;

#[derive(Debug, Default)]
pub struct RegexCache {
    matchers: Mutex<Generations<LabelRegex, MATCHERS_MAX>>,
    replaced: Mutex<Generations<BoundedRegex, REPLACED_MAX>>,
}

impl RegexCache {
    /// The compiled form of a matcher's pattern, from here or made now.
    pub fn get(&self, pattern: &str) -> Result<Arc<LabelRegex>, RegexError> {
        found_or_made(&self.matchers, pattern, || LabelRegex::new(pattern), LabelRegex::held_bytes)
    }

    /// The same of a pattern that the whole of a value must match so that what its groups match can be put elsewhere.
    pub fn replaced(&self, pattern: &str) -> Result<Arc<BoundedRegex>, RegexError> {
        found_or_made(&self.replaced, pattern, || replaced(pattern), BoundedRegex::compiled_bytes)
    }

    pub fn len(&self) -> usize {
        self.matchers.lock().len() + self.replaced.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What [`RegexCache::replaced`] keeps: anchored; `.` matches newlines.
fn replaced(pattern: &str) -> Result<BoundedRegex, RegexError> {
    BoundedRegex::with_groups(&re2::translate(&format!("^(?s:{pattern})$"))?)
}

/// Two generations of at most half as many each: when the young one is full it becomes the old one, and what was not asked for since
/// is dropped.
#[derive(Debug)]
struct Generations<T, const MAX: usize> {
    young: HashMap<String, Arc<T>>,
    old: HashMap<String, Arc<T>>,
}

impl<T, const MAX: usize> Default for Generations<T, MAX> {
    fn default() -> Generations<T, MAX> {
        Generations { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T, const MAX: usize> Generations<T, MAX> {
    fn find(&mut self, pattern: &str) -> Option<Arc<T>> {
        if let Some(regex) = self.young.get(pattern) {
            return Some(regex.clone());
        }
        let (pattern, regex) = self.old.remove_entry(pattern)?;
        self.insert(pattern, regex.clone());
        Some(regex)
    }

    fn insert(&mut self, pattern: String, regex: Arc<T>) {
        if self.young.len() >= MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pattern, regex);
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// Made outside the lock.
fn found_or_made<T, const MAX: usize>(
    cached: &Mutex<Generations<T, MAX>>,
    pattern: &str,
    make: impl FnOnce() -> Result<T, RegexError>,
    held_bytes: impl FnOnce(&T) -> usize,
) -> Result<Arc<T>, RegexError> {
    if let Some(regex) = cached.lock().find(pattern) {
        return Ok(regex);
    }
    let regex = Arc::new(make()?);
    if held_bytes(&regex).max(pattern.len()) <= CACHED_BYTES_MAX {
        cached.lock().insert(pattern.to_owned(), regex.clone());
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_hands_out_one_regex_and_stays_small() {
        let cache = RegexCache::default();
        let first = cache.get("a.+b").unwrap();
        let replaced = cache.replaced("a(.+)b").unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get("a.+b").unwrap()));
        for i in 0..2 * MATCHERS_MAX {
            cache.get(&format!("a.+{i}")).unwrap();
            cache.get("a.+b").unwrap();
            cache.replaced(&format!("a(.+){i}")).unwrap();
            cache.replaced("a(.+)b").unwrap();
        }
        assert!(cache.len() <= MATCHERS_MAX + REPLACED_MAX);
        assert!(Arc::ptr_eq(&first, &cache.get("a.+b").unwrap()), "what is in use stays");
        assert!(Arc::ptr_eq(&replaced, &cache.replaced("a(.+)b").unwrap()));
    }

    #[test]
    fn what_is_malformed_or_large_is_not_kept() {
        let cache = RegexCache::default();
        assert!(cache.replaced("(").is_err() && cache.get("(").is_err());
        cache.get(&"long|".repeat(CACHED_BYTES_MAX / 4)).unwrap();
        cache.replaced(r"(\pL){10}").unwrap();
        assert!(cache.is_empty());
    }
}
