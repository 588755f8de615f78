//! Recorded scrapes of node_exporter, 15 s apart, as the samples a scraper would have written, with what happens to
//! targets in life: a lost scrape or two, a longer absence that ends in stale markers, a restart that resets the
//! counters.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::answers::Labels;
use super::exposition::{self, Exposed};

pub const SCRAPE_INTERVAL_MS: i64 = 15_000;
pub const JOB: &str = "node";

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// Samples by series, in the order of time.
pub type Series = BTreeMap<Labels, Vec<(i64, f64)>>;

/// One target and its mishaps, in numbers of scrapes.
pub struct Target {
    pub instance: &'static str,
    /// Scrapes that did not reach the target, while nobody noticed.
    pub lost: Range<usize>,
    /// Scrapes that failed: the first one wrote stale markers.
    pub down: Range<usize>,
    /// From this scrape on the counters start anew.
    pub restarted: usize,
}

pub const TARGET: Target = Target { instance: "host-0007:9100", lost: 60..63, down: 90..115, restarted: 150 };

/// The first `count` of the pack.
pub fn scrapes(pack: &Path, count: usize) -> Vec<Exposed> {
    let pack = std::fs::File::open(pack).unwrap();
    let mut decoder = zstd::Decoder::new(pack).unwrap();
    decoder.window_log_max(27).unwrap();
    let text = std::io::read_to_string(decoder).unwrap();
    let files = text.split("==> ").filter(|file| file.starts_with("node-"));
    let scrapes = files.map(|file| exposition::parse(file.split_once(" <==\n").unwrap().1));
    scrapes.take(count).collect()
}

/// Every series with its samples, as a scraper that met all the target's mishaps would have written them.
pub fn series(scrapes: &[Exposed], start_ms: i64, target: &Target) -> Series {
    let mut series = Series::new();
    let at_restart: BTreeMap<&Labels, f64> =
        scrapes[target.restarted].samples.iter().map(|(labels, value)| (labels, *value)).collect();
    for (number, scrape) in scrapes.iter().enumerate() {
        if target.lost.contains(&number) || target.down.contains(&number) && number != target.down.start {
            continue;
        }
        // Real scrapes are some milliseconds off their time.
        let time_ms = start_ms + number as i64 * SCRAPE_INTERVAL_MS + (number as i64 * 7) % 11;
        for (labels, value) in &scrape.samples {
            let is_counter = scrape.types.get(&labels["__name__"]).is_some_and(|kind| kind == "counter");
            let value = match () {
                () if number == target.down.start => f64::from_bits(STALE_NAN),
                () if is_counter && number >= target.restarted => {
                    value - at_restart.get(labels).unwrap_or(&0.0)
                }
                () => *value,
            };
            let mut labels = labels.clone();
            labels.insert("instance".to_owned(), target.instance.to_owned());
            labels.insert("job".to_owned(), JOB.to_owned());
            series.entry(labels).or_default().push((time_ms, value));
        }
    }
    series
}
