//! Rollups of segments: what they say is what the samples say.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    MetricsSegment, MetricsSegmentWriter, RollUp, SampleBuffer, SeriesData, VisibleSegment, roll_up,
};
use crate::codec::Effort;
use crate::model::histogram::{ResetHint, Span};
use crate::model::metrics::stale_marker;
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use crate::model::time::{DAY, HOUR, MINUTE};
use crate::model::{Histogram, Labels, MetricType, TimeRange, Timestamp};
use crate::storage::errors::MergeError;
use crate::storage::fs::Mapped;
use crate::storage::metrics::merge_segments;
use crate::storage::segment::Segment;

/// The samples of each series: floats, or native histograms where the value is not a number's own.
type Samples = BTreeMap<Labels, BTreeMap<Timestamp, f64>>;

const TODAY: TimeRange = TimeRange { after: 0, until: DAY };
const RESOLUTIONS: [i64; 2] = [MINUTE, 5 * MINUTE];

fn is_histogram(labels: &Labels) -> bool {
    labels.metric_name() == "latency"
}

fn histogram(value: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        hint: ResetHint::Unknown,
        count: value,
        sum: value / 4.0,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![value - 1.0, 1.0],
        is_integer: true,
        ..Histogram::default()
    })
}

fn open(file: Vec<u8>) -> Arc<MetricsSegment> {
    Arc::new(MetricsSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap()))
}

fn whole(segment: Arc<MetricsSegment>) -> Arc<VisibleSegment> {
    Arc::new(VisibleSegment::whole(segment))
}

fn raw(samples: &Samples) -> Arc<VisibleSegment> {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
    for (labels, samples) in samples {
        let mut buffer = SampleBuffer::default();
        for (&time, &value) in samples {
            if is_histogram(labels) {
                buffer.histogram_timestamps.push(time);
                buffer.histograms.push(histogram(value));
            } else {
                buffer.float_timestamps.push(time);
                buffer.floats.push(value);
            }
        }
        writer.series(labels, &SeriesData::from(&buffer)).unwrap();
    }
    whole(open(writer.finish(1, 9).unwrap().0))
}

fn plan<'a>(raw: &'a [Arc<VisibleSegment>], older: &'a [Arc<VisibleSegment>]) -> RollUp<'a> {
    let types = &|family: &str| match family {
        "requests" => MetricType::Counter,
        "temperature" => MetricType::Gauge,
        _ => MetricType::Unknown,
    };
    RollUp {
        raw,
        older,
        older_resolution: RESOLUTIONS[0],
        range: TODAY,
        resolutions: &RESOLUTIONS,
        types,
        seqs: (1, 9),
    }
}

/// One segment of each resolution; none if there is nothing to roll up.
fn rolled_up(plan: &RollUp<'_>) -> Vec<Arc<MetricsSegment>> {
    let files = roll_up(plan, vec![Vec::new(), Vec::new()], || false).unwrap();
    let segments: Vec<_> = files.into_iter().flatten().map(|(file, _)| open(file)).collect();
    segments.iter().for_each(|segment| segment.verify().unwrap());
    segments
}

