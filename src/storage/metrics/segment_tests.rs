//! Whole segments: what is written is read, and damage is an error that costs what it hit.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::segment_layout::{BLOCK_BUCKETS_MAX, BLOCK_SAMPLES_MAX, DATA};
use super::{MetricsSegment, MetricsSegmentWriter, SampleBuffer, SeriesData, VisibleSegment, merge_segments};
use crate::codec::Effort;
use crate::model::histogram::{ResetHint, Span};
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use crate::model::time::MINUTE;
use crate::model::{
    Exemplar, Histogram, Labels, Lookout, MatchOp, Matcher, MetricMetadata, MetricType, StopSign, TimeRange,
    Timestamp,
};
use crate::storage::errors::MergeError;
use crate::storage::fs::Mapped;
use crate::storage::index::IndexWriter;
use crate::storage::segment::{Segment, SegmentError, SegmentMeta};

/// What a series has, as a plain model.
#[derive(Clone, Debug, Default)]
struct Content {
    floats: BTreeMap<Timestamp, f64>,
    histograms: BTreeMap<Timestamp, Arc<Histogram>>,
    starts: Vec<(Timestamp, Timestamp)>,
    exemplars: Vec<Exemplar>,
}

type Model = BTreeMap<Labels, Content>;

fn write(model: &Model, effort: Effort) -> (Vec<u8>, SegmentMeta) {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap().with_effort(effort);
    for (labels, content) in model {
        let mut samples = SampleBuffer::default();
        (samples.float_timestamps, samples.floats) = content.floats.iter().map(|(t, v)| (*t, *v)).unzip();
        (samples.histogram_timestamps, samples.histograms) =
            content.histograms.iter().map(|(t, h)| (*t, h.clone())).unzip();
        let data = SeriesData {
            starts: &content.starts,
            exemplars: &content.exemplars,
            ..SeriesData::from(&samples)
        };
        writer.series(labels, &data).unwrap();
    }
    writer.metadata("up", &metadata());
    writer.metadata("up", &metadata());
    writer.finish(3, 9).unwrap()
}

fn metadata() -> MetricMetadata {
    MetricMetadata { metric_type: MetricType::Gauge, help: "Is it up?".into(), unit: "".into() }
}

fn open(file: Vec<u8>) -> Result<MetricsSegment, SegmentError> {
    Ok(MetricsSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), "a.seg")?))
}

/// Bits of everything that a range of a series holds.
type Bits = (Vec<(Timestamp, u64)>, Vec<(Timestamp, String)>);

fn bits_of(samples: &SampleBuffer) -> Bits {
    let floats = samples.float_timestamps.iter().copied().zip(samples.floats.iter().map(|v| v.to_bits()));
    let histograms = samples.histograms.iter().map(|h| format!("{h:?} {}", h.sum.to_bits()));
    (floats.collect(), samples.histogram_timestamps.iter().copied().zip(histograms).collect())
}

fn model_bits(content: &Content, range: TimeRange) -> Bits {
    let floats = content.floats.iter().filter(|(t, _)| range.contains(**t)).map(|(t, v)| (*t, v.to_bits()));
    let histograms = content.histograms.iter().filter(|(t, _)| range.contains(**t));
    (floats.collect(), histograms.map(|(t, h)| (*t, format!("{h:?} {}", h.sum.to_bits()))).collect())
}

