//! A family as a message behind its length: the only format that has native histograms.

use prost::Message;

use super::format::{Escaping, escaped};
use super::{Family, Kind, Page, classic_buckets, shown_labels};
use crate::api::error::ApiError;
use crate::model::Histogram;
use crate::model::histogram::Span;
use crate::query::{SampleValue, VectorSample};
use crate::wire::metric_family::{
    Bucket, BucketSpan, Histogram as WireHistogram, LabelPair, Metric, MetricFamily, MetricType, Untyped,
};

/// The key of a family's metrics: field 4, messages.
const METRIC: u8 = 4 << 3 | 2;

/// The length of the whole comes first: so each metric is made twice, and none is held beside the page.
pub fn push_family(page: &mut Page<'_>, family: &Family<'_>, escaping: Escaping) -> Result<(), ApiError> {
    let kind = match family.kind {
        Kind::Untyped => MetricType::Untyped,
        Kind::Histogram => MetricType::Histogram,
        Kind::GaugeHistogram => MetricType::GaugeHistogram,
    };
    let name = Some(escaped(family.name, escaping));
    let head = MetricFamily { name, r#type: Some(kind.into()), metric: Vec::new() };
    let mut len = head.encoded_len();
    for sample in family.samples {
        let metric_len = metric(sample, escaping).encoded_len();
        len += 1 + prost::length_delimiter_len(metric_len) + metric_len;
    }
    prost::encode_length_delimiter(len, &mut page.bytes).expect(GROWS);
    head.encode(&mut page.bytes).expect(GROWS);
    for sample in family.samples {
        page.bytes.push(METRIC);
        metric(sample, escaping).encode_length_delimited(&mut page.bytes).expect(GROWS);
        page.pay()?;
    }
    Ok(())
}

const GROWS: &str = "a vector grows";

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
