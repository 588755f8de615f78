//! A dashboard shows the same from Icecore as from Prometheus: the same samples are written to both, and every
//! expression of Node Exporter Full gives the same labels and values.
//!
//! Prometheus before 3.0 counts the left edge of a window to it, so nothing is evaluated at a time on which a sample
//! falls. No other difference is excused: that 2.51 reordered how a counter's zero point bounds the extrapolation
//! shows in none of these answers.

use std::path::Path;

use super::answers::{self, When};
use super::programs::installed;
use super::recorded::{self, JOB, SCRAPE_INTERVAL_MS, TARGET};
use super::side_by_side::SideBySide;
use crate::common::{now_ms, shared};

/// From a sample to the nearest time of evaluation.
const OFF_SAMPLES_MS: i64 = 7_000;

#[test]
fn every_expression_of_node_exporter_full_answers_as_prometheus_does() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(pack) = shared("tools/peerbench/data/scrapes.zst") else { return };
    let Some(corpus) = shared("corpus/node-exporter-full-exprs.txt") else { return };
    let both = SideBySide::start(prometheus, &[]);
    let scrapes = recorded::scrapes(&pack, if crate::full() { 400 } else { 200 });
    let start_ms = (now_ms() / SCRAPE_INTERVAL_MS - scrapes.len() as i64 - 20) * SCRAPE_INTERVAL_MS;
    both.write(&recorded::series(&scrapes, start_ms, &TARGET));

    let end_ms = start_ms + scrapes.len() as i64 * SCRAPE_INTERVAL_MS + 360_000;
    let first_ms = start_ms + OFF_SAMPLES_MS;
    let whole = When::Range { start_ms: first_ms, end_ms, step_ms: 2 * SCRAPE_INTERVAL_MS };
    let moments =
        [0, 3, 64, 91, 117, 152].map(|scrape| When::Instant(first_ms + scrape * SCRAPE_INTERVAL_MS));
    let mut differences = Vec::new();
    let mut empty = 0;
    let expressions = expressions(&corpus);
    for expr in &expressions {
        for when in [whole].into_iter().chain(moments) {
            let (expected, found) = both.ask(expr, when);
            let expected = expected.unwrap_or_else(|refusal| panic!("{expr}: {refusal}"));
            empty += usize::from(when == whole && expected.is_empty());
            if let Some(different) = answers::disagreement(&Ok(expected), &found) {
                differences.push(format!("{expr}\n    {different}"));
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    println!(
        "{} expressions, {empty} of them without an answer on this machine's metrics",
        expressions.len()
    );
    assert!(empty * 2 < expressions.len(), "{empty} of {} say nothing about these data", expressions.len());
}

/// The corpus with its variables filled; expressions of several lines stand as JSON strings.
fn expressions(corpus: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(corpus).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let expressions = lines.map(|line| match line.starts_with('"') {
        true => serde_json::from_str(line).unwrap(),
        false => line.to_owned(),
    });
    let variables = [("$node", TARGET.instance), ("$job", JOB), ("$__rate_interval", "1m")];
    expressions
        .map(|expr: String| variables.iter().fold(expr, |expr, (name, value)| expr.replace(name, value)))
        .collect()
}
