//! What Grafana's Tempo data source asks about traces, and the answers it must get, in full.

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;

use crate::common::{Answer, Server, encode};
use crate::sent_traces::{CART, CHECKOUT, get_as, hex, sent_of, server_with_traces};

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
