//! The list of running queries and their cancellation, and the query log.

use std::io::{Read, Write};
use std::net::TcpStream;
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
fn a_client_that_leaves_ends_its_query_while_it_runs() {
    let server = Server::start(&["--query.max-concurrency", "1"]);
    let path = format!("/api/v1/query_range?query={}&start=0&end=10000&step=1", encode(SLOW));
    for leave in [
        |client: TcpStream| drop(client),
        |client: TcpStream| {
            client.shutdown(std::net::Shutdown::Write).unwrap();
            wait_for(|| (&client).read(&mut [0; 1024]).ok());
        },
    ] {
        let mut client = TcpStream::connect(server.address()).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        wait_for(|| list(&server).into_iter().find(|query| query["state"] == "running"));
        // Others are served meanwhile.
        assert!((0..20).all(|_| server.get("/-/ready").status == 200));
        leave(client);
        wait_for(|| list(&server).is_empty().then_some(()));
        assert_eq!(server.get("/api/v1/query?query=1").status, 200, "its place is free again");
    }
}

/// The dearest expression that is compiled, and a text that it looks at to the end in vain: milliseconds each.
const HOSTILE: &str = "^(?:[a-z0-9 ]{0,60}){20}!$";

fn looked_at_in_vain(i: usize) -> String {
    let letter = |at: usize| char::from(b'a' + ((i + 1) * (at * at + 7) % 25) as u8);
    (0..800).map(letter).collect::<String>() + "!x"
}

const TEXTS: usize = 2_000;

fn push_lines(server: &Server) {
    let now = now_ms();
    let values: Vec<Value> =
        (0..TEXTS).map(|i| json!([format!("{now}{i:06}"), looked_at_in_vain(i)])).collect();
    let body = json!({"streams": [{"stream": {"app": "shop"}, "values": values}]}).to_string();
    let pushed = server.post("/loki/api/v1/push", &[("content-type", "application/json")], body);
    assert_eq!(pushed.status, 204, "{}", pushed.body);
}

fn push_spans(server: &Server) {
    let now = now_ms() as u64 * 1_000_000;
    let span = |i: usize| {
        json!({"traceId": format!("{:032x}", i + 1), "spanId": format!("{:016x}", i + 1),
            "name": looked_at_in_vain(i), "kind": 2, "startTimeUnixNano": now.to_string(),
            "endTimeUnixNano": (now + 1_000).to_string()})
    };
    let spans: Vec<Value> = (0..TEXTS).map(span).collect();
    let body = json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]});
    let headers = [("content-type", "application/json")];
    let pushed = server.post("/v1/traces", &headers, body.to_string());
    assert_eq!(pushed.status, 200, "{}", pushed.body);
}

#[test]
fn a_query_of_lines_or_spans_is_cancelled_in_the_middle_of_its_work() {
    let server = Server::start(&[]);
    push_lines(&server);
    push_spans(&server);
    let expr = format!("{{app=\"shop\"}} |~ \"{HOSTILE}\"");
    let traceql = format!("{{ name =~ \"{HOSTILE}\" }}");
    for (path, kind) in [
        (format!("/loki/api/v1/query_range?query={}", encode(&expr)), "logql"),
        (format!("/api/search?q={}", encode(&traceql)), "traceql"),
    ] {
        let slow = asked(&server, &path);
        let running = wait_for(|| list(&server).into_iter().find(|query| query["state"] == "running"));
        assert_eq!(running["kind"], kind);
        assert_eq!(cancel(&server, &running), (204, String::new()));
        let answer = slow.join().unwrap();
        let error = (answer.status, answer.body.as_str());
        assert_eq!(error, (499, "query was canceled in expression evaluation"), "{kind}");
        wait_for(|| list(&server).is_empty().then_some(()));
    }
}

fn logged(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_query_that_ends_in_the_queue_is_in_the_query_log_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queries.json");
    let server = Server::start(&["--query.max-concurrency", "1", "--query.log-file", path.to_str().unwrap()]);
    let slow =
        asked(&server, &format!("/api/v1/query_range?query={}&start=0&end=10000&step=1", encode(SLOW)));
    let running = wait_for(|| list(&server).into_iter().find(|query| query["state"] == "running"));
    let listed = |text: &str| list(&server).into_iter().find(|query| query["query"] == text);

    assert_eq!(server.get("/api/v1/query?query=late&timeout=10ms").status, 503);
    let unwanted = asked(&server, "/api/v1/query?query=unwanted");
    cancel(&server, &wait_for(|| listed("unwanted")));
    assert_eq!(unwanted.join().unwrap().status, 499);
    let mut leaving = TcpStream::connect(server.address()).unwrap();
    leaving
        .write_all(b"GET /loki/api/v1/query_range?query={app=\"left\"} HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    wait_for(|| listed("{app=\"left\"}"));
    drop(leaving);
    wait_for(|| listed("{app=\"left\"}").is_none().then_some(()));

    let lines = wait_for(|| Some(logged(&path)).filter(|lines| lines.len() >= 3));
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["params"]["query"].as_str().unwrap(), line["error"].as_str().unwrap()))
        .collect();
    let cancelled = "query was canceled in query queue";
    let expected =
        [("late", "query timed out in query queue"), ("unwanted", cancelled), ("{app=\"left\"}", cancelled)];
    assert_eq!(told, expected);
    assert_eq!(lines[2]["msg"], "logql query logged");
    cancel(&server, &running);
    assert_eq!(slow.join().unwrap().status, 499);
    let lines = wait_for(|| Some(logged(&path)).filter(|lines| lines.len() >= 4));
    assert_eq!(lines[3]["error"], "query was canceled in expression evaluation");
    assert_eq!(lines.len(), 4, "each once");
}

