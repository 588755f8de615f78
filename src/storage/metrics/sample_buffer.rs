//! The samples of one series, as readers are given them; and what is known of them from how they were stored, which saves who asks a
//! look at each.

use std::mem::swap;
use std::sync::Arc;

use crate::codec::timestamps::Regular;
use crate::model::{Histogram, Timestamp};

/// Samples of one series in time order, floats and histograms apart (a series may hold both; no timestamp
/// occurs twice across the two). Reused from series to series, so that reading allocates nothing.
#[derive(Default, Debug)]
pub struct SampleBuffer {
    pub float_timestamps: Vec<Timestamp>,
    pub floats: Vec<f64>,
    pub histogram_timestamps: Vec<Timestamp>,
    pub histograms: Vec<Arc<Histogram>>,
    /// From a time on the series counts since a start, in order of times; see [`MetricsSnapshot::starts`].
    ///
    /// [`MetricsSnapshot::starts`]: super::MetricsSnapshot::starts
    pub starts: Vec<(Timestamp, Timestamp)>,
    known: Known,
    spare: Spare,
}

/// What is known of the first floats, whatever is appended to them. Who changes them says so: [`SampleBuffer::forget`].
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    whole: Whole,
    /// The first timestamps.
    regular: Option<Regular>,
}

/// Timestamps from before the buffer was cleared, which begin with regular ones: most series have the same as the one before.
#[derive(Default, Debug)]
struct Spare {
    regular: Option<Regular>,
    timestamps: Vec<Timestamp>,
}

/// The first `count` floats are whole numbers from 0 to `max`, none of them -0.
#[derive(Clone, Copy, Default, Debug)]
pub struct Whole {
    pub count: usize,
    pub max: u64,
}

impl SampleBuffer {
    #[cfg(test)]
    pub fn of_floats(float_timestamps: Vec<Timestamp>, floats: Vec<f64>) -> SampleBuffer {
        SampleBuffer { float_timestamps, floats, ..SampleBuffer::default() }
    }

    pub fn clear(&mut self) {
        if let Some(regular) = self.known.regular {
            self.spare.regular = Some(regular);
            swap(&mut self.float_timestamps, &mut self.spare.timestamps);
        }
        self.forget();
        self.float_timestamps.clear();
        self.floats.clear();
        self.histogram_timestamps.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn last_timestamp(&self) -> Timestamp {
        let last = |timestamps: &[Timestamp]| timestamps.last().copied().unwrap_or(Timestamp::MIN);
        last(&self.float_timestamps).max(last(&self.histogram_timestamps))
    }

    pub fn whole(&self) -> Whole {
        self.known.whole
    }

    /// For who changes floats or timestamps that are there already.
    pub fn forget(&mut self) {
        self.known = Known::default();
    }

    /// The floats from this place on were appended, and none of them exceeds `whole_max`, if they are whole numbers.
    pub fn know_whole(&mut self, from: usize, whole_max: Option<u64>) {
        let whole = &mut self.known.whole;
        if let Some(max) = whole_max.filter(|_| whole.count == from) {
            *whole = Whole { count: self.floats.len(), max: whole.max.max(max) };
        }
    }

    /// Appends timestamps of floats.
    pub(super) fn extend_regular(&mut self, times: Regular) {
        if times.is_empty() {
            return;
        }
        if self.float_timestamps.is_empty() {
            if self.spare.regular.is_some_and(|spare| spare.truncated(times.len()) == times) {
                self.spare.regular = None;
                swap(&mut self.float_timestamps, &mut self.spare.timestamps);
                self.float_timestamps.truncate(times.len());
            } else {
                times.put(&mut self.float_timestamps);
            }
            self.known.regular = Some(times);
            return;
        }
        let before = self.regular();
        times.put(&mut self.float_timestamps);
        if let Some(all) = before.and_then(|before| before.and(times)) {
            self.known.regular = Some(all);
        }
    }

    /// Takes back what was appended behind so many floats.
    pub(super) fn truncate_floats(&mut self, count: usize) {
        self.float_timestamps.truncate(count);
        self.floats.truncate(count);
        let Known { whole, regular } = &mut self.known;
        whole.count = whole.count.min(count);
        *regular = regular.map(|regular| regular.truncated(count)).filter(|regular| !regular.is_empty());
    }

    /// The timestamps of all floats, if they are known to be regular.
    fn regular(&self) -> Option<Regular> {
        self.known.regular.filter(|regular| regular.len() == self.float_timestamps.len())
    }
}

/// Timestamps of floats that were looked at.
#[derive(Clone, Default)]
pub struct SeenTimes {
    timestamps: Vec<Timestamp>,
    regular: Option<Regular>,
}

impl SeenTimes {
    /// Whether these samples have the same.
    pub fn are_those_of(&self, samples: &SampleBuffer) -> bool {
        match (self.regular, samples.regular()) {
            (Some(last), Some(regular)) => last == regular,
            _ => self.timestamps == samples.float_timestamps,
        }
    }

