//! The time of logs and spans: nanoseconds, where samples have milliseconds.

use super::time::{TimeRange, Timestamp};

/// Nanoseconds since the Unix epoch.
pub type Nanos = i64;

pub const NANOS_PER_MILLI: i64 = 1_000_000;

/// Left-open and right-closed, as [`TimeRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NanoRange {
    pub after: Nanos,
    pub until: Nanos,
}

impl NanoRange {
    pub const ALL: NanoRange = NanoRange { after: Nanos::MIN, until: Nanos::MAX };

    /// `[start, end)`, as logs are asked for.
    pub fn from_start_to_before(start: Nanos, end: Nanos) -> NanoRange {
        NanoRange { after: start.saturating_sub(1), until: end.saturating_sub(1) }
    }

    pub fn closed(first: Nanos, last: Nanos) -> NanoRange {
        NanoRange { after: first.saturating_sub(1), until: last }
    }

    pub fn is_empty(&self) -> bool {
        self.after >= self.until
    }

    pub fn contains(&self, time: Nanos) -> bool {
        self.after < time && time <= self.until
    }

    pub fn overlaps(&self, other: &NanoRange) -> bool {
        self.after.max(other.after) < self.until.min(other.until)
    }

    pub fn intersect(&self, other: &NanoRange) -> NanoRange {
        NanoRange { after: self.after.max(other.after), until: self.until.min(other.until) }
    }

    /// The milliseconds that its instants fall into, each with [`to_millis`].
    pub fn to_millis(&self) -> TimeRange {
        TimeRange {
            after: to_millis(self.after.saturating_add(1)).saturating_sub(1),
            until: to_millis(self.until),
        }
    }
}

impl From<TimeRange> for NanoRange {
    /// The instants that fall into these milliseconds.
    fn from(range: TimeRange) -> NanoRange {
        NanoRange {
            after: range.after.saturating_mul(NANOS_PER_MILLI),
            until: range.until.saturating_mul(NANOS_PER_MILLI),
        }
    }
}

/// The millisecond that ends at or after this instant, so that what is left-open and right-closed stays so.
pub fn to_millis(time: Nanos) -> Timestamp {
    time.div_euclid(NANOS_PER_MILLI) + i64::from(time.rem_euclid(NANOS_PER_MILLI) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_belongs_to_the_millisecond_that_ends_with_it_or_after() {
        assert_eq!(to_millis(1_000_000), 1);
        assert_eq!(to_millis(1_000_001), 2);
        assert_eq!(to_millis(-1), 0);
        assert_eq!(to_millis(Nanos::MAX), 9_223_372_036_855);
    }

    #[test]
    fn ranges_convert_without_losing_an_instant() {
        let millis = TimeRange { after: 1, until: 2 };
        let nanos = NanoRange::from(millis);
        assert!(!nanos.contains(1_000_000));
        assert!(nanos.contains(1_000_001) && nanos.contains(2_000_000));
        assert_eq!(nanos.to_millis(), millis);
        let narrow = NanoRange { after: 1_500_000, until: 1_500_001 };
        assert_eq!(narrow.to_millis(), millis);
        assert_eq!(NanoRange::ALL.to_millis().until, 9_223_372_036_855);
    }

    #[test]
    fn a_half_open_range_holds_its_start_and_not_its_end() {
        let range = NanoRange::from_start_to_before(10, 20);
        assert!(range.contains(10) && range.contains(19) && !range.contains(20) && !range.contains(9));
        assert!(NanoRange::from_start_to_before(10, 10).is_empty());
    }
}
