//! Series of every kind that rollups treat differently, the same in every run.

use icecore::model::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint, Span};
use icecore::model::time::{DAY, HOUR, MINUTE, SECOND};
use icecore::model::{Histogram, Timestamp};

/// The end of the day before the first: the beginning of a partition of every tier.
pub const FIRST: Timestamp = 20_000 * DAY;
pub const DAYS: i64 = 12;
pub const LAST: Timestamp = FIRST + DAYS * DAY;
const GAP_MS: i64 = 20 * SECOND;

pub const KINDS: [&str; 6] = ["gauge", "counter_total", "steady_total", "gaps", "jitter", "ending"];

/// Native histograms. The last has floats among them: the two kinds take turns, in the middle of buckets, too.
pub const HISTOGRAM_KINDS: [&str; 4] = ["requests", "sizes", "custom", "mixed"];
const HISTOGRAM_GAP_MS: i64 = 45 * SECOND;

/// A stale marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Pseudo-random bits of a number.
fn mixed(n: i64) -> u64 {
    let mut x = (n as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The samples of a kind, in order of time.
pub fn samples(kind: &str) -> Vec<(Timestamp, f64)> {
    let count = DAYS * DAY / GAP_MS;
    let mut counter = 0.0;
    let mut samples = Vec::new();
    for i in 1..=count {
        let (time, bits) = (FIRST + i * GAP_MS, mixed(i));
        let small = (bits % 1000) as f64;
        counter = if bits % 997 == 0 { 0.0 } else { counter + (bits % 50) as f64 };
        let sample = match kind {
            "gauge" => (time, small / 10.0 - 50.0),
            "counter_total" => (time, counter),
            "steady_total" => (time, i as f64),
            // Some hours are missing.
            "gaps" if mixed(time / HOUR).is_multiple_of(4) => continue,
            "gaps" => (time, small),
            "jitter" => (time - (bits % 19_000) as i64, small),
            // It ends and begins again.
            "ending" if i % 500 == 400 => (time, f64::from_bits(STALE)),
            "ending" if i % 500 > 400 => continue,
            "ending" => (time, small),
            _ => panic!("no such kind: {kind}"),
        };
        samples.push(sample);
    }
    samples
}

/// Whether the sample of that time in `mixed` is a float.
pub fn is_float(time: Timestamp) -> bool {
    mixed(time / (97 * MINUTE)).is_multiple_of(3)
}

/// The floats of `mixed`.
pub fn floats_among_histograms() -> Vec<(Timestamp, f64)> {
    let times = (1..=DAYS * DAY / HISTOGRAM_GAP_MS).map(|i| FIRST + i * HISTOGRAM_GAP_MS);
    times.filter(|&time| is_float(time)).map(|time| (time, (mixed(time) % 7) as f64)).collect()
}

/// The histograms of a kind, in order of time.
pub fn histograms(kind: &str) -> Vec<(Timestamp, Histogram)> {
    let mut counts = vec![0.0; 6];
    let mut samples = Vec::new();
    for i in 1..=DAYS * DAY / HISTOGRAM_GAP_MS {
        let (time, bits) = (FIRST + i * HISTOGRAM_GAP_MS, mixed(i));
        // A counter of another schema begins anew.
        let schema = ((time / (7 * HOUR)) % 2) as i32;
        let is_restart = bits % 397 == 0 || (time - HISTOGRAM_GAP_MS) / (7 * HOUR) != time / (7 * HOUR);
        if is_restart || kind == "sizes" {
            counts.fill(0.0);
        }
        counts.iter_mut().enumerate().for_each(|(at, count)| *count += (mixed(i * 8 + at as i64) % 5) as f64);
        let histogram = exponential(schema, &counts);
        samples.push(match kind {
            "requests" => (time, histogram),
            "sizes" => (time, Histogram { hint: ResetHint::Gauge, ..histogram }),
            // It ends and begins again.
            "custom" if i % 500 == 400 => (time, Histogram::stale()),
            "custom" if i % 500 > 400 => continue,
            "custom" => (time, custom(&counts)),
            "mixed" if is_float(time) => continue,
            "mixed" => (time, histogram),
            _ => panic!("no such kind: {kind}"),
        });
    }
    samples
}

/// The first count is that of the zero bucket. The sum is whole, so that sums of it have no rounding.
fn exponential(schema: i32, counts: &[f64]) -> Histogram {
    Histogram {
        schema,
        zero_threshold: 0.001,
        zero_count: counts[0],
        count: counts.iter().sum(),
        sum: counts.iter().enumerate().map(|(at, count)| at as f64 * count).sum(),
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 3, length: 3 }],
        positive_buckets: counts[1..].to_vec(),
        is_integer: true,
        ..Histogram::default()
    }
}

fn custom(counts: &[f64]) -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        zero_count: 0.0,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        custom_bounds: vec![0.1, 0.5, 1.0, 2.5, 10.0],
        ..exponential(0, counts)
    }
}
