//! The result of a query as JSON: vectors, matrices, scalars, strings, histograms.

use axum::response::Response;

use super::error::ApiError;
use super::json::{JsonWriter, push_labels, push_string};
use super::number::{push_plain, push_sample, push_timestamp, push_timestamp_as_float};
use super::query_stats::{StatsWish, stats_text};
use crate::model::Timestamp;
use crate::model::histogram::{Bucket, Histogram};
use crate::query::{Answer, MatrixSeries, QueryValue, SampleValue, VectorSample};

/// Writes `{resultType, result[, stats]}` and ends the answer.
pub fn push_answer(mut json: JsonWriter, mut answer: Answer, stats: StatsWish) -> Result<Response, ApiError> {
    json.raw("{");
    push_value(&mut json, &answer.value)?;
    if stats.any {
        json.raw(",\"stats\":").raw(&stats_text(&answer.stats));
    }
    json.raw("}");
    answer.warnings.extend(stats.warning);
    Ok(json.finish(&answer.warnings, &answer.infos))
}

/// Writes `"resultType":…,"result":…`.
pub fn push_value(json: &mut JsonWriter, value: &QueryValue) -> Result<(), ApiError> {
    match value {
        QueryValue::Scalar(timestamp, value) => {
            json.raw(r#""resultType":"scalar","result":["#);
            push_timestamp_as_float(json.text(), *timestamp);
            json.raw(",\"");
            push_plain(json.text(), *value);
            json.raw("\"]");
        }
        QueryValue::String(timestamp, bytes) => {
            json.raw(r#""resultType":"string","result":["#);
            push_timestamp_as_float(json.text(), *timestamp);
            json.raw(",");
            push_string(json.text(), &String::from_utf8_lossy(bytes));
            json.raw("]");
        }
        QueryValue::Vector(samples) => {
            json.raw(r#""resultType":"vector","result":"#);
            json.list(samples, push_vector_sample)?;
        }
        QueryValue::Matrix(series) => {
            json.raw(r#""resultType":"matrix","result":"#);
            json.list(series, push_matrix_series)?;
        }
    }
    Ok(())
}

fn push_vector_sample(json: &mut JsonWriter, sample: &VectorSample) -> Result<(), ApiError> {
    json.raw("{\"metric\":");
    push_labels(json.text(), &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            json.raw(",\"value\":");
            push_point(json.text(), sample.timestamp, *value);
        }
        SampleValue::Histogram(histogram) => {
            json.raw(",\"histogram\":");
            push_histogram_point(json.text(), sample.timestamp, histogram);
        }
    }
    json.raw("}");
    Ok(())
}

fn push_matrix_series(json: &mut JsonWriter, series: &MatrixSeries) -> Result<(), ApiError> {
    json.raw("{\"metric\":");
    push_labels(json.text(), &series.labels);
    if !series.floats.is_empty() {
        json.raw(",\"values\":");
        json.list(&series.floats, |json, (timestamp, value)| {
            push_point(json.text(), *timestamp, *value);
            Ok(())
        })?;
    }
    if !series.histograms.is_empty() {
        json.raw(",\"histograms\":");
        json.list(&series.histograms, |json, (timestamp, histogram)| {
            push_histogram_point(json.text(), *timestamp, histogram);
            Ok(())
        })?;
    }
    json.raw("}");
    Ok(())
}

pub fn push_point(to: &mut String, timestamp: Timestamp, value: f64) {
    to.push('[');
    push_timestamp(to, timestamp);
    to.push_str(",\"");
    push_sample(to, value);
    to.push_str("\"]");
}

pub fn push_histogram_point(to: &mut String, timestamp: Timestamp, histogram: &Histogram) {
    to.push('[');
    push_timestamp(to, timestamp);
    to.push_str(",{\"count\":\"");
    push_sample(to, histogram.count);
    to.push_str("\",\"sum\":\"");
    push_sample(to, histogram.sum);
    to.push('"');
    let mut before = ",\"buckets\":[";
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        to.push_str(std::mem::replace(&mut before, ","));
        push_bucket(to, &bucket);
    }
    to.push_str(if before == "," { "]}]" } else { "}]" });
}

fn push_bucket(to: &mut String, bucket: &Bucket) {
    to.push('[');
    to.push_str(&bucket.boundaries().to_string());
    for value in [bucket.lower, bucket.upper, bucket.count] {
        to.push_str(",\"");
        push_sample(to, value);
        to.push('"');
    }
    to.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::Span;

    #[test]
    fn a_histogram_lists_its_populated_buckets_in_ascending_order() {
        let histogram = Histogram {
            schema: 0,
            zero_threshold: 0.5,
            zero_count: 1.0,
            count: 6.0,
            sum: -0.25,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![0.0, 3.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![2.0],
            ..Histogram::default()
        };
        let mut text = String::new();
        push_histogram_point(&mut text, 1_500, &histogram);
        let buckets = r#"[1,"-2","-1","2"],[3,"-0.5","0.5","1"],[0,"2","4","3"]"#;
        assert_eq!(text, format!(r#"[1.500,{{"count":"6","sum":"-0.25","buckets":[{buckets}]}}]"#));
    }

    #[test]
    fn an_empty_histogram_has_no_buckets() {
        let mut text = String::new();
        push_histogram_point(&mut text, 2_000, &Histogram::default());
        assert_eq!(text, r#"[2,{"count":"0","sum":"0"}]"#);
    }
}