/// What its own metrics say.
fn metric(server: &Server, name: &str) -> i64 {
    let body = server.get("/metrics").body;
    let value = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Asks for some 20 MB, and reads nothing.
fn ask_for_much(server: &Server, now: i64) -> TcpStream {
    let end = now / 1_000;
    let path =
        format!("/api/v1/query_range?query=many&start={}&end={end}&step=1&lookback_delta=4h", end - 10_999);
    let mut client = TcpStream::connect(server.address()).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client
}

#[test]
fn a_client_that_leaves_before_it_has_its_answer_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let now = now_ms();
    let time = now - 10_999_000;
    let one = |n: i32| proto::v1_series(&[("__name__", "many"), ("n", &n.to_string())], &[(time, 1.0)]);
    let many: Vec<_> = (0..100).map(one).collect();
    assert_eq!(server.write(&proto::v1_request(&many)).status, 204);
    let in_flight = || metric(&server, "icecore_http_answers_in_flight_bytes");
    let is_all_given_back =
        || in_flight() == 0 && metric(&server, "icecore_query_held_bytes") == 0 && list(&server).is_empty();

    // When it has read a little.
    let mut client = ask_for_much(&server, now);
    let mut some = vec![0; 64 << 10];
    client.read_exact(&mut some).unwrap();
    let some = String::from_utf8(some).unwrap();
    let length = some.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let answer_bytes: i64 = length.parse().unwrap();
    assert!(in_flight() > 1 << 20, "what was not read of {answer_bytes} bytes is held");
    drop(client);
    wait_for(|| is_all_given_back().then_some(()));

    // In the midst of the encoding, which goes no further. That may be half through before the client goes.
    let goes_no_further = || {
        let client = ask_for_much(&server, now);
        wait_for(|| (in_flight() > 0).then_some(()));
        drop(client);
        let mut most = 0;
        wait_for(|| {
            most = in_flight().max(most);
            is_all_given_back().then_some(())
        });
        most < answer_bytes / 2
    };
    assert!((0..5).any(|_| goes_no_further()), "encoded to the end");
    assert_eq!(server.get("/api/v1/query?query=1").status, 200);
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

/// Queries that ended where they were received, and queries that were handed over.
fn in_place(server: &Server) -> [u64; 2] {
    let metrics = server.get("/metrics").body;
    ["ended", "handed_over"].map(|end| {
        let name = format!("icecore_queries_in_place_total{{end=\"{end}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    })
}

#[test]
fn a_light_query_that_becomes_a_heavy_one_begins_anew_and_is_logged_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queries.json");
    let mut server =
        Server::start(&["--query.log-file", path.to_str().unwrap(), "--query.max-concurrency", "1"]);
    let now = now_ms();
    // On a machine with much to do even a light query may have taken long when it was last asked.
    let name = (0..20).map(|attempt| format!("busy_{attempt}")).find(|name| {
        let slow = SLOW.replace("vector(time())", name);
        let url = format!("/api/v1/query?query={}&time={}", encode(&slow), now / 1_000);
        wait_for(|| {
            let [before, _] = in_place(&server);
            let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
            assert_eq!(server.get(&url).body, empty, "light as long as it finds nothing");
            (in_place(&server)[0] > before).then_some(())
        });
        let samples: Vec<(i64, f64)> = (0..60).map(|i| (now - i * 240_000, 1.0)).collect();
        server.write(&proto::v1(&[("__name__", name)], &samples));
        for _ in 0..2 {
            let heavy = asked(&server, &url);
            let running = wait_for(|| {
                let listed = list(&server).into_iter().find(|query| query["state"] == "running");
                // Once it is listed for longer than it may stay where it began, it has been handed over.
                listed.filter(|query| query["seconds"].as_f64().unwrap() > 0.2)
            });
            assert_eq!(server.get("/-/ready").status, 200, "others are served meanwhile");
            assert_eq!(cancel(&server, &running), (204, String::new()));
            assert_eq!(heavy.join().unwrap().status, 499);
        }
        in_place(&server)[1] == 1
    });
    let name = name.expect("one was handed over the first time it was heavy, and not tried in place again");

    assert_eq!(server.stop().code(), Some(0));
    let log = std::fs::read_to_string(&path).unwrap();
    let of_the_name = log.lines().filter(|line| line.contains(&format!("{name}[")));
    let with_error: Vec<&str> = of_the_name.filter(|line| line.contains("\"error\"")).collect();
    assert_eq!(with_error.len(), 2, "{with_error:?}");
    assert!(with_error.iter().all(|line| line.contains("query was canceled in expression evaluation")));
}
