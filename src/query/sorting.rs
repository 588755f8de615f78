//! Sorting that a query's deadline can end: half a million label sets take the better part of a second.

use std::cmp::Ordering;

use super::budget::{Budget, Exceeded};

/// Sorted without a pause in at most a few milliseconds.
const RUN_LEN: usize = 4_096;

/// Sorts stably; asks the budget along the way.
pub fn sort_within<T>(
    budget: &Budget,
    mut items: Vec<T>,
    order: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, Exceeded> {
    budget.check()?;
    if items.len() <= RUN_LEN {
        items.sort_by(order);
        return Ok(items);
    }
    let right = items.split_off(items.len() / 2);
    let left = sort_within(budget, items, order)?;
    let right = sort_within(budget, right, order)?;
    merged(budget, left, right, order)
}

fn merged<T>(
    budget: &Budget,
    left: Vec<T>,
    right: Vec<T>,
    order: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, Exceeded> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        if merged.len().is_multiple_of(RUN_LEN) {
            budget.check()?;
        }
        let side = if order(b, a) == Ordering::Less { &mut right } else { &mut left };
        merged.extend(side.next());
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::budget::Limits;

    proptest::proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(seed: u64, len in 0usize..20_000) {
            let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 0, log_bytes_max: 0 };
            let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
            let items: Vec<(u64, usize)> =
                (0..len).map(|i| (seed.wrapping_mul(i as u64 * i as u64 + 1) % 1_000, i)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            let sorted = sort_within(&budget, items, &|a, b| a.0.cmp(&b.0)).unwrap();
            proptest::prop_assert_eq!(sorted, expected);
        }
    }
}
