//! What Grafana's Tempo and Jaeger data sources ask about traces, and the answers they must get, in full.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message;

use crate::common::{Answer, Server, encode, icecore, now_ms, request};

const CHECKOUT: u8 = 0x0a;
const CART: u8 = 0x0b;

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn attributes(pairs: Vec<(&str, Value)>) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, Value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    };
    pairs.into_iter().map(pair).collect()
}

/// A span that starts `at_ms` after the trace's base and takes `ms`.
fn span(trace: u8, id: u8, parent: u8, name: &str, base_ms: i64, at_ms: i64, ms: i64) -> Span {
    let start = (base_ms + at_ms) as u64 * 1_000_000;
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms as u64 * 1_000_000,
        ..Default::default()
    }
}

fn resource_spans(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: attributes(vec![("service.name", text(service)), ("host.name", text("h1"))]),
            ..Default::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "otel".to_owned(),
                version: "1".to_owned(),
                ..Default::default()
            }),
            spans,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Two traces: `checkout` (shop calls db, which fails) and, a second later, `cart` (shop alone).
fn server_with_traces() -> (Server, i64, TracesData) {
    let server = Server::start(&[]);
    let base = now_ms() / 1_000 * 1_000 - 60_000;
    let mut root = span(CHECKOUT, 1, 0, "POST /checkout", base, 0, 200);
    root.attributes = attributes(vec![
        ("http.status_code", Value::IntValue(500)),
        ("ratio", Value::DoubleValue(0.5)),
        ("retried", Value::BoolValue(true)),
        ("tags", Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(text("a")) }] })),
    ]);
    let mut query = span(CHECKOUT, 2, 1, "select", base, 50, 100);
    query.kind = 3;
    query.status = Some(Status { code: 2, message: "dead<lock>".to_owned() });
    query.events = vec![Event {
        time_unix_nano: query.start_time_unix_nano + 1_000_000,
        name: "exception".to_owned(),
        attributes: attributes(vec![("exception.type", text("Deadlock"))]),
        ..Default::default()
    }];
    query.links = vec![Link { trace_id: vec![CART; 16], span_id: vec![7; 8], ..Default::default() }];
    let cart = span(CART, 7, 0, "GET /cart", base, 1_000, 20);
    let sent = TracesData {
        resource_spans: vec![
            resource_spans("shop", vec![root]),
            resource_spans("db", vec![query]),
            resource_spans("shop", vec![cart]),
        ],
    };
    let headers = [("content-type", "application/x-protobuf")];
    let answer = server.post("/v1/traces", &headers, sent.encode_to_vec());
    assert_eq!(answer.status, 200, "{}", answer.body);
    (server, base, sent)
}

fn get_as(server: &Server, path: &str, accept: &str) -> Answer {
    request("GET", &format!("{}{path}", server.url), &[("accept", accept)], Vec::new())
}

/// The id of a trace or span whose bytes are all the same.
fn hex(byte: u8, bytes: usize) -> String {
    format!("{byte:02x}").repeat(bytes)
}

/// The spans of one trace, as they were sent.
fn sent_of(sent: &TracesData, trace: u8) -> TracesData {
    let groups = sent.resource_spans.iter().cloned();
    let of_trace = |group: &ResourceSpans| group.scope_spans[0].spans[0].trace_id == [trace; 16];
    TracesData { resource_spans: groups.filter(of_trace).collect() }
}

