//! Tiers as who asks sees them: answers from rollups are those from the samples, or say in what they are not.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod histograms;
mod series;
mod twins;
mod year;

use icecore::model::Timestamp;
use icecore::model::time::{DAY, HOUR, MINUTE, SECOND};
use icecore::query::QueryError;

use series::{FIRST, KINDS, LAST};
use twins::{Asked, Twins};

/// Functions that states tell exactly, and what of their answers: to the bit, or but for the rounding of sums.
const EXACT: [&str; 13] = [
    "count_over_time",
    "present_over_time",
    "min_over_time",
    "max_over_time",
    "first_over_time",
    "last_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "resets",
    "changes",
    "increase",
    "delta",
    "rate",
];
const ROUNDED: [&str; 2] = ["sum_over_time", "avg_over_time"];
/// Functions that need the samples.
const OF_SAMPLES: [&str; 5] = ["irate", "idelta", "deriv", "stddev_over_time", "mad_over_time"];

fn over(function: &str, kind: &str, range: &str) -> String {
    format!("{function}({kind}[{range}])")
}

fn range(start: Timestamp, end: Timestamp, step_ms: i64) -> Asked {
    Asked { start, end, step_ms, strict: false }
}

#[test]
fn aligned_windows_are_those_of_the_samples() {
    let twins = Twins::rolled_up();
    for kind in KINDS {
        for (window, step) in [("1h", 3 * HOUR), ("25m", 4 * HOUR + 5 * MINUTE), ("1d", DAY / 2)] {
            let asked = range(FIRST + HOUR, LAST, step);
            for function in EXACT {
                // What was lost in resets is a sum, too.
                let is_sum = kind == "gauge" && matches!(function, "increase" | "rate");
                let tolerance = if is_sum { 1e-12 } else { 0.0 };
                twins.assert_same(&over(function, kind, window), asked, tolerance);
            }
            for function in ROUNDED.iter().filter(|_| !kind.ends_with("_total")) {
                twins.assert_same(&over(function, kind, window), asked, 1e-12);
            }
        }
        twins.assert_same(kind, range(FIRST, LAST, 35 * MINUTE), 0.0);
        twins.assert_same(&format!("{kind} offset 5m"), range(FIRST + HOUR, LAST, 2 * HOUR), 0.0);
        twins.assert_same(
            &format!("max_over_time(rate({kind}[10m])[2h:5m])"),
            range(FIRST + DAY, LAST, 6 * HOUR),
            1e-12,
        );
    }
}

#[test]
fn other_windows_are_rounded_to_buckets_and_say_so() {
    let twins = Twins::rolled_up();
    for kind in KINDS {
        let asked = range(FIRST + DAY + 7 * SECOND, LAST, 5 * HOUR + 13 * SECOND);
        let question = over("count_over_time", kind, "2h");
        let (rolled, sent) =
            (twins.rolled.ask(&question, asked).unwrap(), twins.sent.ask(&question, asked).unwrap());
        assert!(rolled.infos.iter().any(|info| info.contains("5m rollups only")), "{:?}", rolled.infos);
        // Twenty seconds between samples, and five minutes at each edge.
        for (at, expected) in twins::points(&sent) {
            let got = twins::points(&rolled).get(&at).copied().unwrap_or(0.0);
            assert!((got - expected).abs() <= 32.0, "{kind} at {at:?}: {got}, of samples {expected}");
        }
    }
}

#[test]
fn what_states_do_not_tell_is_approximated_with_a_warning_or_refused() {
    let twins = Twins::rolled_up();
    let asked = range(FIRST + DAY, FIRST + 3 * DAY, HOUR);
    for function in OF_SAMPLES {
        let question = over(function, "gauge", "1h");
        let answer = twins.rolled.ask(&question, asked).unwrap();
        let expected = format!("{function} is approximated where samples are kept as 5m rollups only");
        assert!(answer.warnings.iter().any(|w| w.contains(&expected)), "{function}: {:?}", answer.warnings);
        assert!(!twins::points(&answer).is_empty(), "{function} answers all the same");
        let refused = twins.rolled.ask(&question, Asked { strict: true, ..asked });
        assert!(
            matches!(&refused, Err(QueryError::Execution(text)) if text.contains(&expected)),
            "{refused:?}"
        );
    }
    let sums = twins.rolled.ask(&over("sum_over_time", "counter_total", "1h"), asked).unwrap();
    assert!(sums.warnings.iter().any(|w| w.contains("sum_over_time is approximated")), "{:?}", sums.warnings);
}

