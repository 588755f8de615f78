//! Sorted lists of texts, each text once, as one such list. Mostly there is one, or each has what all the others have.

use std::cmp::Ordering;

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
    }
}
