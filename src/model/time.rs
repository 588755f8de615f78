//! Points and spans of time. Everything in time is left-open and right-closed, like PromQL's windows:
//! partitions, tier cuts, buckets, ranges of a query.

/// Milliseconds since the Unix epoch, negative before it: the unit of every protocol we speak for metrics.
pub type Timestamp = i64;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The instants `t` with `after < t <= until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub after: Timestamp,
    pub until: Timestamp,
}

impl TimeRange {
    /// Every instant but `i64::MIN`, which no sample may have.
    pub const ALL: TimeRange = TimeRange { after: i64::MIN, until: i64::MAX };

    /// The range that holds `first`, `last` and what lies between.
    pub fn closed(first: Timestamp, last: Timestamp) -> TimeRange {
        TimeRange { after: first.saturating_sub(1), until: last }
    }

    pub fn contains(&self, t: Timestamp) -> bool {
        self.after < t && t <= self.until
    }

    pub fn is_empty(&self) -> bool {
        self.until <= self.after
    }

    pub fn overlaps(&self, other: &TimeRange) -> bool {
        !self.intersect(other).is_empty()
    }

    pub fn intersect(&self, other: &TimeRange) -> TimeRange {
        TimeRange { after: self.after.max(other.after), until: self.until.min(other.until) }
    }

    /// The smallest range that holds these; empty if all of them are.
    pub fn around(ranges: impl IntoIterator<Item = TimeRange>) -> TimeRange {
        let join = |a: TimeRange, b: TimeRange| TimeRange {
            after: a.after.min(b.after),
            until: a.until.max(b.until),
        };
        let ranges = ranges.into_iter().filter(|range| !range.is_empty());
        ranges.reduce(join).unwrap_or(TimeRange { after: 0, until: 0 })
    }

    /// The part of sorted `timestamps` that lies in this range, as indices.
    pub fn slice_of(&self, timestamps: &[Timestamp]) -> std::ops::Range<usize> {
        let from = timestamps.partition_point(|&t| t <= self.after);
        let to = timestamps.partition_point(|&t| t <= self.until);
        from..to.max(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_left_edge_is_out_and_the_right_edge_is_in() {
        let range = TimeRange { after: 10, until: 20 };
        assert_eq!([10, 11, 20, 21].map(|t| range.contains(t)), [false, true, true, false]);
        assert_eq!(range.slice_of(&[5, 10, 11, 20, 21]), 2..4);
    }

    #[test]
    fn touching_ranges_share_nothing() {
        assert!(!TimeRange { after: 0, until: 10 }.overlaps(&TimeRange { after: 10, until: 20 }));
    }
}
