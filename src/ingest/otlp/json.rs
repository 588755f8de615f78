//! OTLP's JSON, as its specification narrows protobuf's: keys in lowerCamelCase, unknown ones ignored, 64-bit
//! integers as numbers or texts, enumerations as numbers, ids in hex, bytes in base64.
//!
//! A linear scan before the parser bounds the depth and the number of values, and with them the memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::metrics::v1 as wire;
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

use super::super::IngestError;

const DEPTH_MAX: usize = 64;

// A parsed value costs about 100 bytes with its key: 100 MB. A point has some twenty.
const VALUES_MAX: usize = 1_000_000;

pub(super) fn decode(body: &[u8]) -> Result<ExportMetricsServiceRequest, IngestError> {
    scan(body)?;
    let root: Value =
        serde_json::from_slice(body).map_err(|e| malformed(offset_of(&e, body), e.to_string()))?;
    let Value::Object(root) = &root else { return Err(malformed(0, "not an object".to_owned())) };
    let resource_metrics = Object(root).objects("resourceMetrics", resource_metrics)?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn malformed(offset: usize, reason: String) -> IngestError {
    IngestError::Malformed { what: "JSON", offset, reason }
}

/// Refuses what is nested too deep or has too many values, whatever else may be wrong with it.
fn scan(body: &[u8]) -> Result<(), IngestError> {
    let (mut depth, mut values, mut at) = (0usize, 0usize, 0usize);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => at = end_of_text(body, at),
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(malformed(at, format!("nested deeper than {DEPTH_MAX}")));
        }
        if values > VALUES_MAX {
            return Err(malformed(at, format!("more than {VALUES_MAX} values")));
        }
        at += 1;
    }
    Ok(())
}

/// Where the text that starts at `at` has its closing quote.
fn end_of_text(body: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The parser counts lines and columns from 1.
fn offset_of(error: &serde_json::Error, body: &[u8]) -> usize {
    let lines = body.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)).min(body.len())
}

/// A message: `null` and a missing key are the same.
#[derive(Clone, Copy)]
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, IngestError> {
        let bad = || IngestError::BadField { field: key, expected };
        self.get(key).map(|value| read(value).ok_or_else(bad)).transpose()
    }

    fn object<T>(
        self,
        key: &'static str,
        read: impl FnOnce(Object<'a>) -> Result<T, IngestError>,
    ) -> Result<Option<T>, IngestError> {
        self.read(key, "an object", Value::as_object)?.map(|object| read(Object(object))).transpose()
    }

    fn objects<T>(
        self,
        key: &'static str,
        read: impl Fn(Object<'a>) -> Result<T, IngestError>,
    ) -> Result<Vec<T>, IngestError> {
        let list = self.read(key, "a list of objects", Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let bad = || IngestError::BadField { field: key, expected: "a list of objects" };
        list.iter().map(|value| read(Object(value.as_object().ok_or_else(bad)?))).collect()
    }

    fn numbers<T>(
        self,
        key: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, IngestError> {
        let list = self.read(key, "a list of numbers", Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let bad = || IngestError::BadField { field: key, expected: "a list of numbers" };
        list.iter().map(|value| read(value).ok_or_else(bad)).collect()
    }

    fn text(self, key: &'static str) -> Result<String, IngestError> {
        Ok(self.read(key, "a text", Value::as_str)?.unwrap_or_default().to_owned())
    }

    fn bool(self, key: &'static str) -> Result<bool, IngestError> {
        Ok(self.read(key, "true or false", Value::as_bool)?.unwrap_or_default())
    }

    fn u64(self, key: &'static str) -> Result<u64, IngestError> {
        Ok(self.read(key, "an unsigned 64-bit integer", u64_of)?.unwrap_or_default())
    }

    fn u32(self, key: &'static str) -> Result<u32, IngestError> {
        let read = |value| u64_of(value).and_then(|number| u32::try_from(number).ok());
        Ok(self.read(key, "an unsigned 32-bit integer", read)?.unwrap_or_default())
    }

    fn i32(self, key: &'static str) -> Result<i32, IngestError> {
        let read = |value| i64_of(value).and_then(|number| i32::try_from(number).ok());
        Ok(self.read(key, "a 32-bit integer", read)?.unwrap_or_default())
    }

    fn i64(self, key: &'static str) -> Result<Option<i64>, IngestError> {
        self.read(key, "a 64-bit integer", i64_of)
    }

    fn f64(self, key: &'static str) -> Result<Option<f64>, IngestError> {
        self.read(key, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", f64_of)
    }

    fn hex(self, key: &'static str) -> Result<Vec<u8>, IngestError> {
        let read = |value: &Value| hex_bytes(value.as_str()?);
        Ok(self.read(key, "a text of hexadecimal digits", read)?.unwrap_or_default())
    }
}

fn u64_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_u64().or_else(|| whole(value).and_then(|v| (v >= 0.0).then_some(v as u64))),
    }
}

fn i64_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_i64().or_else(|| whole(value).map(|v| v as i64)),
    }
}

/// Protobuf's JSON allows `1.0` and `1e3` for integers.
fn whole(value: &Value) -> Option<f64> {
    // Up to 2^63 the conversion back to an integer is exact.
    value.as_f64().filter(|v| v.fract() == 0.0 && v.abs() < 9.2e18)
}

fn f64_of(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => value.as_f64(),
    }
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn resource_metrics(object: Object<'_>) -> Result<wire::ResourceMetrics, IngestError> {
    Ok(wire::ResourceMetrics {
        resource: object.object("resource", |resource| {
            Ok(Resource { attributes: resource.objects("attributes", key_value)?, ..Default::default() })
        })?,
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

fn key_value(object: Object<'_>) -> Result<KeyValue, IngestError> {
    Ok(KeyValue { key: object.text("key")?, value: object.object("value", any_value)?, ..Default::default() })
}

/// Nested as deep as the scan let through.
fn any_value(object: Object<'_>) -> Result<AnyValue, IngestError> {
    use any_value::Value as Any;
    let value = if let Some(text) = object.read("stringValue", "a text", Value::as_str)? {
        Some(Any::StringValue(text.to_owned()))
    } else if let Some(yes) = object.read("boolValue", "true or false", Value::as_bool)? {
        Some(Any::BoolValue(yes))
    } else if let Some(number) = object.i64("intValue")? {
        Some(Any::IntValue(number))
    } else if let Some(number) = object.f64("doubleValue")? {
        Some(Any::DoubleValue(number))
    } else if let Some(list) = object.object("arrayValue", |list| list.objects("values", any_value))? {
        Some(Any::ArrayValue(ArrayValue { values: list }))
    } else if let Some(map) = object.object("kvlistValue", |map| map.objects("values", key_value))? {
        Some(Any::KvlistValue(KeyValueList { values: map }))
    } else {
        let read = |value: &Value| BASE64.decode(value.as_str()?).ok();
        object.read("bytesValue", "a text in base64", read)?.map(Any::BytesValue)
    };
    Ok(AnyValue { value })
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
    fn depth_and_number_of_values_are_bounded_before_parsing() {
        let deep = "[".repeat(100_000);
        assert_eq!(error(&deep), "invalid JSON at byte 64: nested deeper than 64");
        let wide = format!("[{}", "0,".repeat(VALUES_MAX + 1));
        assert!(error(&wide).ends_with("more than 1000000 values"), "{}", error(&wide));
        // Brackets within a text are text.
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(100));
        assert!(decode(text.as_bytes()).unwrap().resource_metrics.is_empty());
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