/// Asks everything; each answer is right or an error. Returns how many were errors.
fn ask(segment: &MetricsSegment, model: &Model, ranges: &[TimeRange], matchers: &[Matcher]) -> usize {
    let mut errors = 0;
    let (mut samples, mut look_up) = (SampleBuffer::default(), segment.look_up());
    for (ordinal, (labels, content)) in model.iter().enumerate() {
        let ordinal = ordinal as u32;
        match segment.labels(ordinal) {
            Ok(read) => assert_eq!(&read, labels),
            Err(_) => errors += 1,
        }
        // What an error leaves behind must not show in what is read next.
        match look_up.labels(ordinal) {
            Ok(read) => assert_eq!(&read, labels),
            Err(_) => errors += 1,
        }
        match look_up.labels_with_fingerprint(ordinal) {
            Ok(read) => assert_eq!(read, (labels.clone(), labels.fingerprint())),
            Err(_) => errors += 1,
        }
        match look_up.fingerprint(ordinal) {
            Ok(read) => assert_eq!(read, labels.fingerprint()),
            Err(_) => errors += 1,
        }
        match segment.starts(ordinal) {
            Ok(read) => assert_eq!(read, content.starts),
            Err(_) => errors += 1,
        }
        for &range in ranges {
            let expected = model_bits(content, range);
            samples.clear();
            match segment.read(ordinal, range, &mut samples) {
                Ok(()) => assert_eq!(bits_of(&samples), expected),
                Err(_) => errors += 1,
            }
            let newest = (expected.0.last().cloned(), expected.1.last().cloned());
            // The second time it may be known.
            for _ in 0..2 {
                samples.clear();
                match segment.read_newest(ordinal, range, &mut samples) {
                    Ok(()) => {
                        let (floats, histograms) = bits_of(&samples);
                        assert!(
                            floats.into_iter().eq(newest.0) && histograms.into_iter().eq(newest.1.clone())
                        );
                    }
                    Err(_) => errors += 1,
                }
            }
            match look_up.sample_count(ordinal, range) {
                Ok(count) => assert!(count > 0 || expected.0.is_empty() && expected.1.is_empty()),
                Err(_) => errors += 1,
            }
            let in_range = |e: &&Exemplar| range.contains(e.timestamp);
            match segment.exemplars(ordinal, range) {
                Ok(read) => {
                    assert_eq!(read, content.exemplars.iter().filter(in_range).cloned().collect::<Vec<_>>())
                }
                Err(_) => errors += 1,
            }
        }
    }
    let passes = |labels: &&Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name)));
    let expected = model.keys().enumerate().filter(|(_, l)| passes(l)).map(|(at, _)| at as u32);
    match segment.select(matchers, &Lookout::new(&StopSign::never())) {
        Ok(found) => assert_eq!(found.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>()),
        Err(_) => errors += 1,
    }
    match segment.metadata() {
        Ok(read) => assert_eq!(read, [("up".to_owned(), metadata())]),
        Err(_) => errors += 1,
    }
    errors
}

fn any_histogram() -> impl Strategy<Value = Arc<Histogram>> {
    (prop::collection::vec(0u32..50, 0..6), any::<i8>(), any::<bool>(), any::<u64>()).prop_map(
        |(counts, offset, is_integer, sum)| {
            let spans = vec![Span { offset: offset.into(), length: counts.len() as u32 }];
            Arc::new(Histogram {
                hint: ResetHint::NotReset,
                schema: 3,
                zero_threshold: 1e-128,
                count: counts.iter().copied().map(f64::from).sum(),
                sum: f64::from_bits(sum),
                positive_spans: if counts.is_empty() { vec![] } else { spans },
                positive_buckets: counts.into_iter().map(f64::from).collect(),
                is_integer,
                ..Histogram::default()
            })
        },
    )
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-100i32..100).prop_map(f64::from),
        2 => (-10_000i32..10_000).prop_map(|d| f64::from(d) / 100.0),
        1 => any::<u64>().prop_map(f64::from_bits),
    ]
}

fn any_content() -> impl Strategy<Value = Content> {
    let time = -50i64..50;
    let exemplar = (time.clone(), any::<u32>()).prop_map(|(timestamp, id)| Exemplar {
        labels: Labels::from_pairs([("trace_id", format!("{id:08x}"))]).unwrap(),
        value: f64::from(id),
        timestamp,
    });
    (
        prop::collection::btree_map(time.clone(), any_float(), 0..40),
        prop::collection::btree_map(50i64..70, any_histogram(), 0..3),
        prop::collection::btree_map(time.clone(), time, 0..3),
        prop::collection::vec(exemplar, 0..3),
    )
        .prop_map(|(floats, histograms, starts, mut exemplars)| {
            exemplars.sort_by_key(|e| e.timestamp);
            Content { floats, histograms, starts: starts.into_iter().collect(), exemplars }
        })
}

