//! Segments of samples as they were sent.

use std::path::Path;
use std::sync::Arc;

use icecore::codec::Effort;
use icecore::model::{Histogram, Labels, Lookout, MetricMetadata, MetricType, StopSign, TimeRange};
use icecore::storage::fs::Mapped;
use icecore::storage::inspect;
use icecore::storage::metrics::{
    MetricsSegment, MetricsSegmentWriter, SampleBuffer, SeriesData, VisibleSegment,
};
use icecore::storage::segment::Segment;

use super::samples::{exemplar, histogram, labels, series, times};
use super::{fixture, is_update};

/// Series that need what version 1.1 added: sums of decimals, steps of which some come often, values that two have.
fn series_of_1_1() -> Vec<(Labels, Vec<f64>)> {
    let mut series = series();
    let mut sum = 0.1;
    let mut add = |i: i32| {
        sum += f64::from(i * i % 97) * 1e-6;
        sum
    };
    series.push((labels("sum_of_decimals", &[]), (0..200).map(&mut add).collect()));
    let mut value = 5e6;
    let mut step = |i: i32| {
        value += f64::from((i * i * 31 % 257 % 16).trailing_zeros().min(4) * 1000 + i as u32 % 2) + 40.0;
        value
    };
    let walk: Vec<f64> = (0..200).map(&mut step).collect();
    series.extend(["a", "b"].map(|job| (labels("walk", &[("job", job)]), walk.clone())));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

/// Series that need what version 1.3 added: values, steps and changes of steps of a day, coded, that is with entries.
fn series_of_1_3() -> Vec<(Labels, Vec<f64>)> {
    let noise = |i: i64| (i * i * 31 % 257 % 16).trailing_zeros().min(3);
    let mut series = series();
    let (mut walk, mut step, mut total) = (50.0, 1e6, 0.0);
    let of_day = |name: &str, value: &mut dyn FnMut(i64) -> f64| {
        (labels(name, &[("job", "day")]), (0..4200).map(value).collect())
    };
    series.push(of_day("level", &mut |i| f64::from(noise(i))));
    series.push(of_day("walk", &mut |i| {
        walk += f64::from(noise(i)) - 1.0;
        walk
    }));
    series.push(of_day("total", &mut |i| {
        step += f64::from(noise(i)) - 1.0;
        total += step;
        total
    }));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

/// Series that need what version 1.4 added: of two nothing is there but their labels.
fn series_of_1_4() -> Vec<(Labels, Vec<f64>)> {
    let mut series = series();
    series.extend(["a", "b"].map(|job| (labels("absent", &[("job", job)]), Vec::new())));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

fn times_of((labels, floats): &(Labels, Vec<f64>)) -> Vec<i64> {
    if floats.is_empty() { Vec::new() } else { times(labels) }
}

fn write(series: &[(Labels, Vec<f64>)], effort: Effort) -> Vec<u8> {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap().with_effort(effort);
    for (labels, floats) in series {
        let times = times_of(&(labels.clone(), floats.clone()));
        let mut data = SeriesData { float_timestamps: &times, floats, ..SeriesData::default() };
        let (starts, exemplars);
        if labels.metric_name() == "counter" {
            (starts, exemplars) = ([(times[0], times[0] - 1000)], [exemplar()]);
            (data.starts, data.exemplars) = (&starts, &exemplars);
        }
        writer.series(labels, &data).unwrap();
    }
    let times: Vec<i64> = times(&Labels::empty())[..3].to_vec();
    let histograms: Vec<Arc<Histogram>> = (0..3).map(histogram).collect();
    let data = SeriesData { histogram_timestamps: &times, histograms: &histograms, ..SeriesData::default() };
    writer.series(&labels("zz_histogram", &[]), &data).unwrap();
    let known =
        MetricMetadata { metric_type: MetricType::Counter, help: "Requests.".into(), unit: "".into() };
    writer.metadata("counter", &known);
    writer.finish(5, 17).unwrap().0
}

#[test]
fn a_metrics_segment_of_version_1_0_holds_what_it_held() {
    assert_metrics_segment_holds("v1_metrics", &series());
}

#[test]
fn a_metrics_segment_of_version_1_1_holds_what_it_held() {
    assert_metrics_segment_holds("v1_1_metrics", &series_of_1_1());
}

#[test]
fn a_metrics_segment_of_version_1_3_holds_what_it_held() {
    if is_update() {
        std::fs::write(fixture("v1_3_metrics.seg"), write(&series_of_1_3(), Effort::Best)).unwrap();
    }
    assert_metrics_segment_holds("v1_3_metrics", &series_of_1_3());
}

#[test]
fn a_metrics_segment_of_version_1_4_holds_what_it_held() {
    if is_update() {
        std::fs::write(fixture("v1_4_metrics.seg"), write(&series_of_1_4(), Effort::Best)).unwrap();
    }
    let segment = assert_metrics_segment_holds("v1_4_metrics", &series_of_1_4());
    assert_eq!(segment.absent().unwrap(), &(0..2).collect());
    let (visible, never) = (VisibleSegment::whole(Arc::new(segment)), StopSign::never());
    let lookout = Lookout::new(&never);
    assert_eq!(visible.select(&[], &lookout).unwrap().min(), Some(2));
    assert!(!visible.label_values("__name__", &[], &lookout).unwrap().contains(&"absent".to_owned()));
}

fn assert_metrics_segment_holds(name: &str, series: &[(Labels, Vec<f64>)]) -> MetricsSegment {
    let (path, text_path) = (fixture(&format!("{name}.seg")), fixture(&format!("{name}.txt")));
    let mapped = Arc::new(Mapped::Heap(std::fs::read(&path).unwrap()));
    let mut text = Vec::new();
    inspect::segment(mapped.clone(), Path::new(&format!("{name}.seg")), &mut text).unwrap();
    if is_update() {
        std::fs::write(&text_path, &text).unwrap();
    }
    assert_eq!(String::from_utf8(text).unwrap(), std::fs::read_to_string(text_path).unwrap());

    let segment = MetricsSegment::open(Segment::open(mapped, &path).unwrap());
    segment.verify().unwrap();
    let mut samples = SampleBuffer::default();
    for (ordinal, series) in series.iter().enumerate() {
        let (ordinal, (labels, floats), times) = (ordinal as u32, series, times_of(series));
        samples.clear();
        segment.read(ordinal, TimeRange::ALL, &mut samples).unwrap();
        assert_eq!(&segment.labels(ordinal).unwrap(), labels);
        assert_eq!(samples.float_timestamps, times);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&samples.floats), bits(floats), "{labels}");

        if floats.is_empty() {
            continue;
        }
        let end = floats.len() - 8..floats.len() - 1;
        let range = TimeRange { after: times[end.start - 1], until: times[end.end - 1] };
        samples.clear();
        segment.read(ordinal, range, &mut samples).unwrap();
        assert_eq!(bits(&samples.floats), bits(&floats[end]), "end of {labels}");
    }
    samples.clear();
    segment.read(segment.series_count() - 1, TimeRange::ALL, &mut samples).unwrap();
    let expected: Vec<Arc<Histogram>> = (0..3).map(histogram).collect();
    assert_eq!(format!("{:?}", samples.histograms), format!("{expected:?}"));
    segment
}

#[test]
fn what_is_written_today_opens_today() {
    for effort in [Effort::Fast, Effort::Best] {
        for series in [series_of_1_1(), series_of_1_3(), series_of_1_4()] {
            let file = write(&series, effort);
            let segment = Segment::open(Arc::new(Mapped::Heap(file)), "today.seg").unwrap();
            MetricsSegment::open(segment).verify().unwrap();
        }
    }
}
