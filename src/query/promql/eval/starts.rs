//! Start timestamps: since when a counter counts. With `use-start-timestamps` they tell resets that values do not
//! show, and where a counter began inside a window (Prometheus 3.14, promql/functions.go).

use crate::model::Timestamp;
use crate::storage::metrics::SampleBuffer;

/// The start of every sample of a series, 0 where it is not known. Both are empty if none is.
#[derive(Clone, Default)]
pub struct Starts {
    pub floats: Vec<Timestamp>,
    pub histograms: Vec<Timestamp>,
}

/// When a sample was taken and since when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub at: Timestamp,
    pub since: Timestamp,
}

impl Starts {
    pub fn find(&mut self, samples: &SampleBuffer) {
        self.floats.clear();
        self.histograms.clear();
        if samples.starts.is_empty() {
            return;
        }
        let since = |&at: &Timestamp| start_at(&samples.starts, at);
        self.floats.extend(samples.float_timestamps.iter().map(since));
        self.histograms.extend(samples.histogram_timestamps.iter().map(since));
    }
}

/// Since when the sample at `at` counts, of what was told when.
pub fn start_at(told: &[(Timestamp, Timestamp)], at: Timestamp) -> Timestamp {
    let later = told.partition_point(|(from, _)| *from <= at);
    later.checked_sub(1).map_or(0, |i| told[i].1)
}

/// Of the sample at place `i` of a window; `starts` may be empty.
pub fn counted(timestamps: &[Timestamp], starts: &[Timestamp], i: usize) -> Counted {
    Counted { at: timestamps[i], since: starts.get(i).copied().unwrap_or(0) }
}

/// Whether the counter began anew between two samples, for all that their starts say.
pub fn is_reset(before: Counted, sample: Counted) -> bool {
    // Unknown; OpenTelemetry's way to say unknown; nonsense.
    if sample.since == 0 || sample.since >= sample.at || sample.since < before.at {
        return false;
    }
    // A start right at the sample before is that of a delta, or of a total whose start is not known: then the sample
    // before has none either.
    let is_known = before.since != 0 && before.since != before.at && before.since <= before.at;
    sample.since > before.at || is_known
}

/// Whether two neighbours in a window count the same things twice.
pub fn has_overlap(timestamps: &[Timestamp], starts: &[Timestamp]) -> bool {
    let mut pairs = timestamps.iter().zip(starts.windows(2));
    pairs.any(|(&before, since)| since[1] != 0 && since[1] < before && since[1] != since[0])
}

/// The start of a window's first sample, if it lies inside: there the counter was 0.
pub fn begun_inside(after: Timestamp, timestamps: &[Timestamp], starts: &[Timestamp]) -> Option<Timestamp> {
    let begun = starts.first().copied().filter(|&start| start != 0)?;
    (begun > after && begun < timestamps[0]).then_some(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: Timestamp, since: Timestamp) -> Counted {
        Counted { at, since }
    }

    #[test]
    fn a_start_after_the_sample_before_is_a_reset() {
        assert!(is_reset(at(100, 10), at(200, 150)));
        assert!(is_reset(at(100, 0), at(200, 150)));
        assert!(!is_reset(at(100, 10), at(200, 10)));
        assert!(!is_reset(at(100, 10), at(200, 0)));
        assert!(!is_reset(at(100, 10), at(200, 200)), "OpenTelemetry's unknown");
    }

    #[test]
    fn a_start_at_the_sample_before_is_a_delta_only_if_that_one_has_a_start() {
        assert!(is_reset(at(100, 10), at(200, 100)));
        assert!(!is_reset(at(100, 0), at(200, 100)));
        assert!(!is_reset(at(100, 100), at(200, 100)));
        assert!(!is_reset(at(100, 110), at(200, 100)));
    }

    #[test]
    fn a_sample_counts_since_what_was_told_last_before_it() {
        let told = [(100, 50), (300, 250)];
        assert_eq!([99, 100, 299, 300].map(|at| start_at(&told, at)), [0, 50, 50, 250]);
    }
}