fn any_model() -> impl Strategy<Value = Model> {
    let labels = prop::collection::btree_map("[a-c]", "[xyz]{0,2}", 0..3)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap());
    prop::collection::btree_map(labels, any_content(), 0..12)
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let pattern = prop_oneof![
        "[xyz]{0,2}",
        prop::sample::select(vec!["x.*", ".*", ".+", "x|yz|"]).prop_map(str::to_owned)
    ];
    ("[a-d]", op, pattern).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_to_the_bit(
        model in any_model(),
        effort in prop::sample::select(vec![Effort::Fast, Effort::Best]),
        (after, until) in (-60i64..80, -60i64..80),
        matchers in prop::collection::vec(any_matcher(), 0..3),
    ) {
        let (file, meta) = write(&model, effort);
        let segment = open(file).unwrap();
        segment.verify().unwrap();
        prop_assert_eq!(segment.meta(), &meta);
        prop_assert_eq!(ask(&segment, &model, &[TimeRange::ALL, TimeRange { after, until }], &matchers), 0);
        let mut cursor = segment.cursor().unwrap();
        for (at, labels) in model.keys().enumerate() {
            prop_assert_eq!(cursor.current(), Some((at as u32, labels)));
            cursor.advance().unwrap();
        }
        prop_assert!(cursor.current().is_none());
    }
}

/// A bit of everything, small enough to damage every byte of.
fn sample() -> Model {
    let mut model = Model::new();
    for i in 0..9i32 {
        let labels =
            [("__name__", "up"), ("instance", &format!("node-{i}")), ("odd", ["", "yes"][i as usize % 2])];
        let value = |t: i64| match i % 3 {
            0 => t as f64 * f64::from(i),
            1 => (t as f64).sqrt(),
            _ if i < 8 => 0.25,
            _ => (t * t % 7).trailing_zeros() as f64,
        };
        let floats = (0..if i < 7 { 30 } else { 90 })
            .map(|t| (t * 15_000 + i64::from(i % 2) * t % 3, value(t)))
            .collect();
        let mut content = Content { floats, ..Content::default() };
        if i == 5 {
            // Named by the index alone.
            content.floats.clear();
        }
        if i == 4 {
            content.starts = vec![(0, -500), (45_000, 30_000)];
            let histogram = Histogram {
                schema: 0,
                count: 3.0,
                sum: 5.0,
                positive_spans: vec![Span { offset: 1, length: 2 }],
                positive_buckets: vec![1.0, 2.0],
                ..Histogram::default()
            };
            content.histograms = (0..5).map(|t| (1_000_000 + t, Arc::new(histogram.clone()))).collect();
            let labels = Labels::from_pairs([("trace_id", "0af7651916cd43dd")]).unwrap();
            content.exemplars = vec![Exemplar { labels, value: 0.5, timestamp: 15_000 }];
        }
        model.insert(Labels::from_pairs(labels).unwrap(), content);
    }
    model
}

fn ask_everything(segment: &MetricsSegment) -> usize {
    let ranges = [TimeRange::ALL, TimeRange { after: 30_000, until: 90_000 }];
    let matchers = [
        Matcher::new("instance", MatchOp::Regex, "node-[2-7]").unwrap(),
        Matcher::new("odd", MatchOp::NotEqual, "yes").unwrap(),
    ];
    ask(segment, &sample(), &ranges, &matchers)
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_harmless_and_verify_finds_it() {
    let (file, _) = write(&sample(), Effort::Best);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        let Ok(segment) = open(damaged) else { continue };
        let errors = ask_everything(&segment);
        assert!(segment.verify().is_err(), "flipped at {at}: {errors} errors");
    }
}

#[test]
fn a_cut_anywhere_is_an_error() {
    let (file, _) = write(&sample(), Effort::Best);
    for len in 0..file.len() {
        assert!(open(file[..len].to_vec()).is_err(), "cut at {len}");
    }
}

#[test]
fn a_damaged_block_costs_no_other_series() {
    let (mut file, _) = write(&sample(), Effort::Best);
    // The values of the first series lie behind the header and its column.
    file[16 + 40] ^= 1;
    let segment = open(file).unwrap();
    let errors = ask_everything(&segment);
    assert!((1..=16).contains(&errors), "{errors} errors");
}

