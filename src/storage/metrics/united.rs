//! Sorted lists of texts, each text once, as one such list. Mostly there is one, or each has what all the others have.

use std::cmp::Ordering;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::model::Lookout;

/// What is in any of the lists; a part of it, if the reader has had enough.
pub fn united(lists: impl IntoIterator<Item = Vec<String>>, lookout: &Lookout<'_>) -> Vec<String> {
    // Each more than twice as long as the next, so that a long one is not gone through for every short one.
    let mut longer: Vec<Vec<String>> = Vec::new();
    for mut list in lists {
        while let Some(last) = longer.pop_if(|last| last.len() <= 2 * list.len()) {
            list = union(last, list, lookout);
        }
        longer.push(list);
    }
    longer.into_iter().rev().reduce(|shorter, list| union(list, shorter, lookout)).unwrap_or_default()
}

/// The texts of a sorted list, for who looks many up.
pub enum Known<'a> {
    Sorted(&'a [String]),
    Hashed(HashSet<&'a str, RandomState>),
}

/// To hash so many costs about as much as to search a million sorted ones once.
const HASHED_PER_LOOK_UP: usize = 16;

impl Known<'_> {
    /// Of the list only a part may be known where the reader has had enough.
    pub fn of<'a>(list: &'a [String], look_ups: usize, lookout: &Lookout<'_>) -> Known<'a> {
        if look_ups <= list.len() / HASHED_PER_LOOK_UP {
            return Known::Sorted(list);
        }
        let mut hashed = HashSet::with_capacity_and_hasher(list.len(), RandomState::default());
        let texts = list.iter().map(String::as_str);
        hashed.extend(texts.take_while(|text| !lookout.gives_up_before(text.len())));
        Known::Hashed(hashed)
    }

    pub fn contains(&self, text: &str) -> bool {
        match self {
            Known::Sorted(list) => list.binary_search_by(|other| other.as_str().cmp(text)).is_ok(),
            Known::Hashed(hashed) => hashed.contains(text),
        }
    }
}

fn union(left: Vec<String>, right: Vec<String>, lookout: &Lookout<'_>) -> Vec<String> {
    if left.is_empty() || right.is_empty() {
        return if right.is_empty() { left } else { right };
    }
    let mut union = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        if lookout.gives_up_before(a.len() + b.len()) {
            return union;
        }
        match a.cmp(b) {
            Ordering::Less => union.extend(left.next()),
            Ordering::Greater => union.extend(right.next()),
            Ordering::Equal => {
                union.extend(left.next());
                right.next();
            }
        }
    }
    union.extend(left);
    union.extend(right);
    union
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::StopSign;

    proptest! {
        #[test]
        fn each_text_of_any_list_comes_once_in_order(lists in prop::collection::vec(prop::collection::btree_set("[a-c]{0,3}", 0..40), 0..20)) {
            let expected: BTreeSet<String> = lists.iter().flatten().cloned().collect();
            let lists = lists.into_iter().map(|list| list.into_iter().collect::<Vec<_>>());
            let never = StopSign::never();
            prop_assert_eq!(united(lists, &Lookout::new(&never)), expected.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn what_is_in_a_list_is_known_however_often_it_is_looked_up(list in prop::collection::btree_set("[a-c]{0,3}", 0..40)) {
            let texts: Vec<String> = list.iter().cloned().collect();
            let never = StopSign::never();
            for look_ups in [0, 1, 2, 1000] {
                let known = Known::of(&texts, look_ups, &Lookout::new(&never));
                for text in ["", "a", "ab", "abc", "b", "cc", "ccc", "d"] {
                    prop_assert_eq!(known.contains(text), list.contains(text));
                }
            }
        }
    }
}
