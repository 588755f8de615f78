//! Log records, read into a batch.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;

use super::*;
use crate::ingest::logs::{LogIntake, shown};
use crate::ingest::refusals::Refusals;
use crate::ingest::tests::NOW;
use crate::ingest::{Options, Outcome};
use crate::storage::logs::LogBatch;

const NOW_NANOS: u64 = NOW as u64 * 1_000_000;

fn read_with(options: &Options, body: &[u8]) -> Result<(LogBatch, Outcome), IngestError> {
    read_into(LogIntake::new(options, 2, NOW), body)
}

fn read_into(mut intake: LogIntake<'_>, body: &[u8]) -> Result<(LogBatch, Outcome), IngestError> {
    read_logs(body, NOW, &|_| 1, &mut intake)?;
    let (batch, mut outcome, refusals) = intake.finish();
    refusals.tell(&mut outcome);
    Ok((batch, outcome))
}

/// The rows of a request in JSON; `NOW` stands for its nanoseconds.
fn read_json(resource: &str, records: &str) -> (Vec<String>, Outcome) {
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{resource}]}},"scopeLogs":[{{"scope":{{"name":"lib","version":"2",
            "attributes":[{{"key":"scope.kind","value":{{"stringValue":"k"}}}}]}},"logRecords":[{records}]}}]}}]}}"#
    );
    let body = body.replace("NOW", &format!("\"{NOW_NANOS}\""));
    let options = Options::default();
    let mut intake = LogIntake::new(&options, 2, NOW);
    let body = encoded_logs(body.as_bytes(), BodyFormat::Json, &mut intake.refusals).unwrap();
    let (batch, outcome) = read_into(intake, &body).unwrap();
    let rows = shown(&batch).into_iter().map(|row| row.replace(&NOW_NANOS.to_string(), "NOW")).collect();
    (rows, outcome)
}

const RESOURCE: &str = r#"
    {"key":"service.name","value":{"stringValue":"api"}},
    {"key":"k8s.pod.name","value":{"stringValue":"api-1"}},
    {"key":"host.name","value":{"stringValue":"here"}}"#;

#[test]
fn a_record_keeps_all_it_has_under_its_own_names() {
    let record = r#"{"timeUnixNano":NOW,"observedTimeUnixNano":NOW,"severityNumber":17,"severityText":"Error",
        "body":{"stringValue":"it broke"},"traceId":"5b8aa5a2d2c872e8321cf37308d69df2","spanId":"051581bf3cb55c13",
        "flags":1,"droppedAttributesCount":3,"eventName":"broken","attributes":[
            {"key":"http.status_code","value":{"intValue":"500"}},
            {"key":"user","value":{"kvlistValue":{"values":[
                {"key":"id","value":{"intValue":7}},
                {"key":"tags","value":{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true}]}}},
                {"key":"none","value":{"stringValue":""}}]}}}]}"#;
    let (rows, outcome) = read_json(RESOURCE, record);
    assert_eq!(
        rows,
        [concat!(
            r#"{k8s_pod_name="api-1", service_name="api"} NOW "it broke" {severity_text=Error, "#,
            r#"dropped_attributes_count=3, flags=1, trace_id=5b8aa5a2d2c872e8321cf37308d69df2, "#,
            r#"span_id=051581bf3cb55c13, event_name=broken, observed_timestamp=NOW, severity_number=17, "#,
            r#"http.status_code=500, user.id=7, user.tags=["a",true], scope_name=lib, scope_version=2, scope.kind=k, "#,
            r#"host.name=here, detected_level=error}"#
        )]
    );
    assert_eq!((outcome.log_entries, outcome.rejected), (1, 0));
}