/// What a checksum cannot see: bytes that a broken writer, or a foreign hand, sealed.
#[test]
fn foreign_bytes_behind_right_checksums_never_panic() {
    use crate::storage::segment::{Checking, SegmentWriter};
    let (file, meta) = write(&sample(), Effort::Best);
    let segment = Segment::open(Arc::new(Mapped::Heap(file)), "a.seg").unwrap();
    let sections: Vec<_> = segment.sections().map(|s| (s.id(), s.checking(), s.raw().to_vec())).collect();
    for hit in 0..sections.len() {
        for at in (hit..sections[hit].2.len()).step_by(3) {
            let mut writer = SegmentWriter::new(Vec::new()).unwrap();
            for (number, (id, checking, bytes)) in sections.iter().enumerate() {
                let mut bytes = bytes.clone();
                if number == hit && *checking == Checking::Paged {
                    bytes[at] = bytes[at].wrapping_add(1 + (at % 255) as u8);
                }
                writer.begin(*id, *checking);
                writer.write(&bytes).unwrap();
                writer.end().unwrap();
            }
            let segment = open(writer.finish(&meta).unwrap()).unwrap();
            let mut samples = SampleBuffer::default();
            for ordinal in 0..segment.series_count() {
                let _ = segment.labels(ordinal);
                let _ = segment.look_up().fingerprint(ordinal);
                let _ = segment.read(ordinal, TimeRange::ALL, &mut samples);
                let _ = segment.exemplars(ordinal, TimeRange::ALL);
                let _ = segment.starts(ordinal);
            }
            let matcher = Matcher::new("instance", MatchOp::Regex, ".*[2-7]").unwrap();
            let _ = segment.metadata();
            let _ = segment.verify();
            let (visible, never) = (VisibleSegment::whole(Arc::new(segment)), StopSign::never());
            let _ = visible.select(&[matcher], &Lookout::new(&never));
            let _ = visible.label_names(&[], &Lookout::new(&never));
            let _ = visible.label_values("instance", &[], &Lookout::new(&never));
        }
    }
}