#[test]
fn windows_too_narrow_for_what_is_left_are_widened_and_say_so() {
    let twins = Twins::rolled_up();
    let asked = range(FIRST + DAY, FIRST + 2 * DAY, HOUR);
    let narrow = twins.rolled.ask(&over("rate", "steady_total", "1m"), asked).unwrap();
    assert!(narrow.warnings.iter().any(|w| w.contains("widened to 10m")), "{:?}", narrow.warnings);
    let wide = twins::points(&twins.sent.ask(&over("rate", "steady_total", "10m"), asked).unwrap());
    assert!(!wide.is_empty());
    for (at, rate) in twins::points(&narrow) {
        assert!((rate / wide[&at] - 1.0).abs() < 0.2, "{at:?}: {rate} instead of {}", wide[&at]);
    }
}

#[test]
fn statistics_tell_what_was_read_of_which_tier() {
    let twins = Twins::rolled_up();
    let tiers = |question: &str, asked| twins.rolled.ask(question, asked).unwrap().stats.tiers;
    let whole = tiers("max_over_time(gauge[1h])", range(FIRST + HOUR, LAST, HOUR));
    let resolutions: Vec<i64> = whole.iter().map(|tier| tier.0).collect();
    assert_eq!(resolutions, [0, HOUR], "the last day is as sent, what can be is coarse");
    let of_minutes = tiers("max_over_time(gauge[55m])", range(FIRST + HOUR, LAST, 35 * MINUTE));
    let resolutions: Vec<i64> = of_minutes.iter().map(|tier| tier.0).collect();
    assert_eq!(resolutions, [0, 5 * MINUTE], "no window cuts through a bucket");
    let to_the_second = tiers("max_over_time(gauge[1h])", range(FIRST + HOUR + 1_000, LAST, HOUR));
    let resolutions: Vec<i64> = to_the_second.iter().map(|tier| tier.0).collect();
    assert_eq!(resolutions, [0, MINUTE, 5 * MINUTE], "the finest that there is");
}

#[test]
fn late_samples_are_in_the_answers_at_once_and_in_rollups_later() {
    let twins = Twins::new();
    // In a day that is rolled up and whose samples are still there.
    let late: Vec<_> = (0..50).map(|i| (LAST - DAY - 5 * HOUR + i * 7_000, 1_000.0 + i as f64)).collect();
    twins.append("gauge", &late);
    let asked = range(FIRST + HOUR, LAST, HOUR);
    let check = |when: &str| {
        for function in ["max_over_time", "count_over_time", "changes", "sum_over_time"] {
            let tolerance = if function == "sum_over_time" { 1e-12 } else { 0.0 };
            twins.assert_same(&over(function, "gauge", "1h"), asked, tolerance);
        }
        eprintln!("the same {when}");
    };
    check("in memory");
    twins.seal();
    check("sealed");
    twins.compact();
    check("rolled up anew");
}

#[test]
fn what_threads_read_ahead_is_what_one_reads() {
    // Enough of them that series are read by threads, of samples and of states of minutes.
    const SERIES: i64 = 64;
    const STEP_MS: i64 = 40 * SECOND;
    let days = 6;
    let sent = twins::Server::open(twins::tiers(&[(0, 400)]));
    let rolled = twins::Server::open(twins::tiers(&[(0, 1), (MINUTE, 400)]));
    for series in 0..SERIES {
        let value = |at: i64| ((at / STEP_MS * (series + 1)) % (977 + series)) as f64;
        let samples: Vec<_> =
            (1..=days * DAY / STEP_MS).map(|i| (FIRST + i * STEP_MS, value(FIRST + i * STEP_MS))).collect();
        [&sent, &rolled].iter().for_each(|server| server.append(&twins::numbered("many", series), &samples));
    }
    for server in [&sent, &rolled] {
        server.store.seal(FIRST + days * DAY).unwrap();
        server.store.tidy(FIRST + days * DAY + 2 * HOUR);
    }
    let asked = range(FIRST + HOUR, FIRST + days * DAY, HOUR);
    for function in ["max_over_time(many{}[1h])", "rate(many{}[1h])", "many{}"] {
        for server in [&sent, &rolled] {
            let all = twins::points(&server.ask(&function.replace("{}", ""), asked).unwrap());
            for series in 0..SERIES {
                let one = function.replace("{}", &format!("{{number=\"{series}\"}}"));
                let one = twins::points(&server.ask(&one, asked).unwrap());
                assert_eq!(one.len() as i64, days * DAY / HOUR, "{function} of {series}");
                one.iter().for_each(|(at, value)| assert_eq!(all[at], *value, "{function} at {at:?}"));
            }
            let total = server.ask(&format!("sum({})", function.replace("{}", "")), asked).unwrap();
            let again = server.ask(&format!("sum({})", function.replace("{}", "")), asked).unwrap();
            assert_eq!(twins::points(&total), twins::points(&again), "to the last bit");
        }
    }
}
