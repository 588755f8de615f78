//! What Grafana's Prometheus data source asks, and the answers it must get.

use crate::common::{Server, now_ms, proto, request};

/// A whole minute, some minutes ago: far enough back to be over, near enough to be accepted.
fn minutes_ago(minutes: i64) -> i64 {
    now_ms() / 60_000 * 60_000 - minutes * 60_000
}

/// Two series of `http_requests_total`, each with three samples a minute apart, the first at the returned time.
fn server_with_data() -> (Server, i64) {
    let server = Server::start(&[]);
    let start = minutes_ago(10);
    let series = |code: &str, step: f64| {
        let samples = [(start, 0.0), (start + 60_000, 60.0 * step), (start + 120_000, 120.0 * step)];
        let labels = [("__name__", "http_requests_total"), ("code", code), ("job", "api")];
        proto::v1_series(&labels, &samples)
    };
    let answer = server.write(&proto::v1_request(&[series("200", 1.0), series("500", 0.5)]));
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    (server, start)
}

/// Fills in the times: `T0` is the first sample's in seconds, `T60` a minute later, and so on.
fn at(text: &str, start: i64) -> String {
    let seconds = start / 1_000;
    [120, 60, 0].iter().fold(text.to_owned(), |text, offset| {
        text.replace(&format!("T{offset}"), &(seconds + offset).to_string())
    })
}