/// The same series with their labels in turned order: checksums are right, and what the index says is not.
pub(in crate::storage) fn out_of_order(file: &[u8]) -> Vec<u8> {
    let segment = open(file.to_vec()).unwrap();
    let resolution = segment.meta().tier_resolution_ms;
    let mut writer = MetricsSegmentWriter::new(Vec::new(), resolution, 0).unwrap();
    for ordinal in 0..segment.series_count() {
        if resolution == 0 {
            let mut samples = SampleBuffer::default();
            segment.read(ordinal, TimeRange::ALL, &mut samples).unwrap();
            writer.unlabelled_series(&SeriesData::from(&samples)).unwrap();
        } else {
            let (mut floats, mut histograms) =
                (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
            segment
                .read_buckets(ordinal, TimeRange::ALL, Columns::ALL, &mut floats, &mut histograms)
                .unwrap();
            writer.unlabelled_buckets(&floats, &histograms).unwrap();
        }
    }
    let mut index = IndexWriter::default();
    (0..segment.series_count()).rev().for_each(|ordinal| index.add(&segment.labels(ordinal).unwrap()));
    let SegmentMeta { min_seq, max_seq, .. } = *segment.meta();
    writer.finish_with_index(min_seq, max_seq, |to| index.finish(to)).unwrap().0
}

/// A segment of series whose later block stands first, as samples and as buckets of a minute.
fn with_turned_blocks() -> [Vec<u8>; 2] {
    const STEP: i64 = MINUTE;
    let later = (10_000..10_000 + BLOCK_SAMPLES_MAX as i64).map(|k| k * STEP);
    let times: Vec<Timestamp> = later.chain((1..100).map(|k| k * STEP)).collect();
    let floats = vec![1.5; times.len()];
    let mut samples = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
    let mut buckets = MetricsSegmentWriter::new(Vec::new(), STEP as u32, 0).unwrap();
    let mut states = FloatBuckets::new(Columns::ALL);
    // As many to a block, so that each is in order.
    for part in [&times[..BLOCK_BUCKETS_MAX], &times[times.len() - 99..]] {
        states.fold(part, &floats[..part.len()], STEP);
    }
    for name in ["a", "b"] {
        let labels = Labels::from_pairs([("__name__", name)]).unwrap();
        let data = SeriesData { float_timestamps: &times, floats: &floats, ..SeriesData::default() };
        samples.series(&labels, &data).unwrap();
        buckets.buckets(&labels, &states, &HistogramBuckets::new(Columns::ALL)).unwrap();
    }
    [samples.finish(1, 2).unwrap().0, buckets.finish(1, 2).unwrap().0]
}

#[test]
fn what_is_out_of_order_behind_right_checksums_is_damage() {
    let is_damage = |result: Result<(), SegmentError>| {
        let error = result.expect_err("it is out of order");
        assert!(error.to_string().contains("not in order"), "{error}");
    };
    for file in with_turned_blocks() {
        let segment = open(file).unwrap();
        is_damage(segment.verify());
        let visible = [Arc::new(VisibleSegment::whole(Arc::new(segment)))];
        let merged = merge_segments(&visible, (1, 2), Effort::Fast, Vec::new(), || false);
        let Err(MergeError::Read(error)) = merged else { panic!("it was merged") };
        assert!(error.to_string().starts_with("a.seg: "), "{error}");
    }
    let turned = open(out_of_order(&write(&sample(), Effort::Fast).0)).unwrap();
    is_damage(turned.verify());
}

#[test]
fn series_of_equal_values_share_a_block() {
    let column = |seed: i64| (0..90).map(|t| (t * 15_000, (t * t * seed % 31) as f64)).collect();
    let model = |seeds: &[i64]| {
        let mut model = Model::new();
        for (at, &seed) in seeds.iter().enumerate() {
            let labels = Labels::from_pairs([("instance", at.to_string())]).unwrap();
            model.insert(labels, Content { floats: column(seed), ..Content::default() });
        }
        model
    };
    let data_len = |model: &Model| {
        let segment = open(write(model, Effort::Fast).0).unwrap();
        segment.verify().unwrap();
        assert_eq!(ask(&segment, model, &[TimeRange::ALL], &[]), 0);
        segment.segment().section(DATA).unwrap().len()
    };
    assert_eq!(data_len(&model(&[3, 3, 3, 5, 5])), data_len(&model(&[3, 5])));
    assert_eq!(data_len(&model(&[3, 5, 3, 5, 7])), data_len(&model(&[3, 5, 7])));
    let constants: Vec<i64> = vec![0; 1000];
    assert_eq!(data_len(&model(&constants)), data_len(&model(&[0])));
}

#[test]
fn long_series_are_read_block_by_block() {
    let times: Vec<Timestamp> = (1..=20_000).map(|i| i * 1000).collect();
    let values: Vec<f64> = times.iter().map(|t| (t / 1000 % 77) as f64).collect();
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
    for name in ["a", "b", "c"] {
        let labels = Labels::from_pairs([("__name__", name)]).unwrap();
        let data = SeriesData { float_timestamps: &times, floats: &values, ..SeriesData::default() };
        writer.series(&labels, &data).unwrap();
    }
    let (file, meta) = writer.finish(0, 0).unwrap();
    assert_eq!((meta.row_count, meta.min_time, meta.max_time), (60_000, 1000, 20_000_000));
    let segment = open(file).unwrap();
    let range = TimeRange { after: 8_191_000, until: 8_193_000 };
    let mut samples = SampleBuffer::default();
    segment.read(1, range, &mut samples).unwrap();
    assert_eq!(samples.float_timestamps, [8_192_000, 8_193_000]);
    assert_eq!(samples.floats, [8192.0 % 77.0, 8193.0 % 77.0]);
    let estimate = segment.look_up().sample_count(1, range).unwrap();
    assert!((2..=4).contains(&estimate), "{estimate}: a short range of long blocks is not the blocks");
    assert_eq!(
        segment.look_up().sample_count(1, TimeRange { after: 20_000_000, until: i64::MAX }).unwrap(),
        0
    );
    assert!(segment.block_summaries(2).unwrap().iter().all(|b| b.len < 8192));
}

#[test]
fn what_is_not_samples_takes_less_than_twelve_bytes_a_series() {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for metric in 0..100 {
        for instance in 0..50 {
            let labels = [
                ("__name__", format!("node_metric_{metric:03}_total")),
                ("type", if metric % 3 == 0 { format!("eth{}", instance % 4) } else { String::new() }),
                ("instance", format!("node-{instance:03}:9100")),
                ("job", "node".to_owned()),
            ];
            // Each instance is scraped at its own moment, all its series at once.
            let times: Vec<Timestamp> =
                (0..60).map(|i| i * 15_000 + instance * 97 + i * instance % 5).collect();
            let floats: Vec<f64> = (0..60).map(|_| next(1 + metric % 4) as f64).collect();
            let data = SeriesData { float_timestamps: &times, floats: &floats, ..SeriesData::default() };
            writer.series(&Labels::from_pairs(labels).unwrap(), &data).unwrap();
        }
    }
    let (file, meta) = writer.finish(0, 0).unwrap();
    let segment = open(file).unwrap();
    let data_len = segment.segment().section(DATA).unwrap().len();
    let per_series = (segment.segment().file_len() - data_len) as f64 / meta.series_count as f64;
    println!(
        "{per_series:.2} bytes a series, {:.3} a sample in all",
        segment.segment().file_len() as f64 / meta.row_count as f64
    );
    assert!(per_series < 12.0, "{per_series} bytes");
}
