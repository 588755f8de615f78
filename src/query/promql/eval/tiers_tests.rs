//! The choice of tiers as a table.

use super::*;
use crate::model::time::{DAY, HOUR, MINUTE};
use crate::query::promql::functions_table::FUNCTIONS;

const SUM: Need = Need::States("sum_over_time", Columns::SUM);
const SAMPLES: Need = Need::Samples("irate");

fn look(start: Timestamp, step_ms: i64, range_ms: i64) -> Look {
    let grid = Grid::between(start, start + 10 * step_ms.max(1), step_ms.max(1));
    let grid = if step_ms == 0 { Grid::instant(start) } else { grid };
    let time = DataTime::default();
    Look { grid, time, range_ms, covered: time.covered(&grid, range_ms, 0) }
}

/// Day 1 is kept as 5 m, day 2 as 1 m and 5 m, day 3 as everything.
fn stretches() -> Vec<Stretch> {
    let day = |n: i64, resolutions: &[i64]| Stretch {
        range: TimeRange { after: (n - 1) * DAY, until: n * DAY },
        resolutions: resolutions.to_vec(),
    };
    vec![day(1, &[5 * MINUTE]), day(2, &[MINUTE, 5 * MINUTE]), day(3, &[0, MINUTE, 5 * MINUTE]), day(4, &[0])]
}

/// The resolution of each day, in minutes, and the shortfall.
fn chosen(need: Need, look: Look) -> (Vec<i64>, Option<Shortfall>) {
    let Some(tiers) = plan(&stretches(), need, &look) else { return (vec![0; 4], None) };
    let resolutions = tiers.plan.readings.iter().map(|reading| reading.resolution / MINUTE);
    (resolutions.collect(), tiers.shortfall)
}

#[test]
fn a_tier_is_chosen_by_function_and_by_where_windows_begin_and_end() {
    let five = 5 * MINUTE;
    let unaligned = Some(Shortfall::Unaligned { resolution_ms: five });
    let approximate = Some(Shortfall::Approximate { function: "irate", resolution_ms: five });
    let widened = |range_ms| Some(Shortfall::Widened { range_ms, resolution_ms: five });
    type Case = (&'static str, Need, Look, [i64; 4], Option<Shortfall>);
    let table: [Case; 9] = [
        ("all edges are multiples of 5 m", SUM, look(DAY, HOUR, HOUR), [5, 5, 5, 0], None),
        ("multiples of 1 m only", SUM, look(DAY + MINUTE, HOUR, HOUR), [5, 1, 1, 0], unaligned),
        ("a range of 7 m", SUM, look(DAY, HOUR, 7 * MINUTE), [5, 1, 1, 0], widened(7 * MINUTE)),
        ("a range of one bucket", SUM, look(DAY, HOUR, five), [5, 5, 5, 0], None),
        ("seconds", SUM, look(DAY + 1_000, HOUR, HOUR), [5, 1, 0, 0], unaligned),
        ("a step of 90 s", SUM, look(DAY, 90_000, HOUR), [5, 1, 0, 0], unaligned),
        ("one step may stand anywhere", SUM, look(DAY + five, 0, HOUR), [5, 5, 5, 0], None),
        ("a function of samples", SAMPLES, look(DAY, HOUR, HOUR), [5, 1, 0, 0], approximate),
        ("an instant selector", Need::NEWEST, look(DAY, HOUR, 0), [5, 5, 5, 0], None),
    ];
    for (what, need, look, resolutions, shortfall) in table {
        assert_eq!(chosen(need, look), (resolutions.to_vec(), shortfall), "{what}");
    }
}

#[test]
fn an_offset_and_a_pinned_time_move_the_edges() {
    let mut moved = look(DAY, HOUR, HOUR);
    moved.time.offset_ms = 1_000;
    assert_eq!(chosen(SUM, moved).0, [5, 1, 0, 0]);
    let mut pinned = look(DAY + 1_000, 1_000, HOUR);
    pinned.time.pinned = Some(DAY + 10 * MINUTE);
    assert_eq!(chosen(SUM, pinned).0, [5, 5, 5, 0]);
}

#[test]
fn what_is_all_as_sent_needs_no_plan() {
    let sent = [Stretch { range: TimeRange::ALL, resolutions: vec![0] }];
    assert_eq!(plan(&sent, SUM, &look(DAY, HOUR, HOUR)), None);
    let unaligned = look(DAY + 1, HOUR, HOUR);
    assert_eq!(plan(&stretches()[2..], SUM, &unaligned), None, "raw is there and nothing else is exact");
}

#[test]
fn a_series_without_the_columns_is_read_from_the_finest_tier() {
    let tiers = plan(&stretches(), SUM, &look(DAY, HOUR, HOUR)).unwrap();
    let fallbacks: Vec<_> = tiers.plan.readings.iter().map(|reading| reading.fallback).collect();
    assert_eq!(fallbacks, [None, Some(MINUTE), Some(0), None]);
}

#[test]
fn windows_end_with_buckets_where_only_those_are_left() {
    let minutes = |range: TimeRange| (range.after / MINUTE, range.until / MINUTE);
    let tiers = plan(&stretches(), SUM, &look(DAY + 1_000, HOUR, HOUR)).unwrap();
    // In the day that is kept as 5 m.
    assert_eq!(minutes(tiers.window(HOUR + 3 * MINUTE, 20 * MINUTE)), (40, 60));
    assert_eq!(minutes(tiers.window(HOUR + 3 * MINUTE, 7 * MINUTE)), (50, 60), "widened to two buckets");
    assert_eq!(minutes(tiers.window(HOUR, 5 * MINUTE)), (55, 60), "a whole bucket is a whole window");
    // As sent: to the millisecond.
    let until = 2 * DAY + HOUR + 1_234;
    assert_eq!(tiers.window(until, MINUTE), TimeRange { after: until - MINUTE, until });
}

#[test]
fn each_function_with_a_need_of_states_has_a_form_for_them() {
    let of = super::super::bucket_window::bucket_function;
    for signature in &FUNCTIONS {
        let function = signature.function;
        assert_eq!(state_columns(function).is_some(), of(function).is_some(), "{}", signature.name);
    }
}
