//! The queries of Prometheus's compliance tests, over the metrics of its demo service made up.
//!
//! Samples and moments of evaluation keep off one another as in `differential.rs`, to within a second: the shortest
//! window is that long.

use super::answers::{Labels, When};
use super::programs::installed;
use super::recorded::Series;
use super::side_by_side::SideBySide;
use super::tally::Tally;
use crate::common::{now_ms, shared};

const SCRAPE_INTERVAL_MS: i64 = 5_000;
/// The longest window is an hour; half an hour is asked for.
const SCRAPES: i64 = 90 * 12;
/// By 2.42: those of a bad regex, of bad label names, of equal results, and of a selector that would take everything.
const REFUSED: usize = 5;

#[test]
fn every_compliance_query_answers_as_prometheus_does() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(queries) = shared("corpus/compliance/queries_expanded.txt") else { return };
    let both = SideBySide::start(prometheus, &[]);
    let start_ms = (now_ms() / 60_000 - 120) * 60_000;
    both.write(&demo_series(start_ms + 3_000));

    let end_ms = start_ms + SCRAPES * SCRAPE_INTERVAL_MS + 1_500;
    let when = When::Range { start_ms: end_ms - 30 * 60_000, end_ms, step_ms: 60_000 };
    let mut tally = Tally::default();
    for expr in std::fs::read_to_string(queries).unwrap().lines() {
        tally.count(&both, expr, when);
    }
    let unexplained = &tally.unexplained;
    assert!(unexplained.is_empty(), "{} of {}:\n{}", unexplained.len(), tally.asked, unexplained.join("\n"));
    assert_eq!(tally.refused, REFUSED);
    assert!(tally.answered * 5 > tally.asked * 4, "{} of {} say something", tally.answered, tally.asked);
}

/// What three targets of the demo service expose, as far as the queries ask for it.
fn demo_series(start_ms: i64) -> Series {
    let mut series = Series::new();
    for (target, port) in ["10000", "10001", "10002"].into_iter().enumerate() {
        let seed = target as f64;
        let mut add = |name: &str, extra: &[(&str, &str)], value: &dyn Fn(f64) -> Option<f64>| {
            let instance = format!("demo.promlabs.com:{port}");
            let own = [("__name__", name), ("instance", &instance), ("job", "demo")];
            let labels: Labels =
                own.iter().chain(extra).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let samples = (0..SCRAPES).filter_map(|scrape| {
                Some((start_ms + scrape * SCRAPE_INTERVAL_MS + scrape % 7, value(scrape as f64)?))
            });
            series.insert(labels, samples.collect());
        };
        for (i, kind) in ["buffers", "cached", "free", "used"].into_iter().enumerate() {
            let level = 1e9 * (i as f64 + 1.0 + seed / 8.0);
            add("demo_memory_usage_bytes", &[("type", kind)], &|scrape| {
                Some((level + 1e8 * (scrape / 20.0 + level).sin()).floor())
            });
        }
        for (i, mode) in ["idle", "system", "user"].into_iter().enumerate() {
            let slope = 0.3 * (i as f64 + 1.0) + seed / 10.0;
            // A restart in the middle.
            add("demo_cpu_usage_seconds_total", &[("mode", mode)], &|scrape| {
                Some(slope * if scrape < 700.0 { 9_000.0 + scrape } else { scrape - 700.0 })
            });
        }
        add("demo_num_cpus", &[], &|_| Some(4.0));
        add("demo_disk_usage_bytes", &[], &|scrape| Some(5e10 + scrape * 1e6 * (1.0 + seed)));
        add("demo_disk_total_bytes", &[], &|_| Some(2e11));
        add("demo_batch_last_success_timestamp_seconds", &[], &|scrape| {
            Some((start_ms / 1_000) as f64 + (scrape / 60.0).floor() * 300.0)
        });
        add("demo_intermittent_metric", &[], &|scrape| {
            ((scrape / 90.0) as i64 % 2 == 0).then_some(1.0 + seed)
        });
        for (path, status) in [("/api/foo", "200"), ("/api/foo", "500"), ("/api/bar", "200")] {
            for (i, bound) in ["0.001", "0.01", "0.1", "1", "+Inf"].into_iter().enumerate() {
                let name = "demo_api_request_duration_seconds_bucket";
                let labels = [("path", path), ("status", status), ("method", "GET"), ("le", bound)];
                let slope = (i as f64 + 1.0) * (1.0 + seed);
                add(name, &labels, &|scrape| Some((slope * scrape).floor()));
            }
        }
    }
    series
}
