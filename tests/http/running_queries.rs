//! The list of running queries and their cancellation, and the query log.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Answer, Server, encode, now_ms, proto, request};

/// Minutes of work, and no data.
const SLOW: &str = "max_over_time(sum_over_time(max_over_time(vector(time())[10m:1s])[1h:1s])[1h:1s])";

fn wait_for<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn asked(server: &Server, path: &str) -> JoinHandle<Answer> {
    let url = format!("{}{path}", server.url);
    std::thread::spawn(move || request("GET", &url, &[], Vec::new()))
}

fn list(server: &Server) -> Vec<Value> {
    let body = server.get("/api/v1/status/active_queries").body;
    let mut body: Value = serde_json::from_str(&body).unwrap();
    serde_json::from_value(body["data"]["queries"].take()).unwrap()
}

fn cancel(server: &Server, query: &Value) -> (u16, String) {
    let answer = server.post(&format!("/api/v1/admin/queries/{}/cancel", query["id"]), &[], "");
    (answer.status, answer.body)
}

#[test]
fn queries_of_every_language_are_listed_and_can_be_cancelled_running_or_waiting() {
    let server = Server::start(&["--query.max-concurrency", "1"]);
    assert_eq!(list(&server), [] as [Value; 0]);
    let slow =
        asked(&server, &format!("/api/v1/query_range?query={}&start=0&end=10000&step=1", encode(SLOW)));
    let running = wait_for(|| list(&server).into_iter().find(|query| query["state"] == "running"));
    for (member, value) in [
        ("kind", json!("promql")),
        ("query", json!(SLOW)),
        ("path", json!("/api/v1/query_range")),
        ("client", json!("127.0.0.1")),
    ] {
        assert_eq!(running[member], value, "{running}");
    }
    assert!(running["started"].as_str().unwrap().starts_with("20"), "{running}");

    let logs = asked(&server, &format!("/loki/api/v1/query_range?query={}", encode(r#"{app="shop"}"#)));
    let traces = asked(&server, &format!("/api/search?q={}", encode("{ status = error }")));
    for (kind, text) in [("logql", r#"{app="shop"}"#), ("traceql", "{ status = error }")] {
        let waiting = wait_for(|| list(&server).into_iter().find(|query| query["kind"] == kind));
        assert_eq!((&waiting["query"], &waiting["state"]), (&json!(text), &json!("waiting")));
        assert_eq!(cancel(&server, &waiting), (204, String::new()));
    }
    for waiting in [logs, traces] {
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (499, "query was canceled in query queue"));
    }

    assert_eq!(cancel(&server, &running), (204, String::new()));
    let answer = slow.join().unwrap();
    let error =
        r#"{"status":"error","errorType":"canceled","error":"query was canceled in expression evaluation"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (499, error));
    wait_for(|| list(&server).is_empty().then_some(()));
    let (status, body) = cancel(&server, &running);
    assert!(status == 404 && body.contains("not_found"), "{body}");
    assert_eq!(server.post("/api/v1/admin/queries/x/cancel", &[], "").status, 404);
    assert_eq!(server.get("/api/v1/query?query=1").status, 200, "the worker is free again");
}

#[test]
fn each_query_is_a_line_of_the_query_log_which_can_be_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("queries.json"), dir.path().join("queries.json.1"));
    let mut server = Server::start(&["--query.log-file", path.to_str().unwrap()]);
    let now = now_ms();
    server.write(&proto::v1(&[("__name__", "up")], &[(now, 1.0)]));
    server.query("up", now);
    server.get("/api/v1/query_range?query=up&start=0&end=60&step=15&stats=all");
    server.query(r#"label_replace(up, "", "x", "job", ".*")"#, now);
    assert_eq!(server.get("/api/v1/query?query=sum(").status, 400);
    server.get(&format!("/loki/api/v1/query_range?query={}", encode(r#"{app="shop"}"#)));
    server.get(&format!("/api/search?q={}", encode("{ status = error }")));
    let read = |path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = wait_for(|| Some(read(&path)).filter(|lines| lines.len() >= 5));
    let texts: Vec<&Value> = lines.iter().map(|line| &line["params"]["query"]).collect();
    let expected =
        ["up", "up", r#"label_replace(up, "", "x", "job", ".*")"#, r#"{app="shop"}"#, "{ status = error }"];
    assert_eq!(texts, expected, "what cannot be read is not logged");
    assert_eq!(lines[1]["params"]["start"], "1970-01-01T00:00:00.000Z");
    assert_eq!(lines[1]["params"]["end"], "1970-01-01T00:01:00.000Z");
    assert_eq!(lines[1]["params"]["step"], 15);
    assert_eq!(lines[0]["stats"]["samples"]["samplesRead"], 1);
    assert_eq!(
        lines[0]["httpRequest"],
        json!({"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query"})
    );
    assert!(lines[2]["error"].as_str().unwrap().contains("label_replace()"), "{}", lines[2]);
    assert_eq!(lines.iter().filter(|line| line.get("error").is_some()).count(), 1);
    assert_eq!(
        (&lines[3]["msg"], &lines[4]["msg"]),
        (&json!("logql query logged"), &json!("traceql query logged"))
    );

    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    wait_for(|| {
        server.query("1", now);
        path.exists().then_some(())
    });
    server.query("the_last_one", now);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(read(&path).last().unwrap()["params"]["query"], "the_last_one");
    assert!(read(&moved).len() >= 5);
}
