//! The corners of Prometheus's API: what it refuses and with which words, and the paths that few ask for.

use serde_json::{Value, json};

use crate::common::{Server, now_ms, proto, request};

#[test]
fn refusals_have_prometheus_words() {
    let server = Server::start(&[]);
    for (path, message) in [
        ("query?query=1&limit=x", r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#),
        (
            "query?query=1&lookback_delta=x",
            r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
        ),
        (
            "query_range?query=1&start=0&end=1&step=99999999999",
            r#"invalid parameter "step": cannot parse "99999999999" to a valid duration. It overflows int64"#,
        ),
        (
            "query_range?query=up[5m]&start=0&end=1&step=1",
            r#"invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector"#,
        ),
        ("labels?match[]={}", "match[] must contain at least one non-empty matcher"),
        ("labels?match[]=up[", r#"1:3: parse error: unexpected "[""#),
        (
            "labels?start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        ("label/job/values?match[]={a=~\".*\"}", "match[] must contain at least one non-empty matcher"),
        (
            "series?match[]={}",
            r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
        ),
        ("series?match[]=up[", r#"invalid parameter "match[]": 1:3: parse error: unexpected "[""#),
        ("query_exemplars?query=1%2B", "1:3: parse error: unexpected end of input"),
        ("query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number"),
        ("targets/metadata?limit=x", "limit must be a number"),
        ("status/tsdb?limit=0", "limit must be a positive number"),
        ("status/tsdb?limit=10001", "limit must not exceed 10000"),
        ("rules?type=bogus", r#"invalid parameter "type": not supported value "bogus""#),
        (
            "rules?exclude_alerts=maybe",
            r#"invalid parameter "exclude_alerts": error converting exclude_alerts: strconv.ParseBool: parsing "maybe": invalid syntax"#,
        ),
        ("rules?group_limit=0", r#"invalid parameter "group_limit": group_limit needs to be greater than 0"#),
        (
            "rules?group_next_token=a",
            r#"invalid parameter "group_next_token": group_limit needs to be present in order to paginate over the groups"#,
        ),
    ] {
        let answer = server.get(&format!(
            "/api/v1/{}",
            path.replace('[', "%5B")
                .replace(']', "%5D")
                .replace('{', "%7B")
                .replace('}', "%7D")
                .replace('"', "%22")
        ));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let expected = json!({"status": "error", "errorType": "bad_data", "error": message});
        assert_eq!((answer.status, body), (400, expected), "{path}");
    }
}

#[test]
fn names_values_and_series_of_the_past_are_not_those_of_today() {
    let server = Server::start(&["--self-scrape", "off"]);
    let now = now_ms();
    let hour_ago = now - 3_600_000;
    let write = |instance: &str, time: i64| {
        let message =
            proto::v1(&[("__name__", "up"), ("instance", instance), (instance, "1")], &[(time, 1.0)]);
        assert_eq!(server.write(&message).status, 204);
    };
    let listed = |time: i64| {
        let around =
            format!("start={:.3}&end={:.3}", (time - 9_000) as f64 / 1e3, (time + 9_000) as f64 / 1e3);
        ["labels?", "label/instance/values?", "series?match[]=up&"].map(|path| {
            let body = server.get(&format!("/api/v1/{path}{around}")).body;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["status"], "success");
            body["data"].clone()
        })
    };
    let of = |instance: &str| {
        let series = json!({"__name__": "up", "instance": instance, instance: "1"});
        let mut names = ["__name__", "instance", instance];
        names.sort();
        [json!(names), json!([instance]), json!([series])]
    };
    write("before", hour_ago);
    assert_eq!(server.post("/api/v1/admin/flush", &[], "").status, 204);
    write("then", now);
    assert_eq!(listed(hour_ago), of("before"));
    // Names and values may be those of others that the shard knows.
    let [names, values, series] = listed(now);
    assert!(names.as_array().unwrap().contains(&json!("then")), "{names}");
    assert!(values.as_array().unwrap().contains(&json!("then")), "{values}");
    assert_eq!(series, of("then")[2]);
    assert_eq!(listed(now - 1_800_000), [json!([]), json!([]), json!([])]);
    // In both.
    write("before", now + 1_000);
    let [names, values, _] = listed(now);
    assert_eq!(names, json!(["__name__", "before", "instance", "then"]));
    assert_eq!(values, json!(["before", "then"]));
    assert_eq!(listed(hour_ago), of("before"), "one head has nothing of that time");
}

#[test]
fn a_lookback_of_nothing_is_the_usual_one() {
    let server = Server::start(&[]);
    let now = now_ms();
    server.write(&proto::v1(&[("__name__", "up")], &[(now - 200_000, 1.0)]));
    for (lookback, is_found) in [("0", true), ("-5", true), ("", true), ("1m", false)] {
        let path = format!("/api/v1/query?query=up&time={}&lookback_delta={lookback}", now / 1_000);
        assert_eq!(server.get(&path).body.contains("__name__"), is_found, "{lookback:?}");
    }
}

#[test]
fn what_has_no_answer_has_no_body() {
    let server = Server::start(&[]);
    let empty = |method: &str, path: &str| {
        let answer = request(method, &format!("{}{path}", server.url), &[], Vec::new());
        (answer.status, answer.body)
    };
    assert_eq!(empty("GET", "/api/v1/query_exemplars?query=1"), (204, String::new()));
    assert_eq!(empty("OPTIONS", "/api/v1/query"), (204, String::new()));
    assert_eq!(empty("GET", "/api/v1/notifications/live"), (204, String::new()));
}

#[test]
fn what_prometheus_has_only_if_told_so_is_disabled() {
    let server = Server::start(&[]);
    let disabled = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
    for task in ["delete_series", "clean_tombstones", "snapshot"] {
        for method in ["POST", "PUT"] {
            let url = format!("{}/api/v1/admin/tsdb/{task}", server.url);
            let answer = request(method, &url, &[], Vec::new());
            assert_eq!((answer.status, answer.body.as_str()), (500, disabled), "{method} {task}");
        }
    }
    let disabled = disabled.replace("admin APIs", "search API");
    let answer = server.get("/api/v1/search/metric_names");
    assert_eq!((answer.status, answer.body), (500, disabled));
    assert_eq!(server.post("/api/v1/admin/tsdb/other", &[], "").status, 404);
}

#[test]
fn what_is_sealed_is_listed_as_blocks() {
    let server = Server::start(&[]);
    let blocks = || {
        let body = server.get("/api/v1/status/tsdb/blocks").body;
        serde_json::from_str::<Value>(&body).unwrap()["data"]["blocks"].take()
    };
    assert_eq!(blocks(), json!([]));
    let now = now_ms();
    let samples = [(now - 10_000, 1.0), (now, 2.0)];
    assert_eq!(server.write(&proto::v1(&[("__name__", "up")], &samples)).status, 204);
    assert_eq!(server.post("/api/v1/admin/flush", &[], "").status, 204);
    let mut sealed = blocks();
    let sealed = sealed.as_array_mut().unwrap();
    // Two where midnight lies between the samples.
    let sum = |name: &str| sealed.iter().map(|block| block["stats"][name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("numSamples"), sum("numSeries")), (2, sealed.len() as u64));
    assert_eq!(sealed[0]["minTime"], now - 10_000);
    assert_eq!(sealed.last().unwrap()["maxTime"], now + 1);
    assert_eq!((&sealed[0]["compaction"]["level"], &sealed[0]["version"]), (&json!(1), &json!(1)));
    let ulid = sealed[0]["ulid"].as_str().unwrap();
    assert!(ulid.len() == 26 && ulid.ends_with('1'), "{ulid}");
}

#[test]
fn own_metrics_are_told_as_json_for_those_that_cannot_read_the_text() {
    let server = Server::start(&[]);
    let asked = |pattern: &str| {
        let answer = server.get(&format!("/api/v1/status/self_metrics?metric_name_pattern={pattern}"));
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    let (status, body) = asked("icecore_query_held_.*|icecore_worker_jobs");
    let names: Vec<&str> =
        body["data"].as_array().unwrap().iter().map(|family| family["name"].as_str().unwrap()).collect();
    assert_eq!((status, names), (200, vec!["icecore_query_held_bytes", "icecore_worker_jobs"]));
    assert_eq!(body["data"][0]["type"], "GAUGE");
    assert_eq!(body["data"][0]["metric"], json!([{"gauge": {"value": 0.0}}]));
    let of_queries = json!({"label": [{"name": "pool", "value": "query"}], "gauge": {"value": 0.0}});
    assert!(body["data"][1]["metric"].as_array().unwrap().contains(&of_queries), "{body}");
    let (_, body) = asked("icecore_wal_sync_seconds");
    let histogram = &body["data"][0]["metric"][0]["histogram"];
    assert!(histogram["sampleCount"].is_string() && histogram["bucket"][0]["upperBound"] == 0.0005, "{body}");
    assert!(asked("").1["data"].as_array().unwrap().len() > 20);
    let (status, body) = asked("(");
    let error = "invalid metric_name_pattern: error parsing regexp: missing closing ): `(`";
    assert_eq!((status, &body["errorType"], &body["error"]), (400, &json!("bad_data"), &json!(error)));
}

#[test]
fn no_description_of_the_api_is_served_that_would_be_anothers() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/api/v1/openapi.yaml").status, 404);
}

#[test]
fn limits_of_metadata_count_from_zero_and_below_it_there_is_none() {
    let server = Server::start(&[]);
    let family = |name: &[u8]| proto::Message::new().varint(1, 1).bytes(2, name).bytes(4, b"help");
    let body = proto::Message::new().message(3, family(b"a_total")).message(3, family(b"b_total"));
    assert_eq!(server.write(&body.0).status, 204);
    let count = |query: &str| {
        let body = server.get(&format!("/api/v1/metadata{query}")).body;
        serde_json::from_str::<Value>(&body).unwrap()["data"].as_object().unwrap().len()
    };
    let counts = ["", "?limit=0", "?limit=1", "?limit=-1", "?limit_per_metric=0"].map(count);
    assert_eq!(counts, [2, 0, 1, 2, 2]);
}

#[test]
fn the_server_tells_what_it_is_as_prometheus_does() {
    let server = Server::start(&["--self-scrape", "on", "--enable-feature", "promql-binop-fill-modifiers"]);
    let data = |path: &str| {
        let answer = server.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()["data"].take()
    };
    assert_eq!(data("status/walreplay"), json!({"min": 0, "max": 0, "current": 0}));
    assert_eq!(data("notifications"), json!([]));
    assert_eq!(data("scrape_pools"), json!({"scrapePools": ["icecore"]}));
    assert_eq!(data("targets?state=dropped")["activeTargets"], json!([]));
    assert_eq!(data("targets?scrapePool=other")["activeTargets"], json!([]));

    let metadata = data("targets/metadata?metric=process_resident_memory_bytes");
    assert_eq!(metadata[0]["type"], "gauge");
    assert_eq!(metadata[0]["target"]["job"], "icecore");
    assert!(metadata[0].get("metric").is_none(), "{metadata}");
    assert!(data("targets/metadata?limit=1").as_array().unwrap().len() > 10);
    assert_eq!(data("targets/metadata?match_target=%7Bjob%3D%22other%22%7D"), json!([]));

    let features = data("features");
    assert_eq!(features["promql"]["fill"], true);
    assert_eq!(features["promql"]["anchored"], false);
    assert_eq!(features["promql_functions"]["rate"], true);
    assert_eq!(features["promql_functions"]["info"], false);
    assert_eq!(features["promql_operators"][">="], true);
    assert_eq!(features["promql_operators"]["limitk"], false);

    let runtime = data("status/runtimeinfo");
    assert!(runtime["goroutineCount"].as_u64().unwrap() > 0 && runtime["hostname"] != "", "{runtime}");
    assert!(runtime["GOGC"] == "" && runtime["GODEBUG"] == "" && runtime["GOMEMLIMIT"].is_i64(), "{runtime}");
    server.write(&proto::v1(&[("__name__", "up"), ("job", "four")], &[(now_ms(), 1.0)]));
    let tsdb = data("status/tsdb?limit=10000");
    assert!(tsdb["headStats"]["chunkCount"].as_u64().unwrap() > 0, "{tsdb}");
    let of_job = tsdb["memoryInBytesByLabelName"].as_array().unwrap().iter().find(|l| l["name"] == "job");
    assert_eq!(of_job.unwrap()["value"].as_u64().unwrap() % 7, 4, "four, and icecore once scraped");
}
