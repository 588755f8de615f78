//! A dashboard shows the same from Icecore as from Prometheus: the same samples are written to both, and every
//! expression of Node Exporter Full gives the same labels and values.
//!
//! Samples are recorded scrapes of node_exporter, 15 s apart, with what happens to targets in life: a lost scrape
//! or two, a longer absence that ends in stale markers, a restart that resets the counters. Prometheus before 3.0 counts
//! the left edge of a window to it, so nothing is evaluated at a time on which a sample falls. No other difference is
//! excused: that 2.51 reordered how a counter's zero point bounds the extrapolation shows in none of these answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::answers::{self, Labels};
use super::exposition::{self, Exposed};
use super::programs::{Program, free_port, installed};
use crate::common::proto::{Message, V1_HEADERS, snappy, v1_request, v1_series};
use crate::common::{Server, now_ms, request, shared};

const SCRAPE_INTERVAL_MS: i64 = 15_000;
/// From a sample to the nearest time of evaluation.
const OFF_SAMPLES_MS: i64 = 7_000;
const WRITTEN_AT_ONCE_MS: i64 = 20 * 60_000;
const INSTANCE: &str = "host-0007:9100";
const JOB: &str = "node";

/// Scrapes that did not reach the target, while nobody noticed.
const LOST: std::ops::Range<usize> = 60..63;
/// Scrapes that failed: the first one wrote stale markers.
const DOWN: std::ops::Range<usize> = 90..115;
/// From this scrape on the counters start anew.
const RESTARTED: usize = 150;

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

#[test]
fn every_expression_of_node_exporter_full_answers_as_prometheus_does() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(pack) = shared("tools/peerbench/data/scrapes.zst") else { return };
    let Some(corpus) = shared("corpus/node-exporter-full-exprs.txt") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_prometheus, reference) = start_prometheus(prometheus, dir.path());
    let icecore = Server::start(&[]);

    let scrapes = recorded_scrapes(&pack, if crate::full() { 400 } else { 200 });
    let start_ms = (now_ms() / SCRAPE_INTERVAL_MS - scrapes.len() as i64 - 20) * SCRAPE_INTERVAL_MS;
    write_to_both(&[&reference, &icecore.url], &series(&scrapes, start_ms));

    let end_ms = start_ms + scrapes.len() as i64 * SCRAPE_INTERVAL_MS + 360_000;
    let first_ms = start_ms + OFF_SAMPLES_MS;
    let moments = [0, 3, 64, 91, 117, 152].map(|scrape| first_ms + scrape * SCRAPE_INTERVAL_MS);
    let mut differences = Vec::new();
    let mut empty = 0;
    let expressions = expressions(&corpus);
    for expr in &expressions {
        let ask = |url: &str| answers::range(url, expr, first_ms, end_ms, 2 * SCRAPE_INTERVAL_MS);
        let expected = ask(&reference);
        empty += usize::from(expected.is_empty());
        let mut different = answers::difference(&expected, &ask(&icecore.url));
        for moment in moments {
            let ask = |url: &str| answers::instant(url, expr, moment);
            different = different.or_else(|| answers::difference(&ask(&reference), &ask(&icecore.url)));
        }
        differences.extend(different.map(|different| format!("{expr}\n    {different}")));
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    println!(
        "{} expressions, {empty} of them without an answer on this machine's metrics",
        expressions.len()
    );
    assert!(empty * 2 < expressions.len(), "{empty} of {} say nothing about these data", expressions.len());
}

fn start_prometheus(path: PathBuf, dir: &Path) -> (Program, String) {
    std::fs::write(dir.join("prometheus.yml"), "global: {}\n").unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address={}", url.trim_start_matches("http://")),
        "--web.enable-remote-write-receiver".to_owned(),
    ];
    let mut program = Program::start(&path, &arguments, dir.join("log"));
    program.ready(&format!("{url}/-/ready"));
    (program, url)
}

fn recorded_scrapes(pack: &Path, count: usize) -> Vec<Exposed> {
    let pack = std::fs::File::open(pack).unwrap();
    let mut decoder = zstd::Decoder::new(pack).unwrap();
    decoder.window_log_max(27).unwrap();
    let text = std::io::read_to_string(decoder).unwrap();
    let files = text.split("==> ").filter(|file| file.starts_with("node-"));
    let scrapes = files.map(|file| exposition::parse(file.split_once(" <==\n").unwrap().1));
    scrapes.take(count).collect()
}

/// Every series with its samples, as a scraper that met all the mishaps would have written them.
fn series(scrapes: &[Exposed], start_ms: i64) -> BTreeMap<Labels, Vec<(i64, f64)>> {
    let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    let at_restart: BTreeMap<&Labels, f64> =
        scrapes[RESTARTED].samples.iter().map(|(labels, value)| (labels, *value)).collect();
    for (number, scrape) in scrapes.iter().enumerate() {
        if LOST.contains(&number) || DOWN.contains(&number) && number != DOWN.start {
            continue;
        }
        // Real scrapes are some milliseconds off their time.
        let time_ms = start_ms + number as i64 * SCRAPE_INTERVAL_MS + (number as i64 * 7) % 11;
        for (labels, value) in &scrape.samples {
            let is_counter = scrape.types.get(&labels["__name__"]).is_some_and(|kind| kind == "counter");
            let value = match () {
                () if number == DOWN.start => f64::from_bits(STALE_NAN),
                () if is_counter && number >= RESTARTED => value - at_restart.get(labels).unwrap_or(&0.0),
                () => *value,
            };
            series.entry(labels.clone()).or_default().push((time_ms, value));
        }
    }
    series
}

fn write_to_both(urls: &[&str], series: &BTreeMap<Labels, Vec<(i64, f64)>>) {
    // In the order of time, because Prometheus refuses what is an hour behind its newest sample.
    let times = || series.values().flatten().map(|(time_ms, _)| time_ms / WRITTEN_AT_ONCE_MS);
    for window in times().min().unwrap()..=times().max().unwrap() {
        let series: Vec<_> = series.iter().filter_map(|series| series_within(series, window)).collect();
        for chunk in series.chunks(100) {
            let body = snappy(&v1_request(chunk));
            for url in urls {
                let answer = request("POST", &format!("{url}/api/v1/write"), &V1_HEADERS, body.clone());
                assert_eq!(answer.status, 204, "{url}: {}", answer.body);
            }
        }
    }
}

fn series_within((labels, samples): (&Labels, &Vec<(i64, f64)>), window: i64) -> Option<Message> {
    let samples: Vec<(i64, f64)> =
        samples.iter().copied().filter(|(time_ms, _)| time_ms / WRITTEN_AT_ONCE_MS == window).collect();
    let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut pairs: Vec<(&str, &str)> = own.chain([("instance", INSTANCE), ("job", JOB)]).collect();
    pairs.sort_unstable();
    (!samples.is_empty()).then(|| v1_series(&pairs, &samples))
}

/// The corpus with its variables filled; expressions of several lines stand as JSON strings.
fn expressions(corpus: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(corpus).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let expressions = lines.map(|line| match line.starts_with('"') {
        true => serde_json::from_str(line).unwrap(),
        false => line.to_owned(),
    });
    let variables = [("$node", INSTANCE), ("$job", JOB), ("$__rate_interval", "1m")];
    expressions
        .map(|expr: String| variables.iter().fold(expr, |expr, (name, value)| expr.replace(name, value)))
        .collect()
}
