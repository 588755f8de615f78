//! A family as a message behind its length: the only format that has native histograms.

use prost::Message;

use super::format::{Escaping, escaped};
use super::{Family, Kind, classic_buckets, shown_labels};
use crate::model::Histogram;
use crate::model::histogram::Span;
use crate::query::{SampleValue, VectorSample};
use crate::wire::metric_family::{
    Bucket, BucketSpan, Histogram as WireHistogram, LabelPair, Metric, MetricFamily, MetricType, Untyped,
};

pub fn push_family(page: &mut Vec<u8>, family: &Family, escaping: Escaping) {
    let kind = match family.kind {
        Kind::Untyped => MetricType::Untyped,
        Kind::Histogram => MetricType::Histogram,
        Kind::GaugeHistogram => MetricType::GaugeHistogram,
    };
    let message = MetricFamily {
        name: Some(escaped(family.name, escaping)),
        r#type: Some(kind.into()),
        metric: family.samples.iter().map(|sample| metric(sample, escaping)).collect(),
    };
    message.encode_length_delimited(page).expect("a vector grows");
}

fn metric(sample: &VectorSample, escaping: Escaping) -> Metric {
    let pair = |(name, value): (&str, &str)| LabelPair {
        name: Some(escaped(name, escaping)),
        value: Some(value.to_owned()),
    };
    let (untyped, histogram) = match &sample.value {
        SampleValue::Float(value) => (Some(Untyped { value: Some(*value) }), None),
        SampleValue::Histogram(histogram) if histogram.has_custom_buckets() => {
            (None, Some(classic(histogram)))
        }
        SampleValue::Histogram(histogram) => (None, Some(native(histogram))),
    };
    Metric {
        label: shown_labels(&sample.labels).map(pair).collect(),
        untyped,
        histogram,
        timestamp_ms: Some(sample.timestamp),
    }
}

fn native(histogram: &Histogram) -> WireHistogram {
    WireHistogram {
        sample_count_float: Some(histogram.count),
        sample_sum: Some(histogram.sum),
        schema: Some(histogram.schema),
        zero_threshold: Some(histogram.zero_threshold),
        zero_count_float: Some(histogram.zero_count),
        negative_span: spans(&histogram.negative_spans),
        negative_count: histogram.negative_buckets.clone(),
        positive_span: spans(&histogram.positive_spans),
        positive_count: histogram.positive_buckets.clone(),
        bucket: Vec::new(),
    }
}

fn spans(spans: &[Span]) -> Vec<BucketSpan> {
    spans.iter().map(|span| BucketSpan { offset: Some(span.offset), length: Some(span.length) }).collect()
}

fn classic(histogram: &Histogram) -> WireHistogram {
    let bucket = |(bound, count)| Bucket { cumulative_count_float: Some(count), upper_bound: Some(bound) };
    WireHistogram {
        sample_count_float: Some(histogram.count),
        sample_sum: Some(histogram.sum),
        bucket: classic_buckets(histogram).into_iter().map(bucket).collect(),
        ..WireHistogram::default()
    }
}
