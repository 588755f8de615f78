//! What Grafana's Jaeger data source asks about traces, and the answers it must get, in full.

use crate::common::{Server, encode, now_ms};
use crate::sent_traces::{CART, CHECKOUT, get_as, hex, server_with_traces};

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
