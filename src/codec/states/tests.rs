//! Any states come back as they were, sums as far as is promised; foreign bytes are an error at worst.

use proptest::prelude::*;

use super::*;
use crate::model::Timestamp;
use crate::model::metrics::stale_marker;
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets, TimesPart};

const MINUTE: i64 = 60_000;

fn times_of(buckets: &FloatBuckets) -> BucketTimes {
    BucketTimes {
        ends: buckets.ends.to_vec(),
        counts: buckets.counts.to_vec(),
        firsts: buckets.first_times.to_vec(),
        lasts: buckets.last_times.to_vec(),
        stale_at: buckets.stale_at.to_vec(),
    }
}

fn part_of(times: &BucketTimes, rows: std::ops::Range<usize>) -> TimesPart {
    TimesPart { times: times.clone().into(), rows }
}

pub(super) fn folded(values: impl IntoIterator<Item = f64>, step_ms: i64) -> FloatBuckets {
    let (times, values): (Vec<Timestamp>, Vec<f64>) = (1..).map(|i| i * step_ms).zip(values).unzip();
    let mut buckets = FloatBuckets::new(Columns::ALL);
    buckets.fold(&times, &values, MINUTE);
    buckets
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0u64..9, 1 => any::<u64>(), 1 => prop::sample::select(vec![u64::MAX, 1 << 63])]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (0i32..50).prop_map(f64::from),
        8 => (-1000i32..1000).prop_map(|v| f64::from(v) / 100.0),
        2 => any::<u64>().prop_map(f64::from_bits),
        2 => prop::sample::select(vec![0.0, -0.0, 1e15, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        1 => Just(stale_marker()),
    ]
}

/// Series of one kind, with strangers here and there.
pub(super) fn series() -> impl Strategy<Value = Vec<f64>> {
    let steps = prop::collection::vec(0u32..30, 0..400);
    let counter = steps.clone().prop_map(|steps| {
        let mut total = 0.0;
        let mut next = |step| {
            total = if step == 29 { 0.0 } else { total + f64::from(step) };
            total
        };
        steps.into_iter().map(&mut next).collect::<Vec<f64>>()
    });
    let gauge =
        steps.clone().prop_map(|steps| steps.into_iter().map(|v| 20.0 + f64::from(v) / 8.0).collect());
    let ratio = steps.prop_map(|steps| steps.into_iter().map(|v| (f64::from(v) + 0.1).sqrt()).collect());
    let pages = prop::collection::vec(0u32..9, 0..400)
        .prop_map(|v| v.into_iter().map(|v| 1e9 + f64::from(v) * 4096.0).collect());
    let wild = prop::collection::vec(value(), 0..400);
    let strangers = prop::collection::vec((any::<prop::sample::Index>(), value()), 0..4);
    (prop_oneof![counter, gauge, ratio, pages, wild], strangers).prop_map(
        |(mut values, strangers): (Vec<f64>, _)| {
            for (at, value) in strangers {
                if !values.is_empty() {
                    let at = at.index(values.len());
                    values[at] = value;
                }
            }
            values
        },
    )
}

pub(super) fn columns() -> impl Strategy<Value = Columns> {
    prop_oneof![
        Just(Columns::ALL),
        Just(Columns::COUNTER),
        Just(Columns::GAUGE),
        (0..512u16).prop_map(Columns),
        // Without those of which all buckets are unpacked.
        (0..64u16).prop_map(Columns)
    ]
}