    pub fn remember(&mut self, samples: &SampleBuffer) {
        self.timestamps.clear();
        self.timestamps.extend_from_slice(&samples.float_timestamps);
        self.regular = samples.regular();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::timestamps::{encode, regular_in};
    use crate::model::TimeRange;
    use crate::storage::metrics::merge::{merge_floats, merge_histograms};

    #[derive(Clone, Debug)]
    enum Step {
        Clear,
        /// A block of so many samples of a series at this distance.
        Block(i64, usize, Option<u64>),
        /// As a head does.
        Push(f64),
        Merge(i64, f64),
        Histogram(i64),
        Truncate(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let whole_max = prop_oneof![4 => (5u64..9).prop_map(Some), 1 => Just(None)];
        prop_oneof![
            3 => Just(Step::Clear),
            6 => (1i64..3, 0usize..4, whole_max).prop_map(|(step, len, max)| Step::Block(step, len, max)),
            1 => prop::sample::select(vec![3.0, -0.0, f64::NAN]).prop_map(Step::Push),
            1 => (0i64..20, -2f64..3.0).prop_map(|(time, value)| Step::Merge(time, value)),
            1 => (0i64..20).prop_map(Step::Histogram),
            1 => (0usize..6).prop_map(Step::Truncate),
        ]
    }

    fn regular(first: i64, step: i64, len: usize) -> Regular {
        let mut bytes = Vec::new();
        let times: Vec<i64> = (0..len.max(2) as i64).map(|i| first + i * step).collect();
        encode(&times, &mut bytes);
        regular_in(&bytes, times.len(), TimeRange::ALL).unwrap().unwrap().0.truncated(len)
    }

    proptest! {
        #[test]
        fn what_is_known_of_samples_is_true_of_them(steps in prop::collection::vec(step(), 0..40)) {
            let (mut samples, mut last) = (SampleBuffer::default(), SeenTimes::default());
            let mut expected: (Vec<i64>, Vec<f64>) = Default::default();
            for step in steps {
                let next = expected.0.last().map_or(0, |last| last + 1);
                match step {
                    Step::Clear => {
                        last.remember(&samples);
                        prop_assert!(last.are_those_of(&samples));
                        samples.clear();
                        expected = Default::default();
                    }
                    Step::Block(step, len, whole_max) => {
                        let from = samples.floats.len();
                        samples.extend_regular(regular(next, step, len));
                        let value = |i: usize| whole_max.map_or(0.5, |max| (i as u64 % (max + 1)) as f64);
                        samples.floats.extend((0..len).map(value));
                        samples.know_whole(from, whole_max);
                        expected.0.extend((0..len as i64).map(|i| next + i * step));
                        expected.1.extend((0..len).map(value));
                    }
                    Step::Push(value) => {
                        samples.float_timestamps.push(next);
                        samples.floats.push(value);
                        expected.0.push(next);
                        expected.1.push(value);
                    }
                    Step::Merge(time, value) => {
                        merge_floats(&mut samples, &[time], &[value]);
                        expected = (samples.float_timestamps.clone(), samples.floats.clone());
                    }
                    Step::Histogram(time) => {
                        merge_histograms(&mut samples, &[time], &[Arc::default()]);
                        expected = (samples.float_timestamps.clone(), samples.floats.clone());
                    }
                    Step::Truncate(count) => {
                        samples.truncate_floats(count);
                        expected.0.truncate(count);
                        expected.1.truncate(count);
                    }
                }
                prop_assert_eq!(&samples.float_timestamps, &expected.0);
                prop_assert!(samples.floats.iter().map(|v| v.to_bits()).eq(expected.1.iter().map(|v| v.to_bits())));
                let Whole { count, max } = samples.whole();
                let is_known = |value: &f64| value.fract().to_bits() == 0 && (0.0..=max as f64).contains(value);
                prop_assert!(samples.floats[..count].iter().all(is_known));
                if let Some(times) = samples.regular() {
                    prop_assert!((0..times.len()).map(|at| times.at(at)).eq(expected.0.iter().copied()));
                }
                // A single one has no distance that could be the same.
                let is_same = last.timestamps == expected.0;
                prop_assert!(last.are_those_of(&samples) == is_same || is_same && expected.0.len() == 1);
            }
        }
    }

    #[test]
    fn the_times_of_the_series_before_are_there_already() {
        let mut samples = SampleBuffer::default();
        samples.extend_regular(regular(0, 10, 100));
        let before = samples.float_timestamps.as_ptr();
        samples.clear();
        samples.extend_regular(regular(0, 10, 90));
        assert_eq!((samples.float_timestamps.as_ptr(), samples.float_timestamps.len()), (before, 90));
    }

    #[test]
    fn to_merge_nothing_is_no_change() {
        let mut samples = SampleBuffer::default();
        samples.extend_regular(regular(0, 10, 5));
        merge_floats(&mut samples, &[], &[]);
        merge_histograms(&mut samples, &[], &[]);
        assert_eq!(samples.regular(), Some(regular(0, 10, 5)));
    }

    #[test]
    fn blocks_that_follow_each_other_are_as_one() {
        let mut samples = SampleBuffer::default();
        samples.extend_regular(regular(0, 10, 5));
        samples.extend_regular(regular(50, 10, 5));
        assert_eq!(samples.regular(), Some(regular(0, 10, 10)));
    }
}
