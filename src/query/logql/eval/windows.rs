//! The windows of the steps of a range aggregation: which steps see an entry.

use std::ops::Range;

use crate::model::{NanoRange, Nanos};

/// Step `k` sees the entries in `(first_end + k·step − range, first_end + k·step]`.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Where the first window ends.
    pub first_end: Nanos,
    /// More than 0; of no meaning where there is one step.
    pub step: i64,
    pub len: usize,
    /// More than 0.
    pub range: i64,
}

impl Windows {
    /// From before the first window to the end of the last.
    pub fn covered(&self) -> NanoRange {
        if self.len == 0 {
            return NanoRange { after: 0, until: 0 };
        }
        let after = self.first_end.saturating_sub(self.range);
        NanoRange { after, until: self.end(self.len - 1) }
    }

    pub fn end(&self, step: usize) -> Nanos {
        self.first_end.saturating_add(self.step.saturating_mul(step as i64))
    }

    /// The first step whose window ends at or after `time`; `len` if there is none.
    fn first_ending_at_or_after(&self, time: Nanos) -> usize {
        let behind = i128::from(time) - i128::from(self.first_end);
        let steps = (behind + i128::from(self.step) - 1).div_euclid(i128::from(self.step)).max(0);
        usize::try_from(steps).map_or(self.len, |steps| steps.min(self.len))
    }

    fn seen_by(&self, time: Nanos) -> Range<usize> {
        let first = self.first_ending_at_or_after(time);
        // The first whose window begins at or after `time`: it and those behind it do not see it.
        let end = self.first_ending_at_or_after(time.saturating_add(self.range));
        first..end
    }
}

/// Finds the windows of entries that come in order of time, mostly by looking whether they changed.
#[derive(Clone, Debug)]
pub struct Cursor {
    windows: Windows,
    seen_by: Range<usize>,
    /// The entries after `after` and up to `until` are seen by the same steps.
    after: Nanos,
    until: Nanos,
}

impl Cursor {
    pub fn new(windows: Windows) -> Cursor {
        Cursor { windows, seen_by: 0..0, after: Nanos::MAX, until: Nanos::MIN }
    }

    /// The steps whose windows hold an entry of this time.
    pub fn seen_by(&mut self, time: Nanos) -> Range<usize> {
        if !(self.after < time && time <= self.until) {
            self.go_to(time);
        }
        self.seen_by.clone()
    }

    /// Until when the entries are seen by the same steps as the last one.
    pub fn until(&self) -> Nanos {
        self.until
    }

    fn go_to(&mut self, time: Nanos) {
        let windows = &self.windows;
        let Range { start, end } = windows.seen_by(time);
        // Steps change behind the end of the first window, and behind the begin of the first that is not yet open.
        let start_of = |step: usize| windows.end(step).saturating_sub(windows.range);
        let until =
            [(start < windows.len).then(|| windows.end(start)), (end < windows.len).then(|| start_of(end))];
        let after = [start.checked_sub(1).map(|step| windows.end(step)), end.checked_sub(1).map(start_of)];
        self.until = until.into_iter().flatten().min().unwrap_or(Nanos::MAX);
        self.after = after.into_iter().flatten().max().unwrap_or(Nanos::MIN);
        self.seen_by = start..end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(windows: &Windows, time: Nanos) -> Vec<usize> {
        let sees = |step: &usize| {
            let end = windows.end(*step);
            end - windows.range < time && time <= end
        };
        (0..windows.len).filter(sees).collect()
    }

    #[test]
    fn a_window_is_open_on_the_left_and_closed_on_the_right() {
        let windows = Windows { first_end: 100, step: 10, len: 3, range: 10 };
        assert_eq!(windows.seen_by(90), 0..0);
        assert_eq!(windows.seen_by(91), 0..1);
        assert_eq!(windows.seen_by(100), 0..1);
        assert_eq!(windows.seen_by(101), 1..2);
        assert!(windows.seen_by(121).is_empty());
        assert_eq!(windows.covered(), NanoRange { after: 90, until: 120 });
    }

    proptest::proptest! {
        #[test]
        fn a_cursor_finds_the_steps_that_a_plain_look_finds(
            first_end in -50i64..50,
            step in 1i64..20,
            len in 0usize..6,
            range in 1i64..60,
            mut times in proptest::collection::vec(-150i64..200, 1..40),
        ) {
            times.sort_unstable();
            let windows = Windows { first_end, step, len, range };
            let mut cursor = Cursor::new(windows);
            for time in times {
                let seen: Vec<usize> = cursor.seen_by(time).collect();
                proptest::prop_assert_eq!(seen, plain(&windows, time));
            }
        }

        #[test]
        fn no_time_overflows(first_end: i64, step in 1..i64::MAX, range in 1..i64::MAX, time: i64) {
            let windows = Windows { first_end, step, len: 3, range };
            windows.covered();
            Cursor::new(windows).seen_by(time);
        }
    }
}
