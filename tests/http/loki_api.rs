//! What Grafana's Loki data source, Logs Drilldown and logcli ask, and the answers they must get.

use serde_json::{Value, json};

use crate::common::Server;

fn json_of(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json"),
        "{path}: {}",
        answer.body
    );
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn start_up_questions_are_answered() {
    let server = Server::start(&["--retention.logs", "10d"]);
    let answer = server.get("/ready");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"));
    let build = json_of(&server, "/loki/api/v1/status/buildinfo");
    assert_eq!((&build["version"], &build["goVersion"]), (&json!("3.7.6"), &json!("")));
    let drilldown = json_of(&server, "/loki/api/v1/drilldown-limits");
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
