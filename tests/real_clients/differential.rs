//! Random expressions give the same from Icecore as from Prometheus over the same recorded samples.
//!
//! Prometheus before 3.0 counts the left edge of a window to it, so no edge falls on a sample or on a step of a
//! subquery: samples lie 3 s (and up to 10 ms) after a multiple of 5 s, steps of subqueries on such multiples and
//! moments of evaluation 1.5 s after them, while ranges are a second longer than such a multiple.
//!
//! `ICECORE_SEED` begins elsewhere, `ICECORE_FULL=1` asks 10,000 expressions.

use std::collections::BTreeMap;

use icecore::query::promql::{ParseOptions, parse};

use super::answers::{self, When};
use super::exposition::Exposed;
use super::known_differences::{KNOWN, explain};
use super::programs::installed;
use super::random_expressions::Generator;
use super::random_selectors::{Dice, Metric};
use super::recorded::{self, SCRAPE_INTERVAL_MS, Series, TARGET, Target};
use super::side_by_side::SideBySide;
use super::tally::Tally;
use crate::common::{now_ms, shared};

const SCRAPES: usize = 200;
const SEED: u64 = 42;
const DAY_MS: i64 = 24 * 60 * 60_000;
const SAMPLES_AFTER_MS: i64 = 3_000;
const ASKED_AFTER_MS: i64 = 1_500;

/// Comes back from an absence with counters that began anew meanwhile.
const OTHER_TARGET: Target =
    Target { instance: "host-0008:9100", lost: 30..32, down: 100..118, restarted: 117 };

#[test]
fn random_expressions_answer_as_prometheus_does() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(pack) = shared("tools/peerbench/data/scrapes.zst") else { return };
    let both = SideBySide::start(prometheus, &[]);
    // A midnight, so that the steps of subqueries fall alike on every day.
    let start_ms = (now_ms() / DAY_MS - 1) * DAY_MS;
    let series = recorded_series(&recorded::scrapes(&pack, SCRAPES + 20), start_ms + SAMPLES_AFTER_MS);
    both.write(&series);

    let seed = std::env::var("ICECORE_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let count = if crate::full() { 10_000 } else { 500 };
    let metrics = metrics(&series);
    let mut tally = Tally::default();
    for number in 0..count {
        let (expr, moments) = question(&metrics, start_ms, Dice::new(seed.wrapping_add(number) << 20));
        for when in moments {
            tally.count(&both, &expr, when);
        }
    }
    println!("seed {seed}: {tally:?}");
    let unexplained = &tally.unexplained;
    assert!(unexplained.is_empty(), "{} unexplained:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(tally.answered * 2 > tally.asked, "only {} of {} say something", tally.answered, tally.asked);
    every_known_difference_is_one(&both, start_ms);
}

/// An expression, and the moments at which to ask it: one instant, one range.
fn question(metrics: &[Metric], start_ms: i64, mut dice: Dice) -> (String, [When; 2]) {
    // From before the first sample until the last has left the lookback.
    let ticks = SCRAPES * 3 + 80;
    let mut moment = || start_ms + ASKED_AFTER_MS + (dice.below(ticks) as i64 - 5) * 5_000;
    let (instant, start_ms, at) = (When::Instant(moment()), moment(), moment());
    let step_ms = [15_000, 30_000, 45_000, 60_000, 300_000][dice.below(5)];
    let end_ms = start_ms + dice.below(40) as i64 * step_ms;
    let at = format!("{}.{:03}", at / 1_000, at % 1_000);
    let moments = vec![at, "start()".to_owned(), "end()".to_owned()];
    let expr = Generator { dice, metrics, moments }.expression();
    (expr, [instant, When::Range { start_ms, end_ms, step_ms }])
}

/// Two targets, the second a few scrapes behind the first.
fn recorded_series(scrapes: &[Exposed], start_ms: i64) -> Series {
    let scrapes = with_histogram(scrapes);
    let mut series = recorded::series(&scrapes[..SCRAPES], start_ms, &TARGET);
    series.extend(recorded::series(&scrapes[20..], start_ms, &OTHER_TARGET));
    series
}

/// node_exporter has no histogram: how long its collectors took makes one.
fn with_histogram(scrapes: &[Exposed]) -> Vec<Exposed> {
    const BOUNDS: [(&str, f64); 5] =
        [("0.0001", 0.0001), ("0.0005", 0.0005), ("0.002", 0.002), ("0.01", 0.01), ("+Inf", f64::INFINITY)];
    let mut counts = [0.0; BOUNDS.len()];
    let mut with_histogram = Vec::new();
    for scrape in scrapes {
        let mut scrape = scrape.clone();
        let is_duration = |name: &str| name == "node_scrape_collector_duration_seconds";
        for (_, seconds) in scrape.samples.iter().filter(|(labels, _)| is_duration(&labels["__name__"])) {
            for (count, (_, bound)) in counts.iter_mut().zip(BOUNDS) {
                *count += f64::from(u8::from(*seconds <= bound));
            }
        }
        let name = "collector_seconds_bucket";
        for (count, (bound, _)) in counts.iter().zip(BOUNDS) {
            let labels = [("__name__", name), ("le", bound)].map(|(n, v)| (n.to_owned(), v.to_owned()));
            scrape.samples.push((labels.into(), *count));
        }
        scrape.types.insert(name.to_owned(), "counter".to_owned());
        with_histogram.push(scrape);
    }
    with_histogram
}

fn metrics(series: &Series) -> Vec<Metric> {
    let mut metrics: BTreeMap<&str, Metric> = BTreeMap::new();
    for labels in series.keys() {
        let name = &labels["__name__"];
        let metric =
            metrics.entry(name).or_insert_with(|| Metric { name: name.clone(), ..Metric::default() });
        for (label, value) in labels.iter().filter(|(label, _)| *label != "__name__") {
            metric.labels.entry(label.clone()).or_default().insert(value.clone());
        }
    }
    metrics.into_values().collect()
}

/// Each example differs, and for its own reason.
fn every_known_difference_is_one(both: &SideBySide, start_ms: i64) {
    let start_ms = start_ms + ASKED_AFTER_MS;
    let when =
        When::Range { start_ms, end_ms: start_ms + SCRAPES as i64 * SCRAPE_INTERVAL_MS, step_ms: 60_000 };
    for known in &KNOWN {
        let tree = parse(known.example, &ParseOptions::default()).unwrap();
        let (expected, found) = both.ask(known.example, when);
        assert!(answers::disagreement(&expected, &found).is_some(), "no difference: {}", known.example);
        let reasons = explain(both, &tree, when, (expected, found)).unwrap();
        assert!(
            reasons.iter().all(|reason| reason.name == known.name),
            "{} is not for the reason that {}",
            known.example,
            known.reason
        );
    }
}
