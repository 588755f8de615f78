//! A year of twenty series: brought in, merged, rolled up, and asked for at every zoom.

use icecore::model::Timestamp;
use icecore::model::time::{DAY, HOUR, MINUTE};

use crate::twins::{Asked, Server, named, points, tiers};

const FIRST: Timestamp = 20_000 * DAY;
const DAYS: i64 = 365;
const LAST: Timestamp = FIRST + DAYS * DAY;
const SERIES: i64 = 20;

/// Five minutes or ten.
fn gap_ms(series: i64) -> i64 {
    if series % 4 == 0 { 5 * MINUTE } else { 10 * MINUTE }
}

/// The times at which a series has samples, of those after one and up to another.
fn times(series: i64, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    let gap_ms = gap_ms(series);
    (after.div_euclid(gap_ms) + 1..=until.div_euclid(gap_ms)).map(move |step| step * gap_ms)
}

/// The value of a series at a time: a saw-tooth of whole numbers, so that sums have no rounding.
fn value(series: i64, time: Timestamp) -> f64 {
    let step = time / gap_ms(series);
    ((step * (7 + series) + step / 37) % 1_009) as f64
}

/// The maximum of a series over a window, from the generator.
fn max_of(series: i64, after: Timestamp, until: Timestamp) -> f64 {
    times(series, after, until).map(|time| value(series, time)).fold(f64::NEG_INFINITY, f64::max)
}

fn sum_of(series: i64, after: Timestamp, until: Timestamp) -> f64 {
    times(series, after, until).map(|time| value(series, time)).sum()
}

#[test]
fn a_year_is_answered_at_every_zoom_as_its_samples_would_be() {
    let server = Server::open(tiers(&[(0, 15), (MINUTE, 90), (5 * MINUTE, 400), (HOUR, 400)]));
    for day in 0..DAYS {
        let start = FIRST + day * DAY;
        for series in 0..SERIES {
            let of_day: Vec<_> =
                times(series, start, start + DAY).map(|time| (time, value(series, time))).collect();
            server.append(&named(&format!("series_{series}")), &of_day);
        }
        if day % 30 == 29 || day == DAYS - 1 {
            let now = FIRST + (day + 1) * DAY + 2 * HOUR;
            server.store.seal(now).unwrap();
            // An hour later, when nothing more has come.
            server.store.tidy(now + HOUR);
        }
    }
    for (span, window, window_ms, step_ms) in [
        (DAYS * DAY - DAY, "1d", DAY, DAY),
        (90 * DAY, "6h", 6 * HOUR, 6 * HOUR),
        (30 * DAY, "1h", HOUR, 2 * HOUR),
        (DAY, "10m", 10 * MINUTE, 10 * MINUTE),
    ] {
        let asked = Asked { start: LAST - span, end: LAST, step_ms, strict: true };
        for series in [0, 7, SERIES - 1] {
            for (function, expected) in
                [("max_over_time", max_of as fn(i64, i64, i64) -> f64), ("sum_over_time", sum_of)]
            {
                let question = format!("{function}(series_{series}[{window}])");
                let answer = points(&server.ask(&question, asked).unwrap());
                assert_eq!(answer.len() as i64, span / step_ms + 1, "{question}");
                for ((_, at), got) in answer {
                    assert_eq!(got, expected(series, at - window_ms, at), "{question} at {at}");
                }
            }
        }
    }
    let year = server.ask(
        "max(max_over_time(series_3[1d]))",
        Asked { start: FIRST + DAY, end: LAST, step_ms: DAY, strict: true },
    );
    let tiers = year.unwrap().stats.tiers;
    let resolutions: Vec<i64> = tiers.iter().map(|tier| tier.0).collect();
    assert_eq!(resolutions, [HOUR], "the coarsest tier says it all");
}