#[test]
fn a_body_of_any_kind_is_a_line() {
    let bodies = [
        (r#"{"intValue":"-5"}"#, "-5"),
        (r#"{"doubleValue":0.5}"#, "0.5"),
        (r#"{"boolValue":false}"#, "false"),
        (r#"{"bytesValue":"AQI="}"#, "AQI="),
        (r#"{"arrayValue":{"values":[{"intValue":1},{}]}}"#, "[1,null]"),
        (
            r#"{"kvlistValue":{"values":[{"key":"b","value":{"intValue":1}},{"key":"a"}]}}"#,
            r#"{"a":null,"b":1}"#,
        ),
        ("{}", ""),
    ];
    for (body, line) in bodies {
        let (rows, _) = read_json(RESOURCE, &format!(r#"{{"timeUnixNano":NOW,"body":{body}}}"#));
        assert!(rows[0].contains(&format!(" NOW {line:?} {{")), "{body}: {rows:?}");
    }
}

#[test]
fn a_record_without_time_has_that_of_its_observer_or_ours() {
    let observed = NOW_NANOS - 5;
    let (rows, _) = read_json(RESOURCE, &format!(r#"{{"observedTimeUnixNano":"{observed}"}},{{}}"#));
    assert!(rows[0].contains(&format!(" {observed} \"\" ")) && rows[1].contains(" NOW \"\" "), "{rows:?}");
}

#[test]
fn the_service_is_found_where_it_is_not_named() {
    let (rows, _) = read_json(
        r#"{"key":"app.name","value":{"stringValue":"shop"}},{"key":"k8s.container.name","value":{"stringValue":"c"}}"#,
        "{}",
    );
    assert!(rows[0].starts_with(r#"{k8s_container_name="c", service_name="shop"}"#), "{rows:?}");
    let (rows, _) = read_json("", "{}");
    assert!(rows[0].starts_with(r#"{service_name="unknown_service"}"#), "{rows:?}");
}

#[test]
fn a_bad_record_is_refused_alone() {
    let ahead = NOW_NANOS + 900_000_000_000;
    let (rows, outcome) = read_json(
        RESOURCE,
        &format!(r#"{{"timeUnixNano":"{ahead}"}},{{"timeUnixNano":"{}"}},{{}}"#, u64::MAX),
    );
    assert_eq!((rows.len(), outcome.rejected), (1, 2));
    assert_eq!(outcome.reasons[0], format!("timestamp {ahead} is 15 minutes ahead (limit 10m)"));
    assert!(
        outcome.reasons[1].starts_with("timestamp 18446744073709551615 is 235 years ahead"),
        "{outcome:?}"
    );
    let resource = format!(r#"{{"key":"service.name","value":{{"stringValue":"{}"}}}}"#, "x".repeat(3_000));
    let (rows, outcome) = read_json(&resource, "{},{}");
    assert_eq!((rows.len(), outcome.rejected), (0, 2));
    assert!(outcome.reasons[0].starts_with("label value has 3000 bytes > 2048"), "{outcome:?}");
}

#[test]
fn a_record_whose_json_is_not_otlps_is_refused_alone() {
    let (rows, outcome) = read_json(
        RESOURCE,
        r#"{"body":{"stringValue":"one"}},{"body":{"stringValue":"two"},"traceId":"5b8aa5a2d2c872e8321cf37308d69dfg"},
            {"spanId":"1","body":{"intValue":1}},{"body":{"stringValue":"three"},"spanId":"051581bf3cb55c13"}"#,
    );
    assert_eq!((rows.len(), outcome.log_entries, outcome.rejected), (2, 2, 2));
    assert!(rows[0].contains(r#" "one" "#) && rows[1].contains("span_id=051581bf3cb55c13"), "{rows:?}");
    assert_eq!(
        outcome.reasons,
        [
            r#"log record "two": traceId is not a text of hexadecimal digits"#,
            r#"log record "": spanId is not a text of hexadecimal digits"#,
        ]
    );
}

#[test]
fn a_resource_told_once_cannot_fill_the_memory() {
    let attribute = KeyValue {
        key: "much".into(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue("x".repeat(60_000))) }),
        ..Default::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: vec![attribute], ..Default::default() }),
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord::default(); 10_000],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let options = Options { decoded_bytes_max: 1 << 20, ..Options::default() };
    let (_, outcome) = read_with(&options, &request.encode_to_vec()).unwrap();
    assert!(outcome.log_entries < 200 && outcome.log_entries + outcome.rejected == 10_000, "{outcome:?}");
    assert!(outcome.reasons[0].contains("too much memory"), "{outcome:?}");
}

/// The metadata that a record's attributes become, by way of a decoder; of two with the same name the first counts.
fn flattened(prefix: &str, attributes: &[KeyValue], to: &mut BTreeMap<String, String>) {
    for attribute in attributes {
        let name = format!("{prefix}{}", attribute.key);
        match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::KvlistValue(map)) => flattened(&format!("{name}."), &map.values, to),
            _ => {
                let text = attributes::text(attribute.value.as_ref());
                if !name.is_empty() && !text.is_empty() {
                    to.entry(name).or_insert_with(|| text.into_owned());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_walk_finds_what_a_decoder_finds(
        record in generated::log_record(NOW_NANOS),
        scope in generated::scope(),
    ) {
        let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { scope: Some(scope.clone()), log_records: vec![record.clone()], ..Default::default() }],
            ..Default::default()
        }] };
        let (batch, outcome) = read_with(&Options::default(), &request.encode_to_vec()).unwrap();
        prop_assert_eq!(outcome.log_entries, 1);
        let entry = batch.shards[1].streams[0].entries().next().unwrap();
        let mut found = BTreeMap::new();
        for (name, value) in entry.metadata() {
            found.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        found.remove("detected_level");

        let mut expected = BTreeMap::new();
        let mut add = |name: &str, value: String| {
            if !value.is_empty() && value != "0" {
                expected.insert(name.to_owned(), value);
            }
        };
        let hex = |bytes: &[u8], len: usize| match bytes.len() == len && bytes.iter().any(|&b| b != 0) {
            true => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            false => String::new(),
        };
        add("severity_text", record.severity_text.clone());
        add("severity_number", record.severity_number.max(0).to_string());
        add("observed_timestamp", record.observed_time_unix_nano.to_string());
        add("flags", record.flags.to_string());
        add("dropped_attributes_count", record.dropped_attributes_count.to_string());
        add("event_name", record.event_name.clone());
        add("trace_id", hex(&record.trace_id, 16));
        add("span_id", hex(&record.span_id, 8));
        flattened("", &record.attributes, &mut expected);
        let mut of_scope = BTreeMap::from([("scope_name".to_owned(), scope.name), ("scope_version".to_owned(), scope.version)]);
        of_scope.retain(|_, value| !value.is_empty());
        flattened("", &scope.attributes, &mut of_scope);
        for (name, value) in of_scope {
            expected.entry(name).or_insert(value);
        }
        expected.remove("detected_level");
        prop_assert_eq!(found, expected);
        prop_assert_eq!(entry.line, attributes::text(record.body.as_ref()));
        let times = [record.time_unix_nano, record.observed_time_unix_nano, NOW_NANOS];
        prop_assert_eq!(entry.timestamp as u64, times.into_iter().find(|&time| time > 0).unwrap());
    }

    #[test]
    fn no_body_panics(
        record in generated::log_record(NOW_NANOS),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..Default::default() }],
            ..Default::default()
        }] };
        let mut body = request.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for body in [&body[..], &body[..cut.index(body.len())], &noise[..]] {
            let _ = read_with(&Options::default(), body);
            let _ = encoded_logs(body, BodyFormat::Json, &mut Refusals::default());
        }
    }
}
