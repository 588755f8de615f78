//! `/api/v1/status/self_metrics`: our own metrics as JSON, in the form that protobuf's families have there.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::status::success;
use crate::model::regex::LabelRegex;

/// `metric_name_pattern`: only families whose whole name it matches.
pub async fn self_metrics(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let form = Form::new(&uri, &Default::default());
    let pattern = match form.get("metric_name_pattern") {
        "" => None,
        pattern => Some(
            LabelRegex::new(pattern)
                .map_err(|error| ApiError::BadData(format!("invalid metric_name_pattern: {error}")))?,
        ),
    };
    let is_wanted = |family: &MetricFamily| pattern.as_ref().is_none_or(|p| p.is_match(family.name()));
    let families = api.registry.gather();
    Ok(success(families.iter().filter(|family| is_wanted(family)).map(shown).collect()))
}

fn shown(family: &MetricFamily) -> Value {
    let kind = family.get_field_type();
    let metrics: Vec<Value> = family.get_metric().iter().map(|metric| shown_metric(kind, metric)).collect();
    json!({"name": family.name(), "help": family.help(), "type": type_text(kind), "metric": metrics})
}

fn type_text(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "COUNTER",
        MetricType::GAUGE => "GAUGE",
        MetricType::HISTOGRAM => "HISTOGRAM",
        MetricType::SUMMARY => "SUMMARY",
        MetricType::UNTYPED => "UNTYPED",
    }
}

/// We have no summaries and nothing untyped.
fn shown_metric(kind: MetricType, metric: &Metric) -> Value {
    let mut shown = match kind {
        MetricType::COUNTER => json!({"counter": {"value": number(metric.get_counter().get_value())}}),
        MetricType::GAUGE => json!({"gauge": {"value": number(metric.get_gauge().get_value())}}),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket().iter().map(|bucket| {
                json!({
                    "cumulativeCount": bucket.cumulative_count().to_string(),
                    "upperBound": number(bucket.upper_bound()),
                })
            });
            json!({"histogram": {
                "sampleCount": histogram.get_sample_count().to_string(),
                "sampleSum": number(histogram.get_sample_sum()),
                "bucket": buckets.collect::<Vec<_>>(),
            }})
        }
        MetricType::SUMMARY | MetricType::UNTYPED => json!({}),
    };
    let labels = metric.get_label().iter();
    let labels: Vec<Value> = labels.map(|l| json!({"name": l.name(), "value": l.value()})).collect();
    if !labels.is_empty() {
        shown["label"] = Value::Array(labels);
    }
    shown
}

/// JSON has no number for these.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}
