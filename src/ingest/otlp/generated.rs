//! Messages of every shape, for properties.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
use proptest::prelude::*;

pub fn any() -> impl Strategy<Value = AnyValue> {
    use any_value::Value::*;
    let leaf = prop_oneof![
        Just(None),
        "[a-zé ]{0,12}".prop_map(|text| Some(StringValue(text))),
        prop::bool::ANY.prop_map(|yes| Some(BoolValue(yes))),
        prop::num::i64::ANY.prop_map(|number| Some(IntValue(number))),
        prop::num::f64::ANY.prop_map(|number| Some(DoubleValue(number))),
        prop::collection::vec(prop::num::u8::ANY, 0..6).prop_map(|bytes| Some(BytesValue(bytes))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 16, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let map = prop::collection::vec(("[a-z]{0,4}", prop::option::of(inner)), 0..4);
        prop_oneof![
            list.prop_map(|values| AnyValue { value: Some(ArrayValue(self::ArrayValue { values })) }),
            map.prop_map(|pairs| {
                let values = pairs.into_iter().map(|(key, value)| key_value(key, value)).collect();
                AnyValue { value: Some(KvlistValue(KeyValueList { values })) }
            }),
        ]
    })
}

fn key_value(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key, value, ..Default::default() }
}

pub fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof!["[a-z.]{0,8}", Just("service.name".to_owned()), Just("level".to_owned())];
    prop::collection::vec((key, prop::option::of(any())), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| key_value(key, value)).collect())
}

pub fn scope() -> impl Strategy<Value = InstrumentationScope> {
    ("[a-z]{0,4}", "[0-9]{0,2}", attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        ..Default::default()
    })
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(1u8.., len),
        1 => Just(vec![0; len]),
        1 => prop::collection::vec(prop::num::u8::ANY, 0..20),
    ]
}

pub fn span() -> impl Strategy<Value = Span> {
    let event =
        (prop::num::u64::ANY, "[a-z]{0,8}", attributes()).prop_map(|(time_unix_nano, name, attributes)| {
            span::Event { time_unix_nano, name, attributes, dropped_attributes_count: 3 }
        });
    let link = (id(16), id(8), attributes(), prop::num::u32::ANY).prop_map(
        |(trace_id, span_id, attributes, flags)| span::Link {
            trace_id,
            span_id,
            attributes,
            flags,
            ..Default::default()
        },
    );
    let status = ("[a-z]{0,8}", 0..3).prop_map(|(message, code)| Status { message, code });
    let lists = (
        attributes(),
        prop::collection::vec(event, 0..3),
        prop::collection::vec(link, 0..3),
        prop::option::of(status),
    );
    let times = (prop::num::u64::ANY, prop::num::u64::ANY);
    (id(16), id(8), prop_oneof![Just(Vec::new()), id(8)], "[a-zé/]{0,12}", 0..6, times, lists).prop_map(
        |(trace_id, span_id, parent_span_id, name, kind, times, (attributes, events, links, status))| Span {
            trace_id,
            span_id,
            parent_span_id,
            name,
            kind,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes,
            events,
            links,
            status,
            flags: 257,
            trace_state: "a=b".to_owned(),
            dropped_events_count: 1,
            ..Default::default()
        },
    )
}

/// Records around `now`, or without a time.
pub fn log_record(now_nanos: u64) -> impl Strategy<Value = LogRecord> {
    let time = move || prop_oneof![Just(0), (0..1_000_000u64).prop_map(move |before| now_nanos - before)];
    let fields = (attributes(), id(16), id(8), prop::option::of(any()), "[a-z]{0,6}", 0u32..3);
    (time(), time(), -1..26, "[A-Za-z]{0,5}", fields).prop_map(
        |(
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            (attributes, trace_id, span_id, body, event_name, flags),
        )| LogRecord {
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            attributes,
            trace_id,
            span_id,
            body,
            event_name,
            flags,
            dropped_attributes_count: flags,
        },
    )
}

pub fn exemplar() -> impl Strategy<Value = metrics::Exemplar> {
    use metrics::exemplar::Value::{AsDouble, AsInt};
    let value = prop_oneof![
        Just(None),
        prop::num::f64::ANY.prop_map(|value| Some(AsDouble(value))),
        prop::num::i64::ANY.prop_map(|value| Some(AsInt(value))),
    ];
    (attributes(), prop::num::u64::ANY, id(8), id(16), value).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| metrics::Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value,
        },
    )
}

/// What points of all kinds have: attributes, exemplars, two times and flags.
fn of_all_points() -> impl Strategy<Value = (Vec<KeyValue>, Vec<metrics::Exemplar>, u64, u64, u32)> {
    let time = || prop_oneof![Just(0), prop::num::u64::ANY];
    (attributes(), prop::collection::vec(exemplar(), 0..2), time(), time(), 0u32..3)
}

fn number_point() -> impl Strategy<Value = metrics::NumberDataPoint> {
    use metrics::number_data_point::Value::{AsDouble, AsInt};
    let value = prop_oneof![
        Just(None),
        prop::num::f64::ANY.prop_map(|value| Some(AsDouble(value))),
        prop::num::i64::ANY.prop_map(|value| Some(AsInt(value))),
    ];
    (of_all_points(), value).prop_map(|((attributes, exemplars, start, time, flags), value)| {
        metrics::NumberDataPoint {
            attributes,
            exemplars,
            start_time_unix_nano: start,
            time_unix_nano: time,
            flags,
            value,
        }
    })
}

