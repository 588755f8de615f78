//! The first values of a field in their order, whatever order they are met in: an answer that is cut says the same each
//! time, whichever thread comes first, before a flush and after it.

use std::collections::BTreeSet;

use super::condition::{FieldValue, ValueRef};

/// Invariant: at most `limit` values, and no value that was added and is not here comes before one that is.
#[derive(Debug)]
pub(super) struct FirstValues {
    values: BTreeSet<FieldValue>,
    limit: usize,
}

impl FirstValues {
    pub fn new(limit: usize) -> FirstValues {
        FirstValues { values: BTreeSet::new(), limit }
    }

    pub fn add(&mut self, value: ValueRef<'_>) {
        let is_late = |last: &FieldValue| value.order(last.as_ref()).is_ge();
        if self.values.len() >= self.limit && self.values.last().is_none_or(is_late) {
            return;
        }
        self.values.extend(value.to_owned());
        if self.values.len() > self.limit {
            self.values.pop_last();
        }
    }

    pub fn into_sorted(self) -> Vec<FieldValue> {
        self.values.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = FieldValue> {
        prop_oneof![
            "[ab]{0,2}".prop_map(FieldValue::Text),
            (-3..3i64).prop_map(FieldValue::Integer),
            prop_oneof![Just(-0.0), Just(0.0), Just(f64::NAN), Just(1.5)].prop_map(FieldValue::Float),
            any::<bool>().prop_map(FieldValue::Bool),
        ]
    }

    proptest! {
        #[test]
        fn they_are_those_of_a_list_that_was_sorted_and_cut(
            values in prop::collection::vec(any_value(), 0..30),
            limit in prop_oneof![0..10usize, Just(usize::MAX)],
        ) {
            let mut first = FirstValues::new(limit);
            values.iter().for_each(|value| first.add(value.as_ref()));
            first.add(ValueRef::Other);
            let sorted: BTreeSet<FieldValue> = values.into_iter().collect();
            prop_assert_eq!(first.into_sorted(), sorted.into_iter().take(limit).collect::<Vec<_>>());
        }
    }
}
