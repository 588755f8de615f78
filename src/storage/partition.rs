//! A segment holds one partition of time, left-open and right-closed, named by its end: of rows as sent a UTC day, of
//! rollups some days, so that they are not many small files.

use crate::model::{
    TimeRange, Timestamp,
    time::{DAY, HOUR, MINUTE},
};

const FIVE_MINUTES: i64 = 5 * MINUTE;

pub(super) fn partition_of(timestamp: Timestamp) -> Timestamp {
    timestamp.saturating_sub(1).div_euclid(DAY).saturating_add(1).saturating_mul(DAY)
}

pub(super) fn partition_range(partition: Timestamp) -> TimeRange {
    TimeRange { after: partition.saturating_sub(DAY), until: partition }
}

/// The partition of the rollups of a day. A day of states of a minute is about a twelfth of its samples every 5 s, and
/// one of states of an hour a sixtieth of that: a query that reads these wants long blocks, since it reads a year.
pub(super) fn rollup_partition_of(day: Timestamp, resolution_ms: i64) -> Timestamp {
    let length = match resolution_ms {
        ..FIVE_MINUTES => 8 * DAY,
        FIVE_MINUTES..HOUR => 32 * DAY,
        _ => 128 * DAY,
    };
    day.saturating_sub(1).div_euclid(length).saturating_add(1).saturating_mul(length)
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

    #[test]
    fn rollups_of_whole_days_share_a_partition() {
        let of = |day: i64, resolution| rollup_partition_of(day * DAY, resolution) / DAY;
        assert_eq!([1, 8, 9, 32, 33].map(|day| of(day, MINUTE)), [8, 8, 16, 32, 40]);
        assert_eq!([1, 8, 9, 32, 33].map(|day| of(day, 5 * MINUTE)), [32, 32, 32, 32, 64]);
        assert_eq!([1, 128, 129].map(|day| of(day, HOUR)), [128, 128, 256]);
    }
}