#[test]
fn save_and_test_gets_its_scalar() {
    let server = Server::start(&[]);
    let expected = r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#;
    let answer = server.post_form("/api/v1/query", "query=1%2B1&time=4");
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(server.get("/api/v1/query?query=1%2B1&time=4").body, expected);

    let buildinfo = server.get("/api/v1/status/buildinfo").body;
    assert!(buildinfo.contains(r#""version":"3.14.0""#) && !buildinfo.contains("features"), "{buildinfo}");
}

#[test]
fn variables_and_the_label_browser_are_answered() {
    let (server, start) = server_with_data();
    let window = at("start=T0&end=T120&limit=40000", start);
    for (path, data) in [
        ("/api/v1/labels?", r#"["__name__","code","job"]"#),
        ("/api/v1/label/__name__/values?", r#"["http_requests_total"]"#),
        ("/api/v1/label/code/values?match[]=http_requests_total&", r#"["200","500"]"#),
        ("/api/v1/label/code/values?match[]=http_requests_total{code!=\"200\"}&", r#"["500"]"#),
        ("/api/v1/label/U__code/values?", r#"["200","500"]"#),
        ("/api/v1/label/nothing/values?", "[]"),
        (
            "/api/v1/series?match[]={code=\"500\"}&",
            r#"[{"__name__":"http_requests_total","code":"500","job":"api"}]"#,
        ),
        ("/api/v1/metadata?", "{}"),
    ] {
        let path = path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let answer = server.get(&format!("{path}{window}"));
        assert_eq!(answer.body, format!(r#"{{"status":"success","data":{data}}}"#), "{path}");
        assert_eq!(answer.status, 200);
    }
    let form = format!("match%5B%5D=http_requests_total&{window}&limit=1");
    let cut = server.post_form("/api/v1/labels", &form.replace("limit=40000&", ""));
    assert_eq!(
        cut.body,
        r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#
    );
}

#[test]
fn panels_are_answered_for_ranges_and_instants() {
    let (server, start) = server_with_data();
    for (path, form, result) in [
        (
            "/api/v1/query_range",
            "query=sum(http_requests_total)&start=T0&end=T120&step=60",
            r#""matrix","result":[{"metric":{},"values":[[T0,"0"],[T60,"90"],[T120,"180"]]}]"#,
        ),
        (
            "/api/v1/query_range",
            "query=http_requests_total{code=\"500\"}&start=T0.5&end=T60.5&step=1m",
            r#""matrix","result":[{"metric":{"__name__":"http_requests_total","code":"500","job":"api"},"values":[[T0.500,"0"],[T60.500,"30"]]}]"#,
        ),
        (
            "/api/v1/query_range",
            "query=1.5&start=T0&end=T60&step=60",
            r#""matrix","result":[{"metric":{},"values":[[T0,"1.5"],[T60,"1.5"]]}]"#,
        ),
        (
            "/api/v1/query",
            "query=rate(http_requests_total{code=\"200\"}[2m])&time=T120",
            r#""vector","result":[{"metric":{"code":"200","job":"api"},"value":[T120,"1"]}]"#,
        ),
        (
            "/api/v1/query",
            "query=http_requests_total{code=\"500\"}[1m]&time=T120",
            r#""matrix","result":[{"metric":{"__name__":"http_requests_total","code":"500","job":"api"},"values":[[T120,"60"]]}]"#,
        ),
        ("/api/v1/query", "query=nothing&time=T0", r#""vector","result":[]"#),
        ("/api/v1/query", "query=1e-7&time=T0.1", r#""scalar","result":[T0.1,"0.0000001"]"#),
        (
            "/api/v1/query",
            "query=vector(1e-7)&time=T0.1",
            r#""vector","result":[{"metric":{},"value":[T0.100,"1e-07"]}]"#,
        ),
        ("/api/v1/query", "query=\"a<b\"&time=T0", r#""string","result":[T0,"a<b"]"#),
    ] {
        let answer = server.post_form(path, &at(form, start));
        let expected = format!(r#"{{"status":"success","data":{{"resultType":{result}}}}}"#);
        assert_eq!(answer.body, at(&expected, start), "{form}");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn errors_have_prometheus_envelope_and_codes() {
    let (server, start) = server_with_data();
    for (path, status, kind, message) in [
        (
            "/api/v1/query?query=1&time=x",
            400,
            "bad_data",
            r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query?query=1&time=1e400",
            400,
            "bad_data",
            r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"1e400\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query?query=1&lookback_delta=x",
            400,
            "bad_data",
            r#"error parsing lookback delta duration: cannot parse \"x\" to a valid duration"#,
        ),
        (
            "/api/v1/query?query=1&timeout=x",
            400,
            "bad_data",
            r#"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#,
        ),
        (
            "/api/v1/query?query=1&limit=-1",
            400,
            "bad_data",
            r#"invalid parameter \"limit\": limit must be non-negative"#,
        ),
        (
            "/api/v1/query_range?query=1&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query_range?query=1&start=2&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"end\": end timestamp must not be before start time"#,
        ),
        (
            "/api/v1/query_range?query=1&start=1&end=2&step=0",
            400,
            "bad_data",
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        ("/api/v1/nothing", 404, "not_found", r#"no such endpoint: GET \"/api/v1/nothing\""#),
    ] {
        let answer = server.get(path);
        let expected = format!(r#"{{"status":"error","errorType":"{kind}","error":"{message}"}}"#);
        assert_eq!((answer.status, answer.body.as_str()), (status, expected.as_str()), "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!(server.get("/api/v1/query_range?query=1&start=0&end=11000&step=1").status, 200);
    let form = [("content-type", "application/x-www-form-urlencoded"), ("content-encoding", "gzip")];
    let answer = server.post("/api/v1/query", &form, b"query=1");
    assert!(answer.status == 415 && answer.body.contains("content-encoding of a form"), "{}", answer.body);
    for (query, status, kind) in [
        ("sum(", 400, "bad_data"),
        ("http_requests_total%20%2B%20on()%20http_requests_total", 422, "execution"),
    ] {
        let answer = server.get(&at(&format!("/api/v1/query?query={query}&time=T120"), start));
        let kind = format!(r#"{{"status":"error","errorType":"{kind}","error":""#);
        assert!(
            answer.status == status && answer.body.starts_with(&kind),
            "{query}: {} {}",
            answer.status,
            answer.body
        );
    }
}

#[test]
fn start_up_questions_have_true_answers() {
    let server = Server::start(&[]);
    let now = now_ms();
    for (path, body) in [
        ("/api/v1/rules?group_limit=40", r#"{"status":"success","data":{"groups":[]}}"#.to_owned()),
        ("/api/v1/alerts", r#"{"status":"success","data":{"alerts":[]}}"#.to_owned()),
        // Grafana's probe takes milliseconds for seconds.
        (&format!("/api/v1/query_exemplars?query=test&start={now}&end={now}"), r#"{"status":"success","data":[]}"#.to_owned()),
        (
            "/api/v1/targets",
            r#"{"status":"success","data":{"activeTargets":[],"droppedTargetCounts":{},"droppedTargets":[]}}"#.to_owned(),
        ),
    ] {
        assert_eq!(server.get(path).body, body, "{path}");
    }
    let flags = server.get("/api/v1/status/flags").body;
    assert!(flags.contains(r#""wal.sync":"group""#), "{flags}");
    for path in ["/api/v1/status/runtimeinfo", "/api/v1/status/tsdb", "/api/v1/status/config"] {
        assert!(server.get(path).body.starts_with(r#"{"status":"success","data":{""#), "{path}");
    }
}

#[test]
fn other_origins_and_compression_are_served() {
    let (server, _) = server_with_data();
    let url = format!("{}/api/v1/query?query=1", server.url);
    let answer = request("GET", &url, &[("origin", "http://grafana.example")], Vec::new());
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(request("OPTIONS", &url, &[("origin", "http://grafana.example")], Vec::new()).status, 204);
    assert_eq!(server.get("/api/v1/query?query=1").header("access-control-allow-origin"), "");

    let flags = format!("{}/api/v1/status/flags", server.url);
    for encoding in ["gzip", "deflate"] {
        let answer = request("GET", &flags, &[("accept-encoding", encoding)], Vec::new());
        assert_eq!(answer.header("content-encoding"), encoding);
        assert!(answer.header("vary").to_lowercase().contains("accept-encoding"));
    }
}

#[test]
fn a_tenant_is_accepted_if_later_versions_can_keep_it() {
    let server = Server::start(&[]);
    let url = format!("{}/api/v1/query?query=1&time=1", server.url);
    let long = "x".repeat(65);
    for (tenant, status) in [("team-a_1.x", 200), ("../x", 400), ("a|b", 400), ("..", 400), (&long, 400)] {
        let answer = request("GET", &url, &[("x-scope-orgid", tenant)], Vec::new());
        assert_eq!(answer.status, status, "{tenant}");
        assert_eq!(answer.body.contains("invalid tenant"), status == 400);
    }
}