fn histogram_point() -> impl Strategy<Value = metrics::HistogramDataPoint> {
    let numbers = (
        prop::num::u64::ANY,
        prop::option::of(prop::num::f64::ANY),
        prop::collection::vec(prop::num::u64::ANY, 0..5),
        prop::collection::vec(prop::num::f64::ANY, 0..5),
    );
    (of_all_points(), numbers).prop_map(
        |((attributes, exemplars, start, time, flags), (count, sum, bucket_counts, explicit_bounds))| {
            metrics::HistogramDataPoint {
                attributes,
                exemplars,
                start_time_unix_nano: start,
                time_unix_nano: time,
                flags,
                count,
                sum,
                bucket_counts,
                explicit_bounds,
                min: sum,
                max: sum,
            }
        },
    )
}

fn exponential_point() -> impl Strategy<Value = metrics::ExponentialHistogramDataPoint> {
    use metrics::exponential_histogram_data_point::Buckets;
    let buckets = || {
        let counts = prop::collection::vec(prop_oneof![0u64..200, prop::num::u64::ANY], 0..5);
        prop::option::of((prop::num::i32::ANY, counts))
    };
    let made = |buckets: Option<(i32, Vec<u64>)>| {
        buckets.map(|(offset, bucket_counts)| Buckets { offset, bucket_counts })
    };
    let numbers = (-20..20, prop::num::u64::ANY, prop::option::of(prop::num::f64::ANY), buckets(), buckets());
    (of_all_points(), numbers).prop_map(
        move |((attributes, exemplars, start, time, flags), (scale, count, sum, positive, negative))| {
            metrics::ExponentialHistogramDataPoint {
                attributes,
                exemplars,
                start_time_unix_nano: start,
                time_unix_nano: time,
                flags,
                scale,
                count,
                sum,
                zero_count: count,
                positive: made(positive),
                negative: made(negative),
                min: sum,
                max: sum,
                zero_threshold: sum.unwrap_or(0.5),
            }
        },
    )
}

fn summary_point() -> impl Strategy<Value = metrics::SummaryDataPoint> {
    let quantile = (prop::num::f64::ANY, prop::num::f64::ANY)
        .prop_map(|(quantile, value)| metrics::summary_data_point::ValueAtQuantile { quantile, value });
    let numbers = (prop::num::u64::ANY, prop::num::f64::ANY, prop::collection::vec(quantile, 0..3));
    (of_all_points(), numbers).prop_map(
        |((attributes, _, start, time, flags), (count, sum, quantile_values))| metrics::SummaryDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            flags,
            count,
            sum,
            quantile_values,
        },
    )
}

fn metric() -> impl Strategy<Value = metrics::Metric> {
    use metrics::metric::Data;
    let temporality = 0..4;
    let list = 0..3;
    let data = prop_oneof![
        Just(None),
        prop::collection::vec(number_point(), list.clone())
            .prop_map(|data_points| Some(Data::Gauge(metrics::Gauge { data_points }))),
        (prop::collection::vec(number_point(), list.clone()), temporality.clone(), prop::bool::ANY).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Some(Data::Sum(metrics::Sum { data_points, aggregation_temporality, is_monotonic }))
            }
        ),
        (prop::collection::vec(histogram_point(), list.clone()), temporality.clone()).prop_map(
            |(data_points, aggregation_temporality)| {
                Some(Data::Histogram(metrics::Histogram { data_points, aggregation_temporality }))
            }
        ),
        (prop::collection::vec(exponential_point(), list.clone()), temporality).prop_map(
            |(data_points, aggregation_temporality)| {
                let histogram = metrics::ExponentialHistogram { data_points, aggregation_temporality };
                Some(Data::ExponentialHistogram(histogram))
            }
        ),
        prop::collection::vec(summary_point(), list)
            .prop_map(|data_points| Some(Data::Summary(metrics::Summary { data_points }))),
    ];
    ("[a-zé.]{0,9}", "[a-z ]{0,9}", "[a-zA-Z/1]{0,3}", attributes(), data).prop_map(
        |(name, description, unit, metadata, data)| metrics::Metric {
            name,
            description,
            unit,
            metadata,
            data,
        },
    )
}

pub fn metrics_request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scope_metrics = (prop::option::of(scope()), prop::collection::vec(metric(), 0..3), "[a-z]{0,3}")
        .prop_map(|(scope, metrics, schema_url)| metrics::ScopeMetrics { scope, metrics, schema_url });
    let resource = attributes().prop_map(|attributes| Resource { attributes, ..Default::default() });
    let resource_metrics =
        (prop::option::of(resource), prop::collection::vec(scope_metrics, 0..3), "[a-z]{0,3}").prop_map(
            |(resource, scope_metrics, schema_url)| metrics::ResourceMetrics {
                resource,
                scope_metrics,
                schema_url,
            },
        );
    prop::collection::vec(resource_metrics, 0..3)
        .prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}