/// Bits of all but the sums, which must be near.
#[track_caller]
fn assert_same(found: &FloatBuckets, expected: &FloatBuckets) {
    let mut apart = [found.clone(), expected.clone()];
    for buckets in &mut apart {
        buckets.narrow(Columns::ALL.difference(Columns::SUM));
        for row in 0..buckets.len() {
            // Of a bucket without samples the rest means nothing.
            if buckets.counts[row] == 0 {
                let columns = [&mut buckets.mins, &mut buckets.maxs, &mut buckets.firsts, &mut buckets.lasts];
                columns.into_iter().filter_map(|column| column.get_mut(row)).for_each(|value| *value = 0.0);
            }
        }
    }
    let bits = |buckets: &FloatBuckets| {
        let columns = [&buckets.mins, &buckets.maxs, &buckets.firsts, &buckets.lasts, &buckets.lost];
        columns.map(|column| column.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    assert_eq!(bits(&apart[0]), bits(&apart[1]));
    let [found_rest, expected_rest] = apart.each_ref().map(|b| {
        (b.has, &b.ends, &b.counts, &b.first_times, &b.last_times, &b.resets, &b.changes, &b.stale_at)
    });
    assert_eq!(found_rest, expected_rest);
    assert_eq!(found.sums.len(), expected.sums.len());
    for (row, (&found, &sum)) in found.sums.iter().zip(&expected.sums).enumerate() {
        let sizes = [expected.firsts.get(row), expected.lasts.get(row)];
        let size = sizes.into_iter().flatten().fold(sum.abs(), |size, v| size.max(v.abs()));
        let is_near = (found - sum).abs() <= size * 2f64.powi(-45);
        assert!(is_near || found.to_bits() == sum.to_bits(), "{found} instead of {sum}");
    }
}

/// The `wanted` columns of all buckets.
fn decoded(bytes: &[u8], times: &BucketTimes, wanted: Columns) -> Result<FloatBuckets, Malformed> {
    let mut found = FloatBuckets::new(Columns::ALL);
    decode_floats(bytes, &part_of(times, 0..times.len()), wanted, &mut found)?;
    Ok(found)
}

fn encoded(buckets: &FloatBuckets) -> Vec<u8> {
    encoded_in(buckets, Forms::Smallest)
}

fn encoded_in(buckets: &FloatBuckets, forms: Forms) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_floats(buckets, 0..buckets.len(), forms, &mut bytes);
    bytes
}

/// All that is held, spelled out.
fn spelled(buckets: &FloatBuckets) -> String {
    format!("{buckets:?}")
}

/// What can be told of these columns.
pub(super) fn told(has: Columns) -> Columns {
    let has = has.union(Columns::COUNT);
    if has.contains(Columns::RESETS) { has } else { has.difference(Columns::LOST) }
}

proptest! {
    #[test]
    fn any_states_come_back(
        values in series(),
        step_ms in 4_000i64..70_000,
        has in columns(),
        wanted in columns(),
        cut: prop::sample::Index,
    ) {
        let mut buckets = folded(values, step_ms);
        let times = times_of(&buckets);
        buckets.narrow(told(has));
        let quick = decoded(&encoded_in(&buckets, Forms::Quick), &times, Columns::ALL).unwrap();
        assert_same(&quick, &buckets);
        let bytes = encoded(&buckets);
        let all = decoded(&bytes, &times, Columns::ALL).unwrap();
        assert_same(&all, &buckets);
        let cut = cut.index(times.len() + 1);
        let mut parts = FloatBuckets::new(Columns::ALL);
        for rows in [0..cut / 2, cut / 2..cut, cut..times.len()] {
            decode_floats(&bytes, &part_of(&times, rows), Columns::ALL, &mut parts).unwrap();
        }
        assert_same(&parts, &all);
        for bytes in [&bytes, &encoded_in(&buckets, Forms::Quick)] {
            let some_rows = cut / 2..cut;
            let mut part = FloatBuckets::new(Columns::ALL);
            decode_floats(bytes, &part_of(&times, some_rows.clone()), wanted, &mut part).unwrap();
            assert_same(&part, &decoded(bytes, &times, wanted).unwrap().part(some_rows));
        }
        let some = decoded(&bytes, &times, wanted).unwrap();
        let mut expected = all;
        expected.narrow(wanted);
        assert_same(&some, &expected);
        let mut expected = quick;
        expected.narrow(wanted);
        assert_same(&decoded(&encoded_in(&buckets, Forms::Quick), &times, wanted).unwrap(), &expected);
    }

    #[test]
    fn any_times_come_back(values in series(), step_ms in 4_000i64..70_000) {
        let times = times_of(&folded(values, step_ms));
        for forms in [Forms::Smallest, Forms::Quick] {
            let mut bytes = Vec::new();
            times.encode(MINUTE, forms, &mut bytes);
            if !times.is_empty() {
                prop_assert_eq!(&BucketTimes::decode(&bytes, times.len(), MINUTE).unwrap(), &times);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_other_states(
        values in series(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        let buckets = folded(values, 7_000);
        let times = times_of(&buckets);
        let mut bytes = encoded(&buckets);
        prop_assert!(decoded(&bytes[..cut.index(bytes.len())], &times, Columns::ALL).is_err() || buckets.is_empty());
        let mut of_times = Vec::new();
        times.encode(MINUTE, Forms::Smallest, &mut of_times);
        for (at, byte) in damage {
            let place = at.index(bytes.len());
            bytes[place] ^= byte;
            let place = at.index(of_times.len());
            of_times[place] ^= byte;
        }
        if let Ok(found) = decoded(&bytes, &times, Columns::ALL) {
            assert_even(&found, times.len());
        }
        let mut behind = buckets.clone();
        match decode_floats(&bytes, &part_of(&times, 0..times.len()), Columns::ALL, &mut behind) {
            Ok(()) => assert_even(&behind, 2 * times.len()),
            Err(_) => prop_assert_eq!(spelled(&behind), spelled(&buckets)),
        }
        if let Ok(found) = BucketTimes::decode(&of_times, times.len(), MINUTE) {
            prop_assert!(found.ends.is_sorted_by(|a, b| a < b));
            let lens = [&found.firsts, &found.lasts, &found.stale_at].map(Vec::len);
            prop_assert_eq!(lens, [times.len(); 3]);
        }
    }

    #[test]
    fn noise_never_panics(bytes: Vec<u8>, counts in prop::collection::vec(count(), 0..300), wanted in columns()) {
        let count = counts.len();
        let times = BucketTimes {
            ends: vec![0; count],
            counts,
            firsts: vec![0; count],
            lasts: vec![0; count],
            stale_at: vec![0; count],
        };
        let _ = decoded(&bytes, &times, wanted);
        let _ = decode_histograms(&bytes, &times, wanted, 0..count, &mut HistogramBuckets::new(Columns::ALL));
        let _ = BucketTimes::decode(&bytes, count, MINUTE);
    }

    #[test]
    fn any_histogram_states_come_back(
        runs in prop::collection::vec(prop::collection::vec(histogram(), 1..20), 0..4),
        has in columns(),
        wanted in columns(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let values: Vec<_> = runs.into_iter().flatten().collect();
        let times: Vec<Timestamp> = (1..=values.len() as i64).map(|i| i * 17_000).collect();
        let mut buckets = HistogramBuckets::new(Columns::ALL);
        buckets.fold(&times, &values, MINUTE);
        let times = BucketTimes {
            ends: buckets.ends.clone(),
            counts: buckets.counts.clone(),
            firsts: buckets.first_times.clone(),
            lasts: buckets.last_times.clone(),
            stale_at: buckets.stale_at.clone(),
        };
        buckets.narrow(told(has));
        let mut bytes = Vec::new();
        encode_histograms(&buckets, &mut bytes);
        let mut expected = buckets.clone();
        expected.narrow(wanted.difference(Columns::MIN.union(Columns::MAX)));
        let mut found = HistogramBuckets::new(Columns::ALL);
        decode_histograms(&bytes, &times, wanted, 0..times.len(), &mut found).unwrap();
        prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        for (at, byte) in damage {
            let place = at.index(bytes.len());
            bytes[place] ^= byte;
        }
        let _ = decode_histograms(&bytes, &times, Columns::ALL, 0..times.len(), &mut found);
    }
}

/// Counters and gauges of two layouts, stale markers among them.
fn histogram() -> impl Strategy<Value = std::sync::Arc<crate::model::Histogram>> {
    use crate::model::Histogram;
    use crate::model::histogram::{ResetHint, Span};
    let hint = prop::sample::select(vec![ResetHint::Unknown, ResetHint::NotReset, ResetHint::Gauge]);
    (prop::collection::vec(0u32..90, 3..5), hint, 0u32..30).prop_map(|(counts, hint, dice)| {
        if dice == 0 {
            return std::sync::Arc::new(Histogram::stale());
        }
        let buckets: Vec<f64> =
            counts.iter().map(|&c| f64::from(c) / if dice == 1 { 3.0 } else { 1.0 }).collect();
        std::sync::Arc::new(Histogram {
            hint,
            count: buckets.iter().sum(),
            sum: f64::from(dice) / 3.0,
            positive_spans: vec![Span { offset: -1, length: buckets.len() as u32 }],
            positive_buckets: buckets,
            is_integer: dice > 5,
            ..Histogram::default()
        })
    })
}

/// Each column is as long as all others, or not there.
#[track_caller]
fn assert_even(buckets: &FloatBuckets, len: usize) {
    let floats =
        [&buckets.sums, &buckets.mins, &buckets.maxs, &buckets.firsts, &buckets.lasts, &buckets.lost];
    let numbers = [&buckets.resets, &buckets.changes];
    for found in floats.map(Vec::len).into_iter().chain(numbers.map(Vec::len)) {
        assert!(found == len || found == 0, "{found} of {len}");
    }
}

#[test]
fn what_does_not_change_takes_next_to_nothing() {
    for value in [0.0, 1.0, 0.1, 1.7e9] {
        let buckets = folded(vec![value; 20_000], 5_000);
        let len = encoded(&buckets).len();
        assert!(len < 20, "{len} bytes for {} buckets of {value}", buckets.len());
    }
}

#[test]
fn a_counter_that_never_falls_has_no_extremes_of_its_own() {
    let mut buckets = folded((0..20_000).map(|i| f64::from(i * 3 + i % 3)), 5_000);
    buckets.narrow(Columns::COUNTER);
    let (with, mut without) = (encoded(&buckets).len(), buckets.clone());
    without.narrow(Columns::COUNTER.difference(Columns::MIN.union(Columns::MAX).union(Columns::LOST)));
    assert!(with <= encoded(&without).len() + 1);
}

#[test]
fn a_sum_of_decimals_costs_its_digits() {
    // Near decimals, too: a count of nanoseconds in seconds is not the nearest float to its decimals.
    for unit in [0.01, 1e-9] {
        let buckets = folded((0..20_000).map(|i| f64::from(i * i % 1009) * unit), 5_000);
        let columns = super::columns(&encoded(&buckets)).unwrap();
        let (_, len) = columns.into_iter().find(|(name, _)| *name == "sum").unwrap();
        assert!(len < 2 * buckets.len(), "{len} bytes for {} sums", buckets.len());
    }
}

#[test]
fn only_what_is_asked_for_and_what_it_follows_from_is_unpacked() {
    let buckets = folded((0..5_000).map(|i| f64::from(i / 2 % 91)), 5_000);
    let mut bytes = encoded(&buckets);
    // The changes are the last column.
    let last = bytes.len() - 1;
    bytes.truncate(last);
    bytes.push(0xff);
    let times = times_of(&buckets);
    let found = decoded(&bytes, &times, Columns::ALL.difference(Columns::CHANGES)).unwrap();
    assert_same(&found, &{
        let mut expected = buckets.clone();
        expected.narrow(found.has);
        expected
    });
}

#[test]
fn what_is_told_plainly_is_read_without_what_it_could_follow_from() {
    let buckets = folded((0..5_000).map(|i| f64::from(i * i % 1009) / 10.0), 5_000);
    let mut bytes = encoded_in(&buckets, Forms::Quick);
    let times = times_of(&buckets);
    // The last values are the first column, behind two sets of columns and its length; its first byte is its form.
    let mut rest = &bytes[..];
    for _ in 0..3 {
        crate::codec::varint::read_u64(&mut rest).unwrap();
    }
    let form = bytes.len() - rest.len();
    bytes[form] = 99;
    for column in [Columns::SUM, Columns::MIN, Columns::MAX, Columns::FIRST] {
        let mut expected = buckets.clone();
        expected.narrow(column);
        assert_same(&decoded(&bytes, &times, column).unwrap(), &expected);
    }
    assert!(decoded(&bytes, &times, Columns::LAST).is_err());
}

#[test]
fn what_was_lost_is_told_by_the_greatest_values_of_some_buckets_alone() {
    let values = (0..640u32).flat_map(|bucket| {
        let greatest = f64::from(1_000 + bucket * bucket * 7919 % 977);
        match bucket {
            // What it ends with is no decimal, nor what was lost.
            300 => [5.0, 0.0, 1.0, 50f64.sqrt()],
            _ if bucket % 5 == 0 => [greatest - 1.0, greatest, 0.0, 1.0],
            _ => [1.0, 2.0, 3.0, greatest],
        }
    });
    let mut buckets = folded(values, MINUTE / 4);
    buckets.narrow(Columns::COUNTER);
    let (bytes, times) = (encoded(&buckets), times_of(&buckets));
    for wanted in [Columns::LOST, Columns::LOST.union(Columns::MAX), Columns::COUNTER] {
        let mut expected = buckets.clone();
        expected.narrow(wanted);
        assert_same(&decoded(&bytes, &times, wanted).unwrap(), &expected);
    }
}
