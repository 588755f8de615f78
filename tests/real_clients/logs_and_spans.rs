//! The OpenTelemetry SDKs for Python and JavaScript, the Zipkin exporter and python-logging-loki send logs and spans; each
//! is read back through the API that Grafana would use, to the nanosecond. The scripts beside this file send.

use std::collections::BTreeMap;
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Value, json};

use super::programs::{installed, node_modules, python, run_script};
use crate::common::Server;
use crate::common::readback::{Entry, entries, trace};

const PYTHON_IMPORTS: &str = "import opentelemetry.sdk._logs\n\
    import opentelemetry.exporter.otlp.proto.grpc.trace_exporter\n\
    import opentelemetry.exporter.otlp.proto.http._log_exporter\n\
    import opentelemetry.exporter.zipkin.json\n\
    import logging_loki";

#[test]
fn what_the_python_sdk_sends_by_otlp_is_read_back_exactly() {
    let Some(python) = python(PYTHON_IMPORTS) else { return };
    let icecore = Server::start(&[]);
    let (grpc, http) = (format!("http://{}", icecore.otlp_grpc), format!("http://{}", icecore.otlp_http));
    for [service, protocol, endpoint, compression] in [
        ["grpc", "grpc", &grpc, "none"],
        ["grpc-gzip", "grpc", &grpc, "gzip"],
        ["http", "http", &http, "none"],
        ["http-gzip", "http", &http, "gzip"],
        ["main-port-grpc", "grpc", &icecore.url, "gzip"],
        ["main-port-http", "http", &icecore.url, "none"],
    ] {
        let sent = sent(&python, "every_span_and_log.py", &[service, protocol, endpoint, compression]);
        let resource = json!({"service.name": service, "host.name": "here", "service.instance.id": "one"});
        let [root, child] = both_spans(&icecore, &sent, &resource);
        assert_eq!(
            root,
            json!({
                "name": "GET /é", "kind": 2, "parent": "", "time": sent["root"], "status": [2, "it broke"],
                "attributes": {"http.status_code": 500, "ratio": 0.5, "is.cached": false, "tags": ["a", "b"]},
                "events": [{"name": "cache miss", "time": sent["event"], "attributes": {"key": "k1", "tries": 2}}],
                "links": [{"trace": "5b8aa5a2d2c872e8321cf37308d69df2", "span": "051581bf3cb55c13",
                    "attributes": {"why": "retry"}}],
            })
        );
        assert_eq!(
            child,
            json!({
                "name": "query", "kind": 3, "parent": sent["root_id"], "time": sent["child"], "status": [0, ""],
                "attributes": {"db.system": "sqlite"}, "events": [], "links": [],
            })
        );

        let labels = [("service_instance_id", "one"), ("service_name", service)];
        let times = |at: usize| [0, 1].map(|which| sent["logs"][at][which].as_i64().unwrap());
        let expected = [(0, "it broke: é", "ERROR", "17", "error"), (1, "all is well", "INFO", "9", "info")]
            .map(|(at, line, text, number, level)| {
                let [time, observed] = times(at);
                let observed = observed.to_string();
                let mut metadata = vec![
                    ("detected_level", level),
                    ("host_name", "here"),
                    ("observed_timestamp", &observed),
                    ("scope_name", "shop"),
                    ("severity_number", number),
                    ("severity_text", text),
                ];
                if at == 0 {
                    metadata.extend([
                        ("flags", sent["flags"].as_str().unwrap()),
                        ("http_route", "/"),
                        ("span_id", sent["root_id"].as_str().unwrap()),
                        ("trace_id", sent["trace_id"].as_str().unwrap()),
                        ("user_id", "7"),
                    ]);
                }
                Entry::new(time, line, &labels, &metadata)
            });
        let found = entries(&icecore.url, &format!("{{service_name=\"{service}\"}}"));
        // Where in the source a record was made is of no interest.
        let found = found.into_iter().map(|mut entry| {
            entry.metadata.retain(|name, _| !name.starts_with("code_"));
            entry
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{service}");
    }
}

#[test]
fn what_the_javascript_sdk_sends_in_json_is_read_back_exactly() {
    let (Some(node), Some(modules)) = (installed("node"), node_modules()) else { return };
    let icecore = Server::start(&[]);
    let http = format!("http://{}", icecore.otlp_http);
    for [service, endpoint, compression] in [["js", &http, "none"], ["js-gzip", &icecore.url, "gzip"]] {
        let arguments = [modules.to_str().unwrap(), service, endpoint, compression];
        let sent = sent(&node, "every_span_and_log.js", &arguments);
        let resource = json!({"service.name": service, "host.name": "here"});
        let [root, child] = both_spans(&icecore, &sent, &resource);
        assert_eq!(
            root,
            json!({
                "name": "GET /é", "kind": 2, "parent": "", "time": sent["root"], "status": [2, "it broke"],
                "attributes": {"http.status_code": 500, "ratio": 0.5, "is.cached": false, "tags": ["a", "b"]},
                "events": [{"name": "cache miss", "time": sent["event"], "attributes": {"key": "k1", "tries": 2}}],
                "links": [],
            })
        );
        assert_eq!(
            child,
            json!({
                "name": "query", "kind": 3, "parent": sent["root_id"], "time": sent["child"], "status": [0, ""],
                "attributes": {}, "events": [], "links": [],
            })
        );
        let time = sent["log_time"].as_i64().unwrap();
        let metadata = [
            ("detected_level", "error"),
            ("flags", "1"),
            ("host_name", "here"),
            ("map_deep_er", "true"),
            ("observed_timestamp", &time.to_string()),
            ("scope_name", "shop"),
            ("severity_number", "17"),
            ("severity_text", "Error"),
            ("span_id", sent["root_id"].as_str().unwrap()),
            ("trace_id", sent["trace_id"].as_str().unwrap()),
            ("user_id", "7"),
        ];
        let expected = Entry::new(time, "it broke: é", &[("service_name", service)], &metadata);
        assert_eq!(entries(&icecore.url, &format!("{{service_name=\"{service}\"}}")), [expected]);
    }
}

/// Zipkin's JSON has microseconds, texts for all values, and no links.
#[test]
fn what_the_zipkin_exporter_sends_is_read_back() {
    let Some(python) = python(PYTHON_IMPORTS) else { return };
    let icecore = Server::start(&[]);
    let sent = sent(&python, "every_span_and_log.py", &["shop", "zipkin", &icecore.url, "none"]);
    let [root, child] = both_spans(&icecore, &sent, &json!({"service.name": "shop"}));
    let micros = |time: &Value| (time.as_i64().unwrap() + 500) / 1_000 * 1_000;
    for (found, name, kind, parent) in
        [(&root, "GET /é", 2, ""), (&child, "query", 3, sent["root_id"].as_str().unwrap())]
    {
        assert_eq!((found["name"].as_str(), found["parent"].as_str()), (Some(name), Some(parent)));
        assert_eq!(found["kind"], kind);
    }
    let [start, end] = [0, 1].map(|at| root["time"][at].as_i64().unwrap());
    assert_eq!(start, micros(&sent["root"][0]));
    let duration = sent["root"][1].as_i64().unwrap() - sent["root"][0].as_i64().unwrap();
    assert_eq!(end - start, micros(&json!(duration)));
    assert_eq!(root["status"], json!([2, "it broke"]));
    for (key, value) in [("http.status_code", "500"), ("ratio", "0.5"), ("is.cached", "false")] {
        assert_eq!(root["attributes"][key].to_string().trim_matches('"'), value);
    }
    let event = json!([{
        "name": "cache miss", "time": micros(&sent["event"]), "attributes": {"key": "k1", "tries": 2},
    }]);
    assert_eq!(root["events"], event);
}

#[test]
fn what_python_logging_loki_pushes_is_read_back() {
    let Some(python) = python(PYTHON_IMPORTS) else { return };
    let icecore = Server::start(&[]);
    let said = run_script(&python, "loki_handler.py", &[&format!("{}/loki/api/v1/push", icecore.url)]);
    let times: Vec<i64> = said.lines().map(|line| line.parse().unwrap()).collect();
    let application = [("application", "my-app"), ("logger", "my.logger")];
    let tagged = [("service", "my-service"), ("service_name", "my-service"), ("severity", "error")];
    let plain = [("service_name", "my-app"), ("severity", "info")];
    let expected = [
        Entry::new(
            times[0],
            "it broke: é",
            &[&application[..], &tagged].concat(),
            &[("detected_level", "error")],
        ),
        Entry::new(
            times[1],
            "all is well",
            &[&application[..], &plain].concat(),
            &[("detected_level", "info")],
        ),
    ];
    assert_eq!(entries(&icecore.url, r#"{application="my-app"}"#), expected);
}

/// What a script says it sent.
fn sent(interpreter: &Path, script: &str, arguments: &[&str]) -> Value {
    let mut sent: Value = serde_json::from_str(&run_script(interpreter, script, arguments)).unwrap();
    // JavaScript's numbers have no room for nanoseconds.
    fn to_numbers(value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(to_numbers),
            Value::String(text) if text.len() == 19 => {
                if let Ok(number) = text.parse::<i64>() {
                    *value = number.into();
                }
            }
            _ => {}
        }
    }
    sent.as_object_mut().unwrap().values_mut().for_each(to_numbers);
    sent
}

/// The root of a trace and its child, all that there is in it, from a resource of which these attributes are known.
fn both_spans(icecore: &Server, sent: &Value, resource: &Value) -> [Value; 2] {
    let found = trace(&icecore.url, sent["trace_id"].as_str().unwrap());
    let mut spans = BTreeMap::new();
    for from in &found {
        let told = attributes(&from.resource.as_ref().unwrap().attributes);
        for (key, value) in resource.as_object().unwrap() {
            assert_eq!(&told[key], value, "{key}");
        }
        spans.extend(spans_of(from));
    }
    assert_eq!(spans.len(), 2, "{found:?}");
    ["root_id", "child_id"].map(|id| spans.remove(sent[id].as_str().unwrap()).unwrap())
}

/// By their ids; all are from the library `shop.lib` 1.2.
fn spans_of(from: &ResourceSpans) -> Vec<(String, Value)> {
    let mut spans = Vec::new();
    for of_scope in &from.scope_spans {
        let scope = of_scope.scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("shop.lib", "1.2"));
        spans.extend(of_scope.spans.iter().map(|span| (hex(&span.span_id), described(span))));
    }
    spans
}

fn described(span: &Span) -> Value {
    let events = span.events.iter().map(|event| {
        json!({"name": event.name, "time": event.time_unix_nano, "attributes": attributes(&event.attributes)})
    });
    let links = span.links.iter().map(|link| {
        json!({"trace": hex(&link.trace_id), "span": hex(&link.span_id), "attributes": attributes(&link.attributes)})
    });
    let status = span.status.clone().unwrap_or_default();
    json!({
        "name": span.name,
        "kind": span.kind,
        "parent": hex(&span.parent_span_id),
        "time": [span.start_time_unix_nano, span.end_time_unix_nano],
        "status": [status.code, status.message],
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Value>(),
        "links": links.collect::<Value>(),
    })
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let pairs = attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute.value.as_ref())));
    Value::Object(pairs.collect())
}

fn value(any: Option<&AnyValue>) -> Value {
    match any.and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(yes)) => json!(yes),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::DoubleValue(number)) => json!(number),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter().map(|each| value(Some(each))).collect()
        }
        other => panic!("{other:?} was not sent"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
