//! Series of every kind that rollups treat differently, the same in every run.

use icecore::model::Timestamp;
use icecore::model::time::{DAY, HOUR, SECOND};

/// The end of the day before the first: the beginning of a partition of every tier.
pub const FIRST: Timestamp = 20_000 * DAY;
pub const DAYS: i64 = 12;
pub const LAST: Timestamp = FIRST + DAYS * DAY;
const GAP_MS: i64 = 20 * SECOND;

pub const KINDS: [&str; 6] = ["gauge", "counter_total", "steady_total", "gaps", "jitter", "ending"];

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