#[test]
fn tempo_save_and_test_and_its_version_are_answered() {
    let server = Server::start(&[]);
    let echo = server.get("/api/echo");
    assert_eq!((echo.status, echo.body.as_str()), (200, "echo"));
    let info = server.get("/api/status/buildinfo").body;
    assert!(info.contains(r#""version":"2.9.0""#), "{info}");
}

#[test]
fn a_trace_comes_back_as_tempo_sends_it() {
    let (server, _, sent) = server_with_traces();
    let path = format!("/api/v2/traces/{}?start=1&end=2", hex(CHECKOUT, 16));
    let answer = get_as(&server, &path, "application/protobuf");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/protobuf"));
    // TraceByIDResponse: the trace is field 1, a message of OTLP's layout.
    let expected = sent_of(&sent, CHECKOUT);
    let wrapped = crate::common::proto::Message::new().bytes(1, &expected.encode_to_vec());
    assert_eq!(answer.bytes, wrapped.0);

    let v1 = get_as(&server, &format!("/api/traces/{}", hex(CHECKOUT, 16)), "application/protobuf");
    assert_eq!(TracesData::decode(&v1.bytes[..]).unwrap(), expected);

    let short = get_as(&server, "/api/v2/traces/1f", "application/protobuf");
    assert_eq!((short.status, short.body.as_str()), (404, "trace not found"));
    let v1 = get_as(&server, "/api/traces/1f", "application/protobuf");
    assert_eq!((v1.status, v1.body.as_str()), (404, "trace not found"));
    let bad = get_as(&server, "/api/v2/traces/xyz", "application/protobuf");
    assert_eq!(
        (bad.status, bad.body.as_str()),
        (400, "invalid trace ID \"xyz\": 'z' in an id is not a hex digit")
    );
}

#[test]
fn a_trace_in_tempos_json_has_ids_in_base64() {
    let (server, base, _) = server_with_traces();
    let answer = get_as(&server, &format!("/api/v2/traces/{}", hex(CART, 16)), "application/json");
    let start = base + 1_000;
    let expected = format!(
        concat!(
            r#"{{"trace":{{"resourceSpans":[{{"resource":{{"attributes":["#,
            r#"{{"key":"service.name","value":{{"stringValue":"shop"}}}},"#,
            r#"{{"key":"host.name","value":{{"stringValue":"h1"}}}}]}},"#,
            r#""scopeSpans":[{{"scope":{{"name":"otel","version":"1"}},"spans":[{{"#,
            r#""traceId":"CwsLCwsLCwsLCwsLCwsLCw==","spanId":"BwcHBwcHBwc=","name":"GET /cart","#,
            r#""kind":"SPAN_KIND_SERVER","startTimeUnixNano":"{0}000000","#,
            r#""endTimeUnixNano":"{1}000000"}}]}}]}}]}},"metrics":{{}}}}"#,
        ),
        start,
        start + 20
    );
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("content-type"), "application/json");
}

/// The answer of a search for `query` around the test's traces.
fn search(server: &Server, base: i64, query: &str) -> Answer {
    let (start, end) = (base / 1_000 - 60, base / 1_000 + 60);
    let query = encode(query);
    server.get(&format!("/api/search?q={query}&limit=20&spss=3&start={start}&end={end}"))
}

#[test]
fn a_search_has_the_members_that_grafana_knows_and_no_others() {
    let (server, base, _) = server_with_traces();
    let expected = format!(
        concat!(
            r#"{{"traces":[{{"traceID":"{trace}","rootServiceName":"shop","rootTraceName":"POST /checkout","#,
            r#""startTimeUnixNano":"{start}000000","durationMs":200,"spanSet":{set},"spanSets":[{set}],"#,
            r#""serviceStats":{{"db":{{"spanCount":1,"errorCount":1}},"shop":{{"spanCount":1,"errorCount":0}}}}}}],"#,
            r#""metrics":{{"inspectedTraces":1,"completedJobs":1,"totalJobs":1}}}}"#,
        ),
        trace = hex(CHECKOUT, 16),
        start = base,
        set = format_args!(
            concat!(
                r#"{{"spans":[{{"spanID":"0202020202020202","name":"select","startTimeUnixNano":"{start}000000","#,
                r#""durationNanos":"100000000","attributes":[{{"key":"status","value":{{"stringValue":"error"}}}},"#,
                r#"{{"key":"service.name","value":{{"stringValue":"db"}}}},"#,
                r#"{{"key":"nestedSetLeft","value":{{"intValue":"2"}}}}]}}],"matched":1}}"#,
            ),
            start = base + 50
        )
    );
    let answer =
        search(&server, base, "{ status = error } | select(resource.service.name, nestedSetLeft, name)");
    assert_eq!(answer.body, expected);

    let grouped = search(&server, base, "{ } | by(resource.service.name) | count() > 0").body;
    let noted = r#""matched":1,"attributes":[{"key":"by(resource.service.name)","value":{"stringValue":"db"}},{"key":"count()","value":{"intValue":"1"}}]"#;
    assert!(grouped.contains(noted), "{grouped}");
}

#[test]
fn searches_find_the_traces_they_mean_newest_first() {
    let (server, base, _) = server_with_traces();
    let (checkout, cart) = ([CHECKOUT].as_slice(), [CART].as_slice());
    let both = [CART, CHECKOUT].as_slice();
    let seconds = base / 1_000;
    for (query, expected) in [
        (format!("q={}", encode("{}")), both),
        (String::new(), both),
        ("limit=1".to_owned(), cart),
        (format!("q={}", encode("{ resource.service.name = \"db\" }")), checkout),
        (format!("q={}", encode("{ name = \"GET /cart\" }")), cart),
        (format!("q={}", encode("{ duration >= 200ms }")), checkout),
        (format!("q={}", encode("{ span.http.status_code >= 500 && .retried }")), checkout),
        (format!("q={}", encode("{ span.tags = \"a\" }")), checkout),
        (format!("q={}", encode("{ kind = client && statusMessage =~ \"dead.*\" }")), checkout),
        (
            format!("q={}", encode("{ event:name = \"exception\" && event.exception.type = \"Deadlock\" }")),
            checkout,
        ),
        (format!("q={}", encode(&format!("{{ link:traceID = \"{}\" }}", hex(CART, 16)))), checkout),
        (format!("q={}", encode("{ name = \"POST /checkout\" } > { status = error }")), checkout),
        (
            format!("q={}", encode("{ instrumentation:name = \"otel\" } && { resource.host.name = \"h1\" }")),
            both,
        ),
        (format!("q={}", encode("{ nestedSetParent < 0 && name =~ \"GET.*\" }")), cart),
        (format!("q={}", encode(&format!("{{ trace:id = \"{}\" }}", hex(CART, 16)))), cart),
        (format!("q={}", encode("{ .http.status_code = nil } | count() = 1 | { name != \"select\" }")), cart),
        (format!("tags={}", encode("service.name=shop http.status_code=500")), checkout),
        (format!("tags={}&minDuration=100ms", encode("service.name=shop")), checkout),
        (format!("tags={}&maxDuration=100ms", encode("service.name=shop")), cart),
        (format!("start={}&end={}", seconds - 60, seconds), checkout),
        (format!("start={}&end={}", seconds + 1, seconds + 60), cart),
        (format!("start={}&end={}", seconds + 30, seconds + 60), &[][..]),
    ] {
        let answer = server.get(&format!("/api/search?{query}"));
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let found: Vec<&str> = json["traces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trace| trace["traceID"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = expected.iter().map(|id| hex(*id, 16)).collect();
        assert_eq!(found, expected, "{query}: {}", answer.body);
    }
}

#[test]
fn what_tempo_cannot_answer_it_refuses_in_plain_words() {
    let (server, _, _) = server_with_traces();
    for (path, message) in [
        (
            format!("/api/search?q={}", encode("{ name = 5 }")),
            "invalid TraceQL query: parse error at line 1, col 3: a string and a number cannot be compared with =",
        ),
        (
            format!("/api/search?q={}", encode("{ } | rate()")),
            "invalid TraceQL query: metrics functions such as rate are not supported yet",
        ),
        (
            format!("/api/metrics/query_range?q={}&start=1&end=2&step=1", encode("{ } | rate()")),
            "invalid TraceQL query: metrics functions such as rate are not supported yet",
        ),
        (
            format!("/api/metrics/query?q={}", encode("{ }")),
            "invalid TraceQL query: a metrics function such as rate() is missing",
        ),
        (
            "/api/search?limit=0".to_owned(),
            "invalid parameter \"limit\": \"0\" is not a whole number of at least 1",
        ),
        (
            "/api/search?spss=x".to_owned(),
            "invalid parameter \"spss\": \"x\" is not a whole number of at least 0",
        ),
        ("/api/search?start=2&end=1".to_owned(), "invalid parameter \"end\": end must not be before start"),
        (
            "/api/search?minDuration=fast".to_owned(),
            "invalid parameter \"minDuration\": \"fast\" is not a duration such as 1.5s or 100ms",
        ),
        (
            "/api/search?tags=x".to_owned(),
            "invalid tags: a key without a value, or a value without a key; expected key=value key=\"value\"",
        ),
        ("/api/v2/search/tags?scope=x".to_owned(), "invalid parameter \"scope\": \"x\" is no scope"),
        (
            "/api/v2/search/tag/service.name/values".to_owned(),
            "tag name \"service.name\" is no intrinsic and has no scope: write .name, span.name or resource.name",
        ),
    ] {
        let answer = server.get(&path);
        assert_eq!((answer.status, answer.body.as_str()), (400, message), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[test]
fn names_and_values_complete_what_is_typed() {
    let (server, base, _) = server_with_traces();
    let window = format!("start={}&end={}&limit=5000", base / 1_000 - 60, base / 1_000 + 60);
    let string = |value: &str| format!(r#"{{"type":"string","value":"{value}"}}"#);
    let typed = |kind: &str, value: &str| format!(r#"{{"type":"{kind}","value":"{value}"}}"#);
    for (path, body) in [
        (
            "/api/v2/search/tags?scope=resource&".to_owned(),
            r#"{"scopes":[{"name":"resource","tags":["host.name","service.name"]}],"metrics":{}}"#.to_owned(),
        ),
        (
            "/api/v2/search/tags?scope=span&".to_owned(),
            r#"{"scopes":[{"name":"span","tags":["http.status_code","ratio","retried","tags"]}],"metrics":{}}"#
                .to_owned(),
        ),
        (
            "/api/search/tags?".to_owned(),
            r#"{"tagNames":["host.name","http.status_code","ratio","retried","service.name","tags"],"metrics":{}}"#
                .to_owned(),
        ),
        (
            "/api/search/tag/service.name/values?".to_owned(),
            r#"{"tagValues":["db","shop"],"metrics":{}}"#.to_owned(),
        ),
        // Grafana encodes names twice.
        (
            "/api/v2/search/tag/resource%252Eservice%252Ename/values?".to_owned(),
            format!(r#"{{"tagValues":[{},{}],"metrics":{{}}}}"#, string("db"), string("shop")),
        ),
        (
            format!("/api/v2/search/tag/resource.service.name/values?q={}&", encode("{ status = error }")),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, string("db")),
        ),
        (
            format!(
                "/api/v2/search/tag/name/values?q={}&",
                encode("{ resource.service.name = \"db\" && span.")
            ),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, string("select")),
        ),
        (
            "/api/v2/search/tag/.http.status_code/values?".to_owned(),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, typed("int", "500")),
        ),
        (
            "/api/v2/search/tag/span.ratio/values?".to_owned(),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, typed("float", "0.5")),
        ),
        (
            "/api/v2/search/tag/span.retried/values?".to_owned(),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, typed("bool", "true")),
        ),
        (
            "/api/v2/search/tag/status/values?".to_owned(),
            format!(
                r#"{{"tagValues":[{},{},{}],"metrics":{{}}}}"#,
                typed("keyword", "unset"),
                typed("keyword", "ok"),
                typed("keyword", "error")
            ),
        ),
        ("/api/v2/search/tag/duration/values?".to_owned(), r#"{"tagValues":[],"metrics":{}}"#.to_owned()),
        (
            "/api/v2/search/tag/rootName/values?".to_owned(),
            format!(r#"{{"tagValues":[{},{}],"metrics":{{}}}}"#, string("GET /cart"), string("POST /checkout")),
        ),
        (
            "/api/v2/search/tag/event.exception.type/values?".to_owned(),
            format!(r#"{{"tagValues":[{}],"metrics":{{}}}}"#, string("Deadlock")),
        ),
        ("/api/v2/search/tag/span.none/values?".to_owned(), r#"{"tagValues":[],"metrics":{}}"#.to_owned()),
    ] {
        let answer = server.get(&format!("{path}{window}"));
        assert_eq!((answer.body.as_str(), answer.status), (body.as_str(), 200), "{path}");
    }
    let all = server.get(&format!("/api/v2/search/tags?{window}")).body;
    let start =
        r#"{"scopes":[{"name":"resource","tags":["host.name","service.name"]},{"name":"span","tags":["#;
    assert!(all.starts_with(start) && all.contains(r#"{"name":"intrinsic","tags":["duration","#), "{all}");
}

const NO_MORE: &str = r#""total":0,"limit":0,"offset":0,"errors":null}"#;

#[test]
fn jaeger_lists_services_and_operations_under_both_paths() {
    let (server, _, _) = server_with_traces();
    for prefix in ["", "/jaeger"] {
        for (path, body) in [
            ("/api/services", r#"{"data":["db","shop"],"total":2,"limit":0,"offset":0,"errors":null}"#),
            (
                "/api/services/shop/operations",
                r#"{"data":["GET /cart","POST /checkout"],"total":2,"limit":0,"offset":0,"errors":null}"#,
            ),
            (
                "/api/operations?service=db",
                r#"{"data":[{"name":"select","spanKind":""}],"total":1,"limit":0,"offset":0,"errors":null}"#,
            ),
        ] {
            let answer = server.get(&format!("{prefix}{path}"));
            assert_eq!((answer.body.as_str(), answer.status), (body, 200), "{prefix}{path}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
    let (now, hour) = (now_ms(), 3_600_000);
    let dependencies = server.get(&format!("/api/dependencies?endTs={now}&lookback={hour}")).body;
    assert_eq!(
        dependencies,
        format!(r#"{{"data":[{{"parent":"shop","child":"db","callCount":1}}],{NO_MORE}"#)
    );
}

/// The trace `checkout` in Jaeger's JSON.
fn jaegers_checkout(base: i64) -> String {
    let trace = hex(CHECKOUT, 16);
    let scope = r#"{"key":"otel.scope.name","type":"string","value":"otel"},{"key":"otel.scope.version","type":"string","value":"1"}"#;
    let host = r#"{"key":"host.name","type":"string","value":"h1"}"#;
    format!(
        concat!(
            r#"{{"traceID":"{trace}","spans":[{{"traceID":"{trace}","spanID":"0101010101010101","flags":0,"#,
            r#""operationName":"POST /checkout","references":[],"startTime":{start}000,"duration":200000,"tags":["#,
            r#"{{"key":"http.status_code","type":"int64","value":500}},{{"key":"ratio","type":"float64","value":0.5}},"#,
            r#"{{"key":"retried","type":"bool","value":true}},"#,
            r#"{{"key":"tags","type":"string","value":"{{\"arrayValue\":{{\"values\":[{{\"stringValue\":\"a\"}}]}}}}"}},"#,
            r#"{scope},{{"key":"span.kind","type":"string","value":"server"}}],"logs":[],"processID":"p1","warnings":null}},"#,
            r#"{{"traceID":"{trace}","spanID":"0202020202020202","flags":0,"operationName":"select","#,
            r#""references":[{{"refType":"CHILD_OF","traceID":"{trace}","spanID":"0101010101010101"}},"#,
            r#"{{"refType":"FOLLOWS_FROM","traceID":"{cart}","spanID":"0707070707070707"}}],"#,
            r#""startTime":{child}000,"duration":100000,"tags":[{scope},"#,
            r#"{{"key":"span.kind","type":"string","value":"client"}},"#,
            r#"{{"key":"otel.status_code","type":"string","value":"ERROR"}},"#,
            r#"{{"key":"otel.status_description","type":"string","value":"dead<lock>"}},"#,
            r#"{{"key":"error","type":"bool","value":true}}],"#,
            r#""logs":[{{"timestamp":{event}000,"fields":[{{"key":"event","type":"string","value":"exception"}},"#,
            r#"{{"key":"exception.type","type":"string","value":"Deadlock"}}]}}],"processID":"p2","warnings":null}}],"#,
            r#""processes":{{"p1":{{"serviceName":"shop","tags":[{host}]}},"#,
            r#""p2":{{"serviceName":"db","tags":[{host}]}}}},"warnings":null}}"#,
        ),
        trace = trace,
        cart = hex(CART, 16),
        scope = scope,
        host = host,
        start = base,
        child = base + 50,
        event = base + 51,
    )
}

#[test]
fn jaeger_opens_a_trace_whoever_does_not_ask_for_protobuf() {
    let (server, base, _) = server_with_traces();
    let expected = format!(r#"{{"data":[{}],{NO_MORE}"#, jaegers_checkout(base));
    let id = hex(CHECKOUT, 16);
    for path in [format!("/api/traces/{id}"), format!("/jaeger/api/traces/{id}?start=1&end=2")] {
        for accept in ["application/json", "*/*"] {
            assert_eq!(get_as(&server, &path, accept).body, expected, "{path}");
        }
    }
    assert_eq!(server.get(&format!("/api/traces?traceID={id}")).body, expected);

    // An empty list makes Grafana's plugin panic.
    let missing = "0000000000000000000000000000001f";
    let errors = format!(
        r#""total":0,"limit":0,"offset":0,"errors":[{{"code":404,"msg":"trace not found","traceID":"{missing}"}}]}}"#
    );
    for path in ["/api/traces/1f", "/jaeger/api/traces/1f", "/api/traces?traceID=1f"] {
        let answer = server.get(path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, format!(r#"{{"data":null,{errors}"#).as_str())
        );
    }
    let partly = server.get(&format!("/api/traces?traceID={id}&traceID=1f"));
    assert_eq!(partly.status, 200);
    assert_eq!(partly.body, format!(r#"{{"data":[{}],{errors}"#, jaegers_checkout(base)));
}

#[test]
fn jaegers_search_form_finds_what_it_asks_for() {
    let (server, base, _) = server_with_traces();
    let window = format!("start={}&end={}&limit=20", (base - 60_000) * 1_000, (base + 60_000) * 1_000);
    let both = [CART, CHECKOUT].as_slice();
    for (query, expected) in [
        ("service=shop".to_owned(), both),
        ("service=shop&lookback=custom&operation=".to_owned(), both),
        ("service=shop&operation=GET+%2Fcart".to_owned(), &[CART]),
        (format!("service=shop&tags={}", encode(r#"{"http.status_code":"500"}"#)), &[CHECKOUT]),
        (format!("service=shop&tags={}", encode(r#"{"host.name":"h1","ratio":"0.5"}"#)), &[CHECKOUT]),
        (format!("service=db&tags={}", encode(r#"{"error":"true","span.kind":"client"}"#)), &[CHECKOUT]),
        ("service=db&tag=otel.status_description:dead%3Clock%3E".to_owned(), &[CHECKOUT]),
        ("service=shop&minDuration=100ms".to_owned(), &[CHECKOUT]),
        ("service=shop&maxDuration=100ms".to_owned(), &[CART]),
        ("service=db&minDuration=1s".to_owned(), &[]),
        ("service=none".to_owned(), &[]),
    ] {
        let answer = server.get(&format!("/api/traces?{query}&{window}"));
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let found: Vec<&str> =
            json["data"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap()).collect();
        let expected: Vec<String> = expected.iter().map(|id| hex(*id, 16)).collect();
        assert_eq!(found, expected, "{query}: {}", answer.body);
    }
    let recent = server.get("/api/traces?service=db&lookback=1h").body;
    assert_eq!(recent, format!(r#"{{"data":[{}],{NO_MORE}"#, jaegers_checkout(base)));
}

#[test]
fn jaegers_errors_have_its_envelope() {
    let server = Server::start(&[]);
    for (path, message) in [
        ("/api/traces?limit=20", r#"invalid parameter \"service\": a service is required"#),
        ("/api/operations", r#"invalid parameter \"service\": a service is required"#),
        ("/api/traces/xyz", r#"invalid trace ID \"xyz\": 'z' in an id is not a hex digit"#),
        (
            "/api/traces?service=a&tags=x",
            r#"invalid parameter \"tags\": \"x\" is not a JSON object of strings"#,
        ),
        ("/api/traces?service=a&tag=x", r#"invalid parameter \"tag\": \"x\" is not key:value"#),
        ("/api/traces?service=a&start=x", r#"invalid parameter \"start\": \"x\" is not a whole number"#),
        ("/api/traces?service=a&start=2&end=1", r#"invalid parameter \"end\": end must not be before start"#),
        (
            "/api/traces?service=a&minDuration=5",
            r#"invalid parameter \"minDuration\": \"5\" is not a duration such as 1.5s or 100ms"#,
        ),
        ("/api/dependencies?endTs=x", r#"invalid parameter \"endTs\": \"x\" is not a whole number"#),
    ] {
        let answer = server.get(path);
        let expected = format!(
            r#"{{"data":null,"total":0,"limit":0,"offset":0,"errors":[{{"code":400,"msg":"{message}"}}]}}"#
        );
        assert_eq!((answer.status, answer.body.as_str()), (400, expected.as_str()), "{path}");
    }
    let empty = server.get("/api/services");
    assert_eq!(
        (empty.status, empty.body.as_str()),
        (200, r#"{"data":[],"total":0,"limit":0,"offset":0,"errors":null}"#)
    );
}

#[test]
fn the_command_line_draws_a_trace() {
    let (server, _, _) = server_with_traces();
    let run = |args: &[&str]| {
        let output = icecore().args(["query", "--url", &server.url, "--trace"]).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, drawn, _) = run(&[&hex(CHECKOUT, 16)]);
    let lines: Vec<&str> = drawn.lines().skip(2).collect();
    assert_eq!(code, Some(0));
    assert_eq!(
        lines,
        [
            "SERVICE AND SPAN                                 OFFSET  DURATION",
            "shop  POST /checkout                                  0   200.0ms |=================================",
            "  ! db  select                                   50.0ms   100.0ms |        xxxxxxxxxxxxxxxxx",
            "    dead<lock>",
        ],
        "{drawn}"
    );
    let (_, raw, _) = run(&[&hex(CHECKOUT, 16), "--json"]);
    assert!(raw.starts_with(r#"{"data":[{"traceID":"0a0a"#), "{raw}");
    assert_eq!(run(&["1f"]), (Some(1), String::new(), "icecore: trace not found\n".to_owned()));
    let (code, _, error) = run(&["../x"]);
    assert!(code == Some(2) && error.contains("../x is not the id of a trace"), "{error}");
}

#[test]
fn sealed_traces_give_the_same_answers() {
    let (server, base, _) = server_with_traces();
    let id = hex(CHECKOUT, 16);
    let window = format!("start={}&end={}", base / 1_000 - 60, base / 1_000 + 60);
    let paths = [
        format!("/api/v2/traces/{id}"),
        format!("/api/traces/{id}"),
        format!(
            "/api/search?q={}&{window}",
            encode("{ status = error } | select(event.exception.type, .tags)")
        ),
        format!("/api/search?q={}", encode("{ .http.status_code = 500 } >> { link:spanID != nil }")),
        format!("/api/search?q={}", encode("{ .ratio < 1 && .retried && resource.host.name =~ \"h.\" }")),
        format!("/api/v2/search/tags?{window}"),
        format!("/api/v2/search/tag/name/values?{window}"),
        "/api/v2/search/tag/span.http.status_code/values".to_owned(),
        "/api/services".to_owned(),
        "/api/services/shop/operations".to_owned(),
        format!("/api/traces?service=db&start={}&end={}", base * 1_000, (base + 60_000) * 1_000),
        "/api/dependencies".to_owned(),
    ];
    let ask = || paths.iter().map(|path| server.get(path).body).collect::<Vec<_>>();
    let before = ask();
    let is_empty = |body: &&String| {
        [r#"{"traces":[]"#, r#"{"tagValues":[]"#, r#"{"data":[]"#].iter().any(|e| body.starts_with(e))
    };
    assert_eq!(before.iter().find(is_empty), None);
    let flushed = server.post("/api/v1/admin/flush", &[], Vec::new());
    assert_eq!(flushed.status, 204, "{}", flushed.body);
    for ((path, before), after) in paths.iter().zip(before).zip(ask()) {
        assert_eq!(after, before, "{path}");
    }
}
