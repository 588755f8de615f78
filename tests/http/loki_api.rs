//! What Grafana's Loki data source, Logs Drilldown and logcli ask, and the answers they must get.

use serde_json::{Value, json};

use crate::common::{Answer, Server, encode, now_ms, request};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const TRACE: &str = "5b8aa5a2d2c872e8321cf37308d69df2";

/// A server with the entries of three streams, and the time of the first: a whole minute, ten minutes ago.
fn server_with_logs() -> (Server, i64) {
    let server = Server::start(&[]);
    let start = now_ms() / 60_000 * MINUTE - 10 * MINUTE;
    let at = |seconds: i64| (start + seconds * SECOND).to_string();
    let streams = json!({"streams": [
        {"stream": {"app": "shop", "env": "prod", "pod": "shop-1"}, "values": [
            [at(0), r#"{"level":"info","msg":"order accepted","took_ms":12.5,"user":{"id":7}}"#, {"trace_id": TRACE}],
            [at(10), r#"{"level":"error","msg":"upstream timed out","took_ms":900}"#],
        ]},
        {"stream": {"app": "shop", "env": "prod", "pod": "shop-2"}, "values": [
            [at(12), r#"level=warn msg="slow query" took=1.5s size=10KB"#],
        ]},
        {"stream": {"job": "cron"}, "values": [[at(70), "nothing to do"]]},
    ]});
    push(&server, &streams);
    (server, start)
}

fn push(server: &Server, streams: &Value) {
    let json = [("content-type", "application/json")];
    let answer = server.post("/loki/api/v1/push", &json, streams.to_string());
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// An answer's `data` without its statistics, which differ from run to run.
fn data_of(answer: &Answer) -> Value {
    let mut body = json_of(answer);
    assert_eq!(body["status"], "success");
    assert_eq!(body.get("warnings"), None);
    let mut data = body["data"].take();
    if let Some(data) = data.as_object_mut() {
        let stats = data.remove("stats").unwrap();
        for key in ["bytesProcessedPerSecond", "linesProcessedPerSecond", "totalBytesProcessed", "execTime"] {
            assert!(stats["summary"][key].is_number(), "{key}: {stats}");
        }
    }
    data
}

/// A form asked as POST and as GET, which are answered alike.
fn ask(server: &Server, path: &str, parameters: &[(&str, &str)]) -> Answer {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    let form = pairs.collect::<Vec<_>>().join("&");
    let (get, post) = (server.get(&format!("{path}?{form}")), server.post_form(path, &form));
    assert_eq!(get.status, post.status, "{path}?{form}");
    get
}

#[test]
fn start_up_questions_are_answered() {
    let server = Server::start(&["--retention.logs", "10d"]);
    let answer = server.get("/ready");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"));
    let build = json_of(&server.get("/loki/api/v1/status/buildinfo"));
    assert_eq!((&build["version"], &build["goVersion"]), (&json!("3.7.6"), &json!("")));
    let drilldown = json_of(&server.get("/loki/api/v1/drilldown-limits"));
    assert_eq!(drilldown["pattern_ingester_enabled"], false);
    for (key, value) in [
        ("retention_period", json!("10d")),
        ("volume_enabled", json!(true)),
        ("discover_log_levels", json!(true)),
        ("max_query_series", json!(500_000)),
        ("max_entries_limit_per_query", json!(5_000)),
    ] {
        assert_eq!(drilldown["limits"][key], value, "{key}");
    }
    assert_eq!(drilldown["limits"]["discover_service_name"].as_array().unwrap().len(), 13);
}

#[test]
fn save_and_test_gets_one_sample_of_two() {
    let server = Server::start(&[]);
    let parameters = [("direction", "backward"), ("query", "vector(1)+vector(1)"), ("time", "4000000000")];
    let answer = ask(&server, "/loki/api/v1/query", &parameters);
    let result = json!([{"metric": {}, "value": [4_000_000_000u64, "2"]}]);
    assert_eq!(data_of(&answer), json!({"resultType": "vector", "result": result}));
    // Older ones ask for labels, and newer ones with the flag that they always send.
    assert_eq!(data_of(&server.get("/loki/api/v1/labels")), json!([]));
    let url = format!("{}/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000", server.url);
    let flagged = request("GET", &url, &CATEGORIZED, Vec::new());
    let flags = json!(["categorize-labels"]);
    assert_eq!(data_of(&flagged), json!({"encodingFlags": flags, "resultType": "vector", "result": result}));
}

const CATEGORIZED: [(&str, &str); 1] = [("x-loki-response-encoding-flags", "categorize-labels")];

#[test]
fn the_label_browser_is_answered_in_every_way_of_writing_times() {
    let (server, start) = server_with_logs();
    let rfc3339 = |nanos: i64| jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string();
    let (from, until) = (start - SECOND, start + 2 * MINUTE);
    let windows = [
        (from.to_string(), until.to_string()),
        ((from / SECOND).to_string(), (until / SECOND).to_string()),
        (format!("{}.0", from / SECOND), format!("{}.5", until / SECOND)),
        (rfc3339(from), rfc3339(until)),
        (String::new(), String::new()),
    ];
    let shop = |pod: &str| json!({"app": "shop", "env": "prod", "pod": pod, "service_name": "shop"});
    for (from, until) in &windows {
        for (path, more, data) in [
            ("labels", ("", ""), json!(["app", "env", "job", "pod", "service_name"])),
            ("labels", ("query", r#"{job="cron"}"#), json!(["job", "service_name"])),
            ("label/pod/values", ("", ""), json!(["shop-1", "shop-2"])),
            ("label/service_name/values", ("query", r#"{env=~".+"}"#), json!(["shop"])),
            ("label/nothing/values", ("", ""), json!([])),
            ("series", ("match[]", r#"{app="shop"}"#), json!([shop("shop-1"), shop("shop-2")])),
            ("series", ("match[]", r#"{job="cron"}"#), json!([{"job": "cron", "service_name": "cron"}])),
        ] {
            let path = format!("/loki/api/v1/{path}");
            let answer = ask(&server, &path, &[("start", from), ("end", until), more]);
            assert_eq!(data_of(&answer), data, "{path} {more:?} {from}");
        }
    }
    let before = ask(&server, "/loki/api/v1/labels", &[("start", "1"), ("end", "2")]);
    assert_eq!(data_of(&before), json!([]));
}

#[test]
fn entries_come_with_their_labels_by_kind() {
    let (server, start) = server_with_logs();
    let at = |seconds: i64| (start + seconds * SECOND).to_string();
    let end = (start + MINUTE).to_string();
    let url = format!(
        "{}/loki/api/v1/query_range?query={}&start={start}&end={end}&step=15000ms&limit=1000&direction=backward",
        server.url,
        encode(r#"{app="shop"} | json level="level""#)
    );
    let data = data_of(&request("GET", &url, &CATEGORIZED, Vec::new()));
    let labels = |pod: &str| json!({"app": "shop", "env": "prod", "pod": pod, "service_name": "shop"});
    let entry = |seconds: i64, line: &str, own: Value| json!([at(seconds), line, own]);
    let expected = json!({
        "resultType": "streams",
        "encodingFlags": ["categorize-labels"],
        "result": [
            {"stream": labels("shop-1"), "values": [
                entry(10, r#"{"level":"error","msg":"upstream timed out","took_ms":900}"#,
                    json!({"structuredMetadata": {"detected_level": "error"}, "parsed": {"level": "error"}})),
                entry(0, r#"{"level":"info","msg":"order accepted","took_ms":12.5,"user":{"id":7}}"#,
                    json!({"structuredMetadata": {"detected_level": "info", "trace_id": TRACE},
                           "parsed": {"level": "info"}})),
            ]},
            {"stream": labels("shop-2"), "values": [
                entry(12, r#"level=warn msg="slow query" took=1.5s size=10KB"#,
                    json!({"structuredMetadata": {"detected_level": "warn"},
                           "parsed": {"__error__": "JSONParserErr",
                                      "__error_details__": data["result"][1]["values"][0][2]["parsed"]["__error_details__"]}})),
            ]},
        ],
    });
    assert_eq!(data, expected);
}

#[test]
fn without_the_flag_all_labels_are_those_of_streams() {
    let (server, start) = server_with_logs();
    let end = (start + 2 * MINUTE).to_string();
    let from = start.to_string();
    let query = |expr: &str, more: (&str, &str)| {
        let parameters = [("query", expr), ("start", from.as_str()), ("end", end.as_str()), more];
        data_of(&ask(&server, "/loki/api/v1/query_range", &parameters))
    };
    let cron = json!({
        "stream": {"detected_level": "unknown", "job": "cron", "service_name": "cron"},
        "values": [[(start + 70 * SECOND).to_string(), "nothing to do"]],
    });
    assert_eq!(query(r#"{job="cron"}"#, ("", "")), json!({"resultType": "streams", "result": [cron]}));
    let lines = |data: &Value| -> Vec<String> {
        let streams = data["result"].as_array().unwrap();
        let mut entries: Vec<(String, String)> = streams
            .iter()
            .flat_map(|stream| stream["values"].as_array().unwrap())
            .map(|entry| (entry[0].as_str().unwrap().to_owned(), entry[1].as_str().unwrap()[..9].to_owned()))
            .collect();
        entries.sort();
        entries.into_iter().map(|(_, line)| line).collect()
    };
    let all = r#"{service_name=~".+"}"#;
    assert_eq!(lines(&query(all, ("limit", "2"))), ["level=war", "nothing t"], "the newest by default");
    let forward = lines(&query(all, ("direction", "forward")));
    assert_eq!(forward, ["{\"level\":", "{\"level\":", "level=war", "nothing t"]);
    assert_eq!(
        lines(&query(all, ("interval", "11s"))).len(),
        3,
        "one within eleven seconds of another is left out"
    );
    let by_trace = format!(r#"{{service_name="shop"}} | trace_id = "{TRACE}""#);
    assert_eq!(lines(&query(&by_trace, ("", ""))), ["{\"level\":"]);
    let none = query(r#"{service_name="shop"} |= "nowhere""#, ("", ""));
    assert_eq!(none, json!({"resultType": "streams", "result": []}));
}

#[test]
fn the_volume_of_logs_is_drawn_by_level() {
    let (server, start) = server_with_logs();
    let (from, until) = (start.to_string(), (start + 15 * SECOND).to_string());
    let expr = r#"sum by (level, detected_level) (count_over_time({app="shop"}[5s]))"#;
    let parameters = [("query", expr), ("start", &from), ("end", &until), ("step", "5000ms")];
    let data = data_of(&ask(&server, "/loki/api/v1/query_range", &parameters));
    let point = |seconds: i64| json!([start / SECOND + seconds, "1"]);
    let expected = json!({"resultType": "matrix", "result": [
        {"metric": {"detected_level": "error"}, "values": [point(10)]},
        {"metric": {"detected_level": "info"}, "values": [point(0)]},
        {"metric": {"detected_level": "warn"}, "values": [point(15)]},
    ]});
    assert_eq!(data, expected);
}

#[test]
fn metric_panels_are_answered_at_an_instant() {
    let (server, start) = server_with_logs();
    let time = (start + 2 * MINUTE).to_string();
    let at = start / SECOND + 120;
    for (expr, result) in [
        (r#"sum(count_over_time({app="shop"}[5m]))"#, json!([{"metric": {}, "value": [at, "3"]}])),
        (
            r#"sum by (app) (bytes_over_time({service_name="shop"} |= "slow" [5m]))"#,
            json!([{"metric": {"app": "shop"}, "value": [at, "47"]}]),
        ),
        (
            r#"max by (pod) (max_over_time({app="shop"} | json | unwrap took_ms | __error__="" [5m]))"#,
            json!([{"metric": {"pod": "shop-1"}, "value": [at, "900"]}]),
        ),
        (r#"sum(rate({app="none"}[1m]))"#, json!([])),
    ] {
        let data = data_of(&ask(&server, "/loki/api/v1/query", &[("query", expr), ("time", &time)]));
        assert_eq!(data, json!({"resultType": "vector", "result": result}), "{expr}");
    }
    let scalar = data_of(&ask(&server, "/loki/api/v1/query", &[("query", "1+1"), ("time", "4")]));
    assert_eq!(scalar, json!({"resultType": "scalar", "result": [4, "2"]}));
}

#[test]
fn how_much_there_is_comes_without_reading_it() {
    let (server, start) = server_with_logs();
    let (from, until) = (start.to_string(), (start + MINUTE).to_string());
    let window = [("start", from.as_str()), ("end", until.as_str())];
    let with = |more: &[(&'static str, &'static str)]| [&window[..], more].concat();
    let stats = json_of(&ask(&server, "/loki/api/v1/index/stats", &with(&[("query", r#"{app="shop"}"#)])));
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(2), &json!(3)));
    let bytes = [
        r#"{"level":"info","msg":"order accepted","took_ms":12.5,"user":{"id":7}}"#.len(),
        r#"{"level":"error","msg":"upstream timed out","took_ms":900}"#.len(),
        r#"level=warn msg="slow query" took=1.5s size=10KB"#.len(),
    ];
    assert_eq!(stats["bytes"], json!(bytes.iter().sum::<usize>()));
    assert!(stats["chunks"].as_u64().unwrap() > 0);

    let volume = data_of(&ask(
        &server,
        "/loki/api/v1/index/volume",
        &with(&[
            ("query", r#"{app=~".+"}"#),
            ("limit", "5000"),
            ("targetLabels", "pod"),
            ("aggregateBy", "series"),
        ]),
    ));
    let until_seconds = start / SECOND + 60;
    let sample = |pod: &str, bytes: usize| json!({"metric": {"pod": pod}, "value": [until_seconds, bytes.to_string()]});
    let result = json!([sample("shop-1", bytes[0] + bytes[1]), sample("shop-2", bytes[2])]);
    assert_eq!(volume, json!({"resultType": "vector", "result": result}));
    let by_label = data_of(&ask(
        &server,
        "/loki/api/v1/index/volume",
        &with(&[("query", r#"{app="shop"}"#), ("aggregateBy", "labels")]),
    ));
    assert_eq!(by_label["result"][0]["value"][1], json!(bytes.iter().sum::<usize>().to_string()));
    let ranged = data_of(&ask(
        &server,
        "/loki/api/v1/index/volume_range",
        &with(&[("query", r#"{app="shop"}"#), ("targetLabels", "app"), ("step", "60")]),
    ));
    assert_eq!(ranged["resultType"], "matrix");
    assert_eq!(ranged["result"][0]["metric"], json!({"app": "shop"}));
}

#[test]
fn drilldown_finds_labels_and_fields() {
    let (server, start) = server_with_logs();
    let (from, until) = (start.to_string(), (start + MINUTE).to_string());
    let window = [("start", from.as_str()), ("end", until.as_str())];
    let labels = json_of(&ask(&server, "/loki/api/v1/detected_labels", &window));
    let mut labels = labels["detectedLabels"].as_array().unwrap().clone();
    labels.sort_by_key(|label| label["label"].to_string());
    let label = |name: &str, cardinality: u64| json!({"label": name, "cardinality": cardinality});
    assert_eq!(labels, [label("app", 1), label("env", 1), label("pod", 2), label("service_name", 1)]);

    let query = [window[0], window[1], ("query", r#"{app="shop"}"#)];
    let fields = json_of(&ask(&server, "/loki/api/v1/detected_fields", &query));
    assert_eq!(fields["limit"], 1_000);
    let mut fields = fields["fields"].as_array().unwrap().clone();
    fields.sort_by_key(|field| field["label"].to_string());
    let names: Vec<&str> = fields.iter().map(|field| field["label"].as_str().unwrap()).collect();
    let expected = ["detected_level", "level", "msg", "size", "took", "took_ms", "trace_id", "user_id"];
    assert_eq!(names, expected);
    for (name, field_type, cardinality, parsers) in [
        ("detected_level", "string", 3, Value::Null),
        ("size", "bytes", 1, json!(["logfmt"])),
        ("took", "duration", 1, json!(["logfmt"])),
        ("took_ms", "float", 2, json!(["json"])),
        ("trace_id", "string", 1, Value::Null),
        ("user_id", "int", 1, json!(["json"])),
    ] {
        let field = fields.iter().find(|field| field["label"] == name).unwrap();
        assert_eq!(field["type"], field_type, "{name}");
        assert_eq!((&field["cardinality"], &field["parsers"]), (&json!(cardinality), &parsers), "{name}");
    }
    assert_eq!(fields[7]["jsonPath"], json!(["user", "id"]));
    let values = json_of(&ask(&server, "/loki/api/v1/detected_field/detected_level/values", &query));
    assert_eq!(values, json!({"values": ["error", "info", "warn"], "limit": 1_000}));
}

#[test]
fn an_expression_is_formatted() {
    let server = Server::start(&[]);
    let answer = ask(&server, "/loki/api/v1/format_query", &[("query", r#"{  app="a"  }|="b""#)]);
    assert_eq!(data_of_text(&answer), json!(r#"{app="a"} |= "b""#));
}

fn data_of_text(answer: &Answer) -> Value {
    json_of(answer)["data"].take()
}

#[test]
fn an_error_is_its_text_alone() {
    let server = Server::start(&[]);
    let range = "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D";
    for (path, text) in [
        (
            format!("{range}&start=yesterday"),
            r#"invalid parameter "start": cannot parse "yesterday" to a valid timestamp"#,
        ),
        (format!("{range}&start=2&end=1"), "end timestamp must not be before or equal to start time"),
        (
            format!("{range}&step=0"),
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            format!("{range}&start=1&end=20000&step=1"),
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
        ),
        (format!("{range}&limit=0"), r#"invalid parameter "limit": limit must be a positive value"#),
        (
            format!("{range}&direction=up"),
            r#"invalid parameter "direction": "up" is neither forward nor backward"#,
        ),
        (
            format!("{range}&interval=-1"),
            r#"invalid parameter "interval": interval must be greater than or equal to 0"#,
        ),
        (
            "/loki/api/v1/index/volume?aggregateBy=colour".to_owned(),
            r#"invalid parameter "aggregateBy": "colour" is neither series nor labels"#,
        ),
    ] {
        let answer = server.get(&path);
        assert_eq!((answer.status, answer.body.as_str()), (400, text), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let (path, form) = path.split_once('?').unwrap();
        assert_eq!(server.post_form(path, form).body, text, "the same in a form");
    }
}

#[test]
fn hostile_expressions_end_quickly_and_say_why() {
    let server = Server::start(&[]);
    let deep = "(".repeat(100_000);
    let long = vec!["1"; 10_000].join("+");
    let filters = r#"{a="b"}"#.to_owned() + &r#" |= "x""#.repeat(50_000);
    for query in [
        deep.as_str(),
        &long,
        &filters,
        "",
        "{",
        r#"{a="b"} |~ "(a{1000}){1000}""#,
        r#"{a="b"} | json | line_format "{{.x""#,
        r#"{a="b"} | nonsense"#,
        "sum(",
    ] {
        for path in ["/loki/api/v1/query_range", "/loki/api/v1/index/stats"] {
            let answer = server.post_form(path, &format!("query={}", encode(query)));
            let shown = &query[..query.len().min(40)];
            assert!(matches!(answer.status, 400 | 422), "{path} {shown}: {} {}", answer.status, answer.body);
            assert!(answer.body.len() < 1_000 && !answer.body.is_empty(), "{shown}: {}", answer.body);
        }
    }
    for everything in ["{}", r#"{a=~".*"}"#] {
        let answer = server.get(&format!("/loki/api/v1/query_range?query={}", encode(everything)));
        assert_eq!(answer.status, 400, "{everything}: {}", answer.body);
    }
    let instant = server.get("/loki/api/v1/query?query=%7Ba%3D%22b%22%7D");
    assert_eq!(instant.status, 400, "{}", instant.body);
    assert!(instant.body.contains("range query"), "{}", instant.body);
    assert_eq!(server.get("/loki/api/v1/query?query=1").status, 200);
}
