//! Metrics in OTLP's JSON.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1 as wire;

use super::{key_value, resource};
use crate::ingest::IngestError;
use crate::ingest::json::{Object, f64_of, parse_object, u64_of};

pub(in super::super) fn decode(body: &[u8]) -> Result<ExportMetricsServiceRequest, IngestError> {
    let root = parse_object(body)?;
    let resource_metrics = Object(&root).objects("resourceMetrics", resource_metrics)?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn resource_metrics(object: Object<'_>) -> Result<wire::ResourceMetrics, IngestError> {
    Ok(wire::ResourceMetrics {
        resource: object.object("resource", resource)?,
        scope_metrics: object.objects("scopeMetrics", |scope| {
            Ok(wire::ScopeMetrics { metrics: scope.objects("metrics", metric)?, ..Default::default() })
        })?,
        ..Default::default()
    })
}

fn metric(object: Object<'_>) -> Result<wire::Metric, IngestError> {
    use wire::metric::Data;
    let gauge = object.object("gauge", |gauge| {
        Ok(Data::Gauge(wire::Gauge { data_points: gauge.objects("dataPoints", number)? }))
    });
    let sum = object.object("sum", |sum| {
        Ok(Data::Sum(wire::Sum {
            data_points: sum.objects("dataPoints", number)?,
            aggregation_temporality: sum.i32("aggregationTemporality")?,
            is_monotonic: sum.bool("isMonotonic")?,
        }))
    });
    let histogram = object.object("histogram", |histogram| {
        Ok(Data::Histogram(wire::Histogram {
            data_points: histogram.objects("dataPoints", histogram_point)?,
            aggregation_temporality: histogram.i32("aggregationTemporality")?,
        }))
    });
    let exponential = object.object("exponentialHistogram", |histogram| {
        Ok(Data::ExponentialHistogram(wire::ExponentialHistogram {
            data_points: histogram.objects("dataPoints", exponential_point)?,
            aggregation_temporality: histogram.i32("aggregationTemporality")?,
        }))
    });
    let summary = object.object("summary", |summary| {
        Ok(Data::Summary(wire::Summary { data_points: summary.objects("dataPoints", summary_point)? }))
    });
    Ok(wire::Metric {
        name: object.text("name")?,
        description: object.text("description")?,
        unit: object.text("unit")?,
        data: gauge?.or(sum?).or(histogram?).or(exponential?).or(summary?),
        ..Default::default()
    })
}

fn number(object: Object<'_>) -> Result<wire::NumberDataPoint, IngestError> {
    use wire::number_data_point::Value;
    let value = match object.i64("asInt")? {
        Some(value) => Some(Value::AsInt(value)),
        None => object.f64("asDouble")?.map(Value::AsDouble),
    };
    Ok(wire::NumberDataPoint {
        attributes: object.objects("attributes", key_value)?,
        start_time_unix_nano: object.u64("startTimeUnixNano")?,
        time_unix_nano: object.u64("timeUnixNano")?,
        exemplars: object.objects("exemplars", exemplar)?,
        flags: object.u32("flags")?,
        value,
    })
}

fn histogram_point(object: Object<'_>) -> Result<wire::HistogramDataPoint, IngestError> {
    Ok(wire::HistogramDataPoint {
        attributes: object.objects("attributes", key_value)?,
        start_time_unix_nano: object.u64("startTimeUnixNano")?,
        time_unix_nano: object.u64("timeUnixNano")?,
        count: object.u64("count")?,
        sum: object.f64("sum")?,
        bucket_counts: object.numbers("bucketCounts", u64_of)?,
        explicit_bounds: object.numbers("explicitBounds", f64_of)?,
        exemplars: object.objects("exemplars", exemplar)?,
        flags: object.u32("flags")?,
        min: object.f64("min")?,
        max: object.f64("max")?,
    })
}

fn exponential_point(object: Object<'_>) -> Result<wire::ExponentialHistogramDataPoint, IngestError> {
    let buckets = |buckets: Object<'_>| {
        Ok(wire::exponential_histogram_data_point::Buckets {
            offset: buckets.i32("offset")?,
            bucket_counts: buckets.numbers("bucketCounts", u64_of)?,
        })
    };
    Ok(wire::ExponentialHistogramDataPoint {
        attributes: object.objects("attributes", key_value)?,
        start_time_unix_nano: object.u64("startTimeUnixNano")?,
        time_unix_nano: object.u64("timeUnixNano")?,
        count: object.u64("count")?,
        sum: object.f64("sum")?,
        scale: object.i32("scale")?,
        zero_count: object.u64("zeroCount")?,
        positive: object.object("positive", buckets)?,
        negative: object.object("negative", buckets)?,
        flags: object.u32("flags")?,
        exemplars: object.objects("exemplars", exemplar)?,
        min: object.f64("min")?,
        max: object.f64("max")?,
        zero_threshold: object.f64("zeroThreshold")?.unwrap_or_default(),
    })
}

