//! Native histograms, and floats among them.

use icecore::model::time::{DAY, HOUR, MINUTE, SECOND};

use crate::series::{FIRST, HISTOGRAM_KINDS, LAST};
use crate::twins::{Asked, Twins, histogram_points, is_close, points};
use crate::{over, range};

/// What states tell to the bit of histograms of every kind.
const EXACT: [&str; 7] = [
    "count_over_time",
    "present_over_time",
    "first_over_time",
    "last_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "changes",
];

/// What else there is of a kind; of gauges what they add up to, of counters how they grew.
fn of_kind(kind: &str) -> &'static [&'static str] {
    if kind == "sizes" { &["sum_over_time", "avg_over_time", "delta"] } else { &["rate", "increase"] }
}

fn windows() -> [(&'static str, Asked); 3] {
    [("1h", 3 * HOUR), ("25m", 4 * HOUR + 5 * MINUTE), ("1d", DAY / 2)]
        .map(|(window, step)| (window, range(FIRST + HOUR, LAST, step)))
}

#[test]
fn aligned_windows_of_histograms_are_those_of_the_samples() {
    let twins = Twins::rolled_up();
    for kind in HISTOGRAM_KINDS {
        for (window, asked) in windows() {
            EXACT.iter().for_each(|function| twins.assert_same(&over(function, kind, window), asked, 0.0));
            if kind != "sizes" {
                twins.assert_same(&over("resets", kind, window), asked, 0.0);
            }
            // All windows of a day have floats and histograms, of which there is no rate.
            if kind != "mixed" || window != "1d" {
                let rounded = of_kind(kind).iter();
                rounded.for_each(|function| twins.assert_same(&over(function, kind, window), asked, 1e-12));
            }
        }
        twins.assert_same(kind, range(FIRST, LAST, 35 * MINUTE), 0.0);
        twins.assert_same(&format!("{kind} offset 5m"), range(FIRST + HOUR, LAST, 2 * HOUR), 0.0);
    }
    for (window, asked) in windows() {
        for kind in ["requests", "custom"] {
            let quantile = format!("histogram_quantile(0.9, rate({kind}[{window}]))");
            twins.assert_same(&quantile, asked, 1e-12);
            twins.assert_same(&format!("histogram_sum(increase({kind}[{window}]))"), asked, 1e-12);
        }
    }
}

#[test]
fn other_windows_of_histograms_are_those_of_whole_buckets() {
    let twins = Twins::rolled_up();
    // As long as only 5 m are left, each window begins and ends where the bucket does that its edge lies in.
    let late = 7 * SECOND;
    let aligned = range(FIRST + DAY, FIRST + 7 * DAY, 5 * HOUR);
    let asked = Asked { start: aligned.start + late, end: aligned.end + late, ..aligned };
    for kind in HISTOGRAM_KINDS {
        for function in ["count_over_time", "changes"].iter().chain(of_kind(kind)) {
            let question = over(function, kind, "20m");
            let rolled = twins.rolled.ask(&question, asked).unwrap();
            let sent = twins.sent.ask(&question, aligned).unwrap();
            assert!(rolled.infos.iter().any(|info| info.contains("5m rollups only")), "{:?}", rolled.infos);
            let (got, expected) = (points(&rolled), points(&sent));
            assert_eq!(got.len(), expected.len(), "{question}");
            for ((series, at), expected) in expected {
                assert_eq!(got[&(series, at + late)], expected, "{question} at {at}");
            }
            let (got, expected) = (histogram_points(&rolled), histogram_points(&sent));
            assert_eq!(got.len(), expected.len(), "{question}");
            for ((series, at), expected) in expected {
                let got = &got[&(series, at + late)];
                assert!(
                    is_close(got, &expected, 1e-12),
                    "{question} at {at}: {got:?}, of samples {expected:?}"
                );
            }
        }
    }
}
