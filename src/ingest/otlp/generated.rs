//! Messages of every shape, for properties.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
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
