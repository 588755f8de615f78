//! Every expression of the corpora of dashboards and rules answers as Prometheus does, over made-up series.
//!
//! Samples lie 3 s (and up to 10 ms) after a multiple of 15 s and moments of evaluation 7 s after one, so that no edge
//! of a window falls on a sample: Prometheus before 3.0 counts the left one to it.
//!
//! All take minutes: a share of them is asked, and all with `ICECORE_FULL=1`.

use super::answers::When;
use super::programs::installed;
use super::recorded::{SCRAPE_INTERVAL_MS, Series};
use super::side_by_side::SideBySide;
use super::tally::Tally;
use crate::common::{now_ms, shared};
use crate::corpus;

const SAMPLES_AFTER_MS: i64 = 3_000;
const ASKED_AFTER_MS: i64 = 7_000;
const ONE_OF: usize = 8;

#[test]
fn every_expression_of_the_corpora_answers_as_prometheus_does() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(folder) = shared("corpus") else { return };
    let both = SideBySide::start(prometheus, &[]);
    let one_of = if crate::full() { 1 } else { ONE_OF };
    let files = corpus::FILES.map(|file| {
        let expressions = corpus::expressions(&folder.join(file)).into_iter().step_by(one_of);
        (file, expressions.collect::<Vec<_>>())
    });
    let start_ms = (now_ms() / 3_600_000 - 2) * 3_600_000;
    let series = samples(corpus::series(files.iter().flat_map(|(_, expressions)| expressions)), start_ms);
    both.write(&series);

    let mut wrong = Vec::new();
    let (mut asked, mut answered, mut refused) = (0, 0, 0);
    for (file, expressions) in &files {
        let mut tally = Tally::default();
        for expr in expressions {
            for when in moments(start_ms) {
                tally.count(&both, expr, when);
            }
        }
        println!("{file}: {} expressions, {tally:?}", expressions.len());
        asked += tally.asked;
        answered += tally.answered;
        refused += tally.refused;
        wrong.append(&mut tally.unexplained);
    }
    println!("{} series; {answered} of {asked} answers say something, {refused} are refusals", series.len());
    assert!(wrong.is_empty(), "{} unexplained:\n{}", wrong.len(), wrong.join("\n"));
    assert!(answered * 4 > asked * 3 && refused * 25 < asked, "{answered} and {refused} of {asked}");
}

/// One range up to when the last sample has left the lookback, and two instants, one soon after the counters' restart.
fn moments(start_ms: i64) -> [When; 3] {
    let at = |scrape: i64| start_ms + scrape * SCRAPE_INTERVAL_MS + ASKED_AFTER_MS;
    let range = When::Range { start_ms: at(90), end_ms: at(265), step_ms: 17 * SCRAPE_INTERVAL_MS };
    [range, When::Instant(at(61)), When::Instant(at(172))]
}

fn samples(made_up: corpus::MadeUp, start_ms: i64) -> Series {
    let time_ms = |scrape: usize| {
        start_ms + SAMPLES_AFTER_MS + scrape as i64 * SCRAPE_INTERVAL_MS + (scrape * 7 % 11) as i64
    };
    let series = made_up.into_iter().map(|(labels, values)| {
        let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let values = values.into_iter().enumerate();
        (labels, values.filter_map(|(scrape, value)| Some((time_ms(scrape), value?))).collect())
    });
    series.collect()
}