fn summary_point(object: Object<'_>) -> Result<wire::SummaryDataPoint, IngestError> {
    Ok(wire::SummaryDataPoint {
        attributes: object.objects("attributes", key_value)?,
        start_time_unix_nano: object.u64("startTimeUnixNano")?,
        time_unix_nano: object.u64("timeUnixNano")?,
        count: object.u64("count")?,
        sum: object.f64("sum")?.unwrap_or_default(),
        quantile_values: object.objects("quantileValues", |at| {
            Ok(wire::summary_data_point::ValueAtQuantile {
                quantile: at.f64("quantile")?.unwrap_or_default(),
                value: at.f64("value")?.unwrap_or_default(),
            })
        })?,
        flags: object.u32("flags")?,
    })
}

fn exemplar(object: Object<'_>) -> Result<wire::Exemplar, IngestError> {
    use wire::exemplar::Value;
    let value = match object.i64("asInt")? {
        Some(value) => Some(Value::AsInt(value)),
        None => object.f64("asDouble")?.map(Value::AsDouble),
    };
    Ok(wire::Exemplar {
        filtered_attributes: object.objects("filteredAttributes", key_value)?,
        time_unix_nano: object.u64("timeUnixNano")?,
        span_id: object.hex("spanId")?,
        trace_id: object.hex("traceId")?,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        decode(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn integers_come_as_numbers_or_texts_and_unknown_keys_are_ignored() {
        let body = |time: &str, value: &str| {
            format!(
                r#"{{"unknown":[1],"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"x","gauge":
                {{"dataPoints":[{{"timeUnixNano":{time},{value},"flags":1,"attributes":null}}]}}}}]}}]}}]}}"#
            )
        };
        let point = |body: String| {
            let request = decode(body.as_bytes()).unwrap();
            let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
            match metric.data.as_ref().unwrap() {
                wire::metric::Data::Gauge(gauge) => gauge.data_points[0].clone(),
                other => panic!("{other:?}"),
            }
        };
        use wire::number_data_point::Value::*;
        let number = point(body("18446744073709551615", r#""asInt":"-9223372036854775808""#));
        assert_eq!((number.time_unix_nano, number.value), (u64::MAX, Some(AsInt(i64::MIN))));
        let text = point(body(r#""12""#, r#""asDouble":"-Infinity""#));
        assert_eq!((text.time_unix_nano, text.value), (12, Some(AsDouble(f64::NEG_INFINITY))));
        assert_eq!(point(body("1e3", r#""asDouble":5"#)).value, Some(AsDouble(5.0)));
        assert_eq!(point(body("1", r#""asInt":7"#)).flags, 1);
    }

    #[test]
    fn what_is_no_otlp_is_named() {
        let gauge = |point: &str| {
            format!(
                r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
            )
        };
        let cases = [
            (gauge(r#"{"timeUnixNano":"soon"}"#), "timeUnixNano is not an unsigned 64-bit integer"),
            (gauge(r#"{"timeUnixNano":-1}"#), "timeUnixNano is not an unsigned 64-bit integer"),
            (gauge(r#"{"asInt":1.5}"#), "asInt is not a 64-bit integer"),
            (gauge(r#"{"exemplars":[{"traceId":"0g"}]}"#), "traceId is not a text of hexadecimal digits"),
            (gauge("7"), "dataPoints is not a list of objects"),
            (gauge(r#"{"attributes":[{"key":1}]}"#), "key is not a text"),
            ("[]".to_owned(), "invalid JSON at byte 0: not an object"),
            ("{\n\"a\": tru}".to_owned(), "invalid JSON at byte 10: expected ident"),
            (r#"{"a":1e999}"#.to_owned(), "number out of range"),
            (r#"{"a":"\ud800"}"#.to_owned(), "invalid JSON at byte"),
            ("{\"a\":\"\u{0}\"}".to_owned(), "control character"),
            (String::new(), "invalid JSON at byte 0"),
        ];
        for (body, words) in cases {
            assert!(error(&body).contains(words), "{body}: {}", error(&body));
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused() {
        let body = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":{"arrayValue":{"values":
            [{"bytesValue":"AQI="},{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":true}}]}}]}}}]}}]}"#;
        assert!(decode(body).is_ok());
        for cut in 0..body.len() {
            assert!(decode(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