fn read(segment: &MetricsSegment, ordinal: u32, range: TimeRange) -> (FloatBuckets, HistogramBuckets) {
    let (mut floats, mut histograms) = (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
    segment.read_buckets(ordinal, range, Columns::ALL, &mut floats, &mut histograms).unwrap();
    (floats, histograms)
}

/// What a rollup says of each series, but for the sums of floats, which may be rounded.
fn contents(segment: &MetricsSegment) -> BTreeMap<Labels, String> {
    let mut found = BTreeMap::new();
    for ordinal in 0..segment.series_count() {
        let (mut floats, histograms) = read(segment, ordinal, TimeRange::ALL);
        floats.sums.clear();
        found.insert(segment.labels(ordinal).unwrap(), format!("{floats:?} {histograms:?}"));
    }
    found
}

/// The same, folded from samples.
fn folded(samples: &Samples, resolution: i64) -> BTreeMap<Labels, String> {
    let mut found = BTreeMap::new();
    for (labels, samples) in samples {
        let (times, values): (Vec<_>, Vec<_>) =
            samples.iter().filter(|(time, _)| TODAY.contains(**time)).map(|(&t, &v)| (t, v)).unzip();
        let (mut floats, mut histograms) =
            (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
        if is_histogram(labels) {
            let values: Vec<_> = values.into_iter().map(histogram).collect();
            histograms = HistogramBuckets::new(Columns::COUNTER);
            histograms.fold(&times, &values, resolution);
            histograms.has = histograms.has.difference(Columns::MIN.union(Columns::MAX));
        } else {
            floats.fold(&times, &values, resolution);
            match labels.metric_name() {
                "requests_total" => floats.narrow(Columns::COUNTER),
                "temperature" => floats.narrow(Columns::GAUGE),
                _ => {}
            }
        }
        if !times.is_empty() {
            floats.sums.clear();
            found.insert(labels.clone(), format!("{floats:?} {histograms:?}"));
        }
    }
    found
}

fn samples() -> impl Strategy<Value = Samples> {
    let name = prop::sample::select(vec!["requests_total", "temperature", "untold", "latency"]);
    let value = prop_oneof![9 => (2u32..40).prop_map(f64::from), 1 => Just(stale_marker())];
    let step = prop_oneof![8 => Just(15_000i64), 1 => 1..100_000i64, 1 => 5 * MINUTE..40 * MINUTE];
    let series = (-10 * MINUTE..DAY, prop::collection::vec((step, value), 1..120));
    prop::collection::btree_map((name, 0u32..3), series, 0..5).prop_map(|all| {
        let mut samples = Samples::new();
        for ((name, n), (start, steps)) in all {
            let labels = Labels::from_pairs([("__name__", name), ("n", &n.to_string())]).unwrap();
            let mut time = start;
            let series: &mut BTreeMap<_, _> = samples.entry(labels).or_default();
            for (step, value) in steps {
                time += step;
                series.insert(time, if name == "latency" && value.is_nan() { 1.0 } else { value });
            }
        }
        samples
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_rollup_says_what_the_samples_say(samples in samples()) {
        let segments = [raw(&samples)];
        let rollups = rolled_up(&plan(&segments, &[]));
        for (rollup, resolution) in rollups.iter().zip(RESOLUTIONS) {
            prop_assert_eq!(rollup.resolution_ms(), resolution);
            prop_assert_eq!(contents(rollup), folded(&samples, resolution));
        }
        prop_assert_eq!(rollups.is_empty(), folded(&samples, MINUTE).is_empty());
    }

    #[test]
    fn a_range_is_the_buckets_that_end_in_it(samples in samples(), after in 0..DAY, len in 0..DAY) {
        let rollups = rolled_up(&plan(&[raw(&samples)], &[]));
        let range = TimeRange { after, until: after + len };
        for rollup in &rollups {
            for ordinal in 0..rollup.series_count() {
                let (mut floats, mut histograms) = read(rollup, ordinal, TimeRange::ALL);
                floats = floats.part(range.slice_of(&floats.ends));
                histograms = histograms.part(range.slice_of(&histograms.ends));
                let found = read(rollup, ordinal, range);
                // Blocks that were not read cannot say which columns they lack.
                floats.has = found.0.has;
                histograms.has = found.1.has;
                prop_assert_eq!(format!("{found:?}"), format!("{:?}", (floats, histograms)));
            }
        }
    }

    #[test]
    fn later_samples_of_a_series_are_rolled_up_with_the_others(old in samples(), new in samples()) {
        let mut both = old.clone();
        for (labels, samples) in &new {
            both.entry(labels.clone()).or_default().extend(samples);
        }
        let rollups = rolled_up(&plan(&[raw(&old), raw(&new)], &[]));
        let expected = folded(&both, MINUTE);
        prop_assert_eq!(rollups.first().map(|r| contents(r)).unwrap_or_default(), expected);
    }

    #[test]
    fn of_two_rollups_of_a_bucket_the_later_is_right(old in samples(), new in samples()) {
        let mut both = old.clone();
        for (labels, samples) in &new {
            let series = both.entry(labels.clone()).or_default();
            // A day that is rolled up anew has all that it had before.
            series.retain(|time, _| !samples.keys().any(|t| (t - 1).div_euclid(MINUTE) == (time - 1).div_euclid(MINUTE)));
            series.extend(samples);
        }
        let inputs: Vec<_> = [&old, &new].into_iter().flat_map(|s| rolled_up(&plan(&[raw(s)], &[])).into_iter().next().map(whole)).collect();
        if !inputs.is_empty() {
            let (file, meta) = merge_segments(&inputs, (1, 9), Effort::Best, Vec::new(), || false).unwrap().unwrap();
            let merged = open(file);
            merged.verify().unwrap();
            prop_assert_eq!(meta.tier_resolution_ms, 60_000);
            prop_assert_eq!(contents(&merged), folded(&both, MINUTE));
        }
    }
}

#[test]
fn of_series_of_one_rhythm_each_has_its_own_end() {
    let labels = |code: &str| Labels::from_pairs([("__name__", "requests_total"), ("code", code)]).unwrap();
    let until = |end: Timestamp| (1..=end / 5_000).map(|i| (i * 5_000, i as f64)).collect::<BTreeMap<_, _>>();
    let samples = Samples::from([(labels("200"), until(4 * HOUR)), (labels("500"), until(5 * HOUR))]);
    let raw = [raw(&samples)];
    for (segment, resolution) in rolled_up(&plan(&raw, &[])).iter().zip(RESOLUTIONS) {
        assert_eq!(contents(segment), folded(&samples, resolution));
    }
}

#[test]
fn stray_samples_unite_with_the_rollups_of_those_that_are_gone() {
    let labels = Labels::from_pairs([("__name__", "temperature")]).unwrap();
    let series =
        |samples: &[(Timestamp, f64)]| Samples::from([(labels.clone(), samples.iter().copied().collect())]);
    let gone = series(&[(10_000, 5.0), (20_000, 7.0), (70_000, 1.0)]);
    let stray = series(&[(50_000, 9.0), (130_000, 2.0)]);
    let older = [whole(rolled_up(&plan(&[raw(&gone)], &[])).remove(0))];
    let raw_stray = [raw(&stray)];
    let rollups = rolled_up(&plan(&raw_stray, &older));
    let mut all = gone[&labels].clone();
    all.extend(&stray[&labels]);
    for (rollup, resolution) in rollups.iter().zip(RESOLUTIONS) {
        assert_eq!(
            contents(rollup),
            folded(&series(&all.clone().into_iter().collect::<Vec<_>>()), resolution)
        );
    }
}

/// A value for each sample.
type Shape = fn(i64) -> f64;

/// A rollup with states of every kind, and what it says.
fn of_every_kind() -> (Vec<u8>, BTreeMap<Labels, String>) {
    let mut samples = Samples::new();
    let kinds: [(&str, Shape); 4] = [
        ("latency", |i| 2.0 + (i * 7 % 90) as f64),
        ("requests_total", |i| (i % 70 * 3) as f64),
        ("temperature", |i| (i as f64).sqrt()),
        ("untold", |i| (i * 31 % 97) as f64 / 4.0),
    ];
    for (name, value) in kinds {
        let labels = Labels::from_pairs([("__name__", name)]).unwrap();
        samples.insert(labels, (1..200).map(|i| (i * 15_000 + i % 7, value(i))).collect());
    }
    let raw = [raw(&samples)];
    let (file, _) =
        roll_up(&plan(&raw, &[]), vec![Vec::new(), Vec::new()], || false).unwrap().remove(0).unwrap();
    let said = contents(&open(file.clone()));
    (file, said)
}

/// Asks everything; each answer is right or an error. Returns how many were errors.
fn ask(segment: &MetricsSegment, said: &BTreeMap<Labels, String>) -> usize {
    let mut errors = 0;
    for (ordinal, (labels, said)) in said.iter().enumerate() {
        let ordinal = ordinal as u32;
        match segment.labels(ordinal) {
            Ok(found) => assert_eq!(&found, labels),
            Err(_) => errors += 1,
        }
        let (mut floats, mut histograms) =
            (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
        match segment.read_buckets(ordinal, TimeRange::ALL, Columns::ALL, &mut floats, &mut histograms) {
            Ok(()) => {
                floats.sums.clear();
                assert_eq!(&format!("{floats:?} {histograms:?}"), said);
            }
            Err(_) => errors += 1,
        }
    }
    errors
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_never_makes_a_wrong_answer() {
    let (file, said) = of_every_kind();
    assert_eq!(ask(&open(file.clone()), &said), 0);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(segment) = Segment::open(Arc::new(Mapped::Heap(damaged)), "a.seg") {
            let segment = MetricsSegment::open(segment);
            ask(&segment, &said);
            assert!(segment.verify().is_err(), "flipped at {at}");
        }
    }
}

#[test]
fn a_cut_anywhere_is_an_error() {
    let (file, _) = of_every_kind();
    for len in 0..file.len() {
        assert!(Segment::open(Arc::new(Mapped::Heap(file[..len].to_vec())), "a.seg").is_err(), "{len} bytes");
    }
}

#[test]
fn who_stops_a_roll_up_gets_no_file() {
    let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
    let segments = [raw(&Samples::from([(labels, BTreeMap::from([(1, 1.0)]))]))];
    let stopped = roll_up(&plan(&segments, &[]), vec![Vec::new(), Vec::new()], || true);
    assert!(matches!(stopped, Err(MergeError::Stopped)));
}

#[test]
fn a_long_series_is_read_block_by_block() {
    let labels = Labels::from_pairs([("__name__", "untold")]).unwrap();
    let mut buckets = FloatBuckets::new(Columns::ALL);
    for minute in 1..=10_000i64 {
        buckets.push(minute * MINUTE, &crate::model::rollup::FloatState::of(minute * MINUTE, minute as f64));
    }
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 60_000, 0).unwrap();
    writer.buckets(&labels, &buckets, &HistogramBuckets::default()).unwrap();
    let segment = open(writer.finish(1, 2).unwrap().0);
    segment.verify().unwrap();
    assert_eq!(segment.states_summaries(0).unwrap().len(), 5);
    let (floats, _) = read(&segment, 0, TimeRange { after: 3000 * MINUTE, until: 5000 * MINUTE });
    assert_eq!((floats.len(), floats.ends[0], floats.maxs[1999]), (2000, 3001 * MINUTE, 5000.0));
    let count =
        segment.look_up().sample_count(0, TimeRange { after: 3000 * MINUTE, until: 5000 * MINUTE }).unwrap();
    assert!((1990..2010).contains(&count), "{count}");
}
