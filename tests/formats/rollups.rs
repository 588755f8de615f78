//! Segments of buckets.

use std::sync::Arc;

use icecore::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use icecore::model::{Histogram, Labels, TimeRange};
use icecore::storage::fs::Mapped;
use icecore::storage::metrics::{MetricsSegment, MetricsSegmentWriter};
use icecore::storage::segment::Segment;

use super::samples::{histogram, labels, series, times};
use super::{check_text, fixture, is_update};

/// The samples of a minute in each bucket: those of [`series`], and some that need every form of a column.
fn bucket_series() -> Vec<(Labels, FloatBuckets)> {
    let column = |value: fn(i32) -> f64| (0..200).map(value).collect::<Vec<f64>>();
    let mut all = series();
    all.push((labels("falling", &[]), column(|i| f64::from(i * 31 % 97))));
    all.push((labels("near", &[]), column(|i| f64::from(i * i * 7919 % 4096) * 1e-9)));
    all.push((labels("restarted", &[]), column(|i| f64::from(i % 70 * 3))));
    all.push((labels("rising_total", &[]), column(|i| f64::from(i * i % 11 + i * 20))));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let folded = |(labels, values): (Labels, Vec<f64>)| {
        let mut buckets = FloatBuckets::new(Columns::ALL);
        buckets.fold(&times(&labels), &values, 60_000);
        buckets.narrow(match labels.metric_name() {
            "rising_total" | "restarted" => Columns::COUNTER,
            "smooth" => Columns::GAUGE,
            _ => Columns::ALL,
        });
        (labels, buckets)
    };
    all.into_iter().map(folded).collect()
}

fn histogram_buckets() -> HistogramBuckets {
    let times: Vec<i64> = times(&Labels::empty())[..30].to_vec();
    let values: Vec<Arc<Histogram>> = (0..30).map(|i| histogram(i % 17)).collect();
    let mut buckets = HistogramBuckets::new(Columns::COUNTER);
    buckets.fold(&times, &values, 60_000);
    buckets
}

fn write_buckets() -> Vec<u8> {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 60_000, 0).unwrap();
    for (labels, buckets) in bucket_series() {
        writer.buckets(&labels, &buckets, &HistogramBuckets::default()).unwrap();
    }
    let name = labels("zz_histogram", &[]);
    writer.buckets(&name, &FloatBuckets::default(), &histogram_buckets()).unwrap();
    writer.finish(5, 17).unwrap().0
}

#[test]
fn a_rollup_segment_of_version_1_holds_what_it_held() {
    let path = fixture("v1_rollup.seg");
    if is_update() {
        std::fs::write(&path, write_buckets()).unwrap();
    }
    check_text("v1_rollup.seg", "v1_rollup.txt");

    for file in [std::fs::read(&path).unwrap(), write_buckets()] {
        let segment = MetricsSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), &path).unwrap());
        segment.verify().unwrap();
        let read = |ordinal| {
            let mut floats = FloatBuckets::new(Columns::ALL);
            let mut histograms = HistogramBuckets::new(Columns::ALL);
            segment
                .read_buckets(ordinal, TimeRange::ALL, Columns::ALL, &mut floats, &mut histograms)
                .unwrap();
            (floats, histograms)
        };
        for (ordinal, (labels, mut expected)) in bucket_series().into_iter().enumerate() {
            let (mut floats, _) = read(ordinal as u32);
            assert_eq!(segment.labels(ordinal as u32).unwrap(), labels);
            for (sum, expected) in floats.sums.iter().zip(&expected.sums) {
                assert!((sum - expected).abs() <= 1e-12 * expected.abs(), "{sum} instead of {expected}");
            }
            floats.sums.clear();
            expected.sums.clear();
            assert_eq!(format!("{floats:?}"), format!("{expected:?}"), "{labels}");
        }
        let mut expected = histogram_buckets();
        expected.narrow(Columns::COUNTER.difference(Columns::MIN.union(Columns::MAX)));
        let (_, histograms) = read(segment.series_count() - 1);
        assert_eq!(format!("{histograms:?}"), format!("{expected:?}"));
    }
}
