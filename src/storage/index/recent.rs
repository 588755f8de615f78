//! The series that lists of values were found to let through last. A dashboard asks for the same hosts of one metric after the
//! other, and again a moment later.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use roaring::RoaringBitmap;

use crate::model::Matcher;

/// Of so many matchers, those asked for last. Series of so few: 16 KiB a segment at most, if these are far apart.
const LISTS_MAX: usize = 2;
const SERIES_MAX: u64 = 2_048;
/// A longer text is not worth keeping.
const TEXT_MAX: usize = 1 << 10;

#[derive(Default)]
pub struct RecentLists(Mutex<VecDeque<Recent>>);

/// A matcher as it was written, for it may hold much more when it is compiled.
struct Recent {
    name: u32,
    value: Box<str>,
    series: Arc<RoaringBitmap>,
}

impl RecentLists {
    /// What `=~` with a list was found to let through, if that is still known. `name` is the number of its name.
    pub fn get(&self, name: u32, matcher: &Matcher) -> Option<Arc<RoaringBitmap>> {
        let mut lists = self.0.lock();
        let is_same = |list: &Recent| list.name == name && *list.value == *matcher.value;
        let found = lists.iter().position(is_same)?;
        lists.swap(0, found);
        Some(lists[0].series.clone())
    }

    /// Keeps what was found, in place of what was asked for before all others.
    pub fn keep(&self, name: u32, matcher: &Matcher, series: &Arc<RoaringBitmap>) {
        if series.len() > SERIES_MAX || matcher.value.len() > TEXT_MAX {
            return;
        }
        let recent = Recent { name, value: matcher.value.as_str().into(), series: series.clone() };
        let mut lists = self.0.lock();
        // Two may have looked for the same.
        lists.retain(|list| list.name != name || list.value != recent.value);
        lists.truncate(LISTS_MAX - 1);
        lists.push_front(recent);
    }
}
