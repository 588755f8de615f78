//! A segment holds one partition of time: a UTC day, left-open and right-closed, named by its end.

use crate::model::{TimeRange, Timestamp, time::DAY};

pub(super) fn partition_of(timestamp: Timestamp) -> Timestamp {
    timestamp.saturating_sub(1).div_euclid(DAY).saturating_add(1).saturating_mul(DAY)
}

pub(super) fn partition_range(partition: Timestamp) -> TimeRange {
    TimeRange { after: partition.saturating_sub(DAY), until: partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_belongs_to_the_day_that_it_ends() {
        assert_eq!([1, DAY - 1, DAY, DAY + 1].map(partition_of), [DAY, DAY, DAY, 2 * DAY]);
        assert_eq!([0, -1, -DAY].map(partition_of), [0, 0, -DAY]);
        for t in [-DAY, -1, 0, 1, DAY, 12_345_678_901] {
            assert!(partition_range(partition_of(t)).contains(t));
        }
    }
}
