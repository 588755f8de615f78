//! Input that means harm or was made by mistake: each gets its status and a message, and the next is unharmed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Server, now_ms, proto, request};

/// Status and a part of the message.
fn assert_refused(server: &Server, what: &str, message: &[u8], status: u16, part: &str) {
    let answer = server.write(message);
    assert!(
        answer.status == status && answer.body.contains(part),
        "{what}: {} {}",
        answer.status,
        answer.body
    );
    assert!(answer.body.len() < 2_000, "{what}: the message is short");
    let good = server.write(&proto::v1(&[("__name__", "good")], &[(now_ms(), 1.0)]));
    assert_eq!(good.status, 204, "after {what}: {}", good.body);
}

#[test]
fn bad_samples_and_series_are_named_with_their_limit() {
    let server = Server::start(&[]);
    let now = now_ms();
    let many: Vec<(String, String)> = (0..100).map(|i| (format!("l{i}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("__name__", "m")]).collect();
    let (long_name, long_value) = ("n".repeat(64 << 10), "v".repeat(1 << 20));
    for (what, labels, timestamp, part) in [
        ("far future", &[("__name__", "a")][..], i64::MAX, "years ahead"),
        ("eleven minutes ahead", &[("__name__", "a")], now + 11 * 60_000, "ahead"),
        ("nanoseconds for milliseconds", &[("__name__", "a")], now * 1_000_000, "ahead"),
        ("the epoch", &[("__name__", "a")], 0, ""),
        ("the beginning of time", &[("__name__", "a")], i64::MIN, ""),
        ("no name", &[("job", "a")], now, "__name__"),
        ("no labels", &[], now, ""),
        ("a label twice", &[("__name__", "a"), ("b", "1"), ("b", "2")], now, "duplicate label \\\"b"),
        ("too many labels", &many, now, "101 labels > 64"),
        ("a long name", &[("__name__", "a"), (&long_name, "1")], now, "1024"),
        ("a long value", &[("__name__", "a"), ("b", &long_value)], now, "2048"),
    ] {
        assert_refused(&server, what, &proto::v1(labels, &[(timestamp, 1.0)]), 400, part);
    }
    let not_utf8 = proto::Message::new()
        .message(1, proto::Message::new().bytes(1, b"__name__").bytes(2, b"a\xff"))
        .message(2, proto::Message::new().double(1, 1.0).int(2, now));
    assert_refused(&server, "no UTF-8", &proto::v1_request(&[not_utf8]), 400, "UTF-8");
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let server = Server::start(&[]);
    // A snappy block that declares 4 GiB in its first five bytes.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let started = Instant::now();
    let answer = server.post("/api/v1/write", &proto::V1_HEADERS, bomb);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body.contains("4294967295 > 33554432 (--limits.max-decoded-bytes)"), "{}", answer.body);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_url_as_people_type_it_is_taken() {
    let server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let asked = r#"label_replace(vector(2),"unit","µs","","")>1"#;
    let request = format!("GET /api/v1/query?query={asked} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#"{"unit":"µs"}"#), "{answer}");
}

#[test]
fn long_bodies_are_refused_by_their_length_and_as_they_come() {
    let server = Server::start(&["--limits.max-body-bytes", "64KiB"]);
    let body = vec![0u8; 100 << 10];
    let answer = server.post("/api/v1/write", &proto::V1_HEADERS, body.clone());
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("65536 bytes (--limits.max-body-bytes)"), "{}", answer.body);

    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = "POST /api/v1/write HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..40 {
        // The server may have closed already.
        let _ = stream
            .write_all(b"1000\r\n")
            .and_then(|()| stream.write_all(&body[..4_096]))
            .and_then(|()| stream.write_all(b"\r\n"));
    }
    let mut answer = [0u8; 12];
    if stream.read_exact(&mut answer).is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn bodies_that_wait_take_no_more_memory_than_there_is_for_all() {
    let server = Server::start(&["--limits.max-bodies-bytes", "64KiB"]);
    let mut waiting = TcpStream::connect(server.address()).unwrap();
    waiting.write_all(b"POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 61000\r\n\r\n").unwrap();
    waiting.write_all(&[0u8; 60_000]).unwrap();
    wait_for(|| server.get("/metrics").body.contains("icecore_http_bodies_in_flight_bytes 60000"));
    let answer = server.post("/api/v1/write", &proto::V1_HEADERS, vec![0u8; 10_000]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.body);
    assert!(answer.body.contains("65536 bytes (--limits.max-bodies-bytes)"), "{}", answer.body);
    drop(waiting);
    wait_for(|| server.get("/metrics").body.contains("icecore_http_bodies_in_flight_bytes 0"));
    assert_eq!(server.post("/api/v1/write", &proto::V1_HEADERS, vec![0u8; 10_000]).status, 400);
}

#[test]
fn who_asks_much_and_reads_nothing_is_cut_off() {
    let server = Server::start(&["--limits.stall-timeout", "500ms"]);
    let now = now_ms();
    let names: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let series: Vec<_> = names
        .iter()
        .map(|name| proto::v1_series(&[("__name__", "wide"), ("i", name)], &[(now - 300_000, 1.0)]))
        .collect();
    assert_eq!(server.write(&proto::v1_request(&series)).status, 204);
    let (start, end) = ((now - 299_000) as f64 / 1e3, (now - 10_000) as f64 / 1e3);
    let mut stalled = TcpStream::connect(server.address()).unwrap();
    let request = format!(
        "GET /api/v1/query_range?query=wide&start={start}&end={end}&step=0.027 HTTP/1.1\r\nhost: x\r\n\r\n"
    );
    stalled.write_all(request.as_bytes()).unwrap();
    let in_flight = |server: &Server| {
        let metrics = server.get("/metrics").body;
        let line =
            metrics.lines().find(|line| line.starts_with("icecore_http_answers_in_flight_bytes ")).unwrap();
        line.split(' ').next_back().unwrap().parse::<u64>().unwrap()
    };
    wait_for(|| in_flight(&server) > 1_000_000);
    wait_for(|| in_flight(&server) == 0);
}

#[test]
fn a_query_ends_when_its_client_has_left() {
    let server = Server::start(&["--query.max-concurrency", "1"]);
    let query = "max_over_time(sum_over_time(max_over_time(vector(time())[10m:1s])[1h:1s])[1h:1s])";
    let mut leaver = TcpStream::connect(server.address()).unwrap();
    let path = format!("/api/v1/query_range?query={}&start=0&end=10000&step=1", crate::common::encode(query));
    leaver.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    wait_for(|| server.get("/metrics").body.contains("icecore_worker_jobs{pool=\"query\"} 1"));
    drop(leaver);
    let left = Instant::now();
    assert_eq!(server.get("/api/v1/query?query=1&time=1").status, 200);
    assert!(left.elapsed() < Duration::from_secs(1));
    assert!(server.get("/metrics").body.contains("icecore_query_limits_hit_total{limit=\"cancelled\"} 1"));
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_sends_too_slowly_is_cut_off_and_the_others_are_served() {
    let server = Server::start(&["--limits.header-timeout", "300ms", "--limits.body-timeout", "300ms"]);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    let mut half_a_head = TcpStream::connect(server.address()).unwrap();
    half_a_head.write_all(b"GET /-/healthy HTTP/1.1\r\nhost:").unwrap();
    let mut half_a_preface = TcpStream::connect(server.address()).unwrap();
    half_a_preface.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    let mut half_a_body = TcpStream::connect(server.address()).unwrap();
    half_a_body
        .write_all(b"POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        .unwrap();
    assert_eq!(server.get("/-/healthy").status, 200);
    for stream in [&mut silent, &mut half_a_head, &mut half_a_preface, &mut half_a_body] {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    let mut answer = String::new();
    half_a_body.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("--limits.body-timeout"), "{answer}");
    for stream in [&mut silent, &mut half_a_head, &mut half_a_preface] {
        let mut rest = Vec::new();
        // Closed, with or without a word.
        stream.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let server = Server::start(&["--limits.max-connections", "2"]);
    let _held: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut third = TcpStream::connect(server.address()).unwrap();
    third.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(third.read(&mut [0u8; 1]).unwrap_or(0), 0);
}

#[test]
fn hostile_expressions_end_quickly_and_say_why() {
    let server = Server::start(&[]);
    let deep = "(".repeat(100_000);
    let long = vec!["1"; 10_000].join("+");
    for (query, status) in [
        (deep.as_str(), 400),
        (long.as_str(), 400),
        (&"x".repeat(200 << 10), 400),
        ("up{a=~\"(a{1000}){1000}\"}", 400),
        ("{__name__=~\".*\"}", 400),
        ("{}", 400),
    ] {
        let started = Instant::now();
        let form = format!("query={}&time=1", crate::common::encode(query));
        let answer = server.post_form("/api/v1/query", &form);
        assert_eq!(answer.status, status, "{}: {}", &query[..query.len().min(30)], answer.body);
        assert!(answer.body.len() < 1_000 && started.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(server.get("/api/v1/query?query=1").status, 200);
}

/// The limits are set so low that a few hundred series go beyond them.
#[test]
fn queries_that_multiply_are_refused_and_the_next_is_answered() {
    let server = Server::start(&["--query.max-bytes", "1MiB", "--query.max-total-bytes", "16MiB"]);
    let now = now_ms();
    let names: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    let series: Vec<_> = names
        .iter()
        .map(|name| proto::v1_series(&[("__name__", "big"), ("m", "a"), ("i", name)], &[(now - 1_000, 1.0)]))
        .collect();
    assert_eq!(server.write(&proto::v1_request(&series)).status, 204);
    let joined =
        (0..12).fold("big".to_owned(), |inner, _| format!("label_join({inner},'a','','i','i','a','a')"));
    for (query, part) in [
        ("big + on(m) big", "found duplicate series for the match group {m=\\\"a\\\"}"),
        ("big * on(m) group_left(i) big", "found duplicate series for the match group"),
        (joined.as_str(), "1048576 (--query.max-bytes)"),
        ("topk(1000, max_over_time(vector(1)[40d:1s]) or big)", "1048576 (--query.max-bytes)"),
    ] {
        let answer =
            server.get(&format!("/api/v1/query?query={}&time={}", crate::common::encode(query), now / 1_000));
        assert_eq!(answer.status, 422, "{query}: {}", answer.body);
        assert!(answer.body.contains(part), "{query}: {}", answer.body);
        assert_eq!(server.get("/api/v1/query?query=count(big)").status, 200, "after {query}");
    }
    wait_for(|| server.get("/metrics").body.contains("icecore_query_held_bytes 0"));
}

#[test]
fn one_query_may_hold_no_more_than_all_together() {
    let server = Server::start(&["--query.max-total-bytes", "64KiB"]);
    let query = "/api/v1/query?query=max_over_time(vector(time())[1d:1s])&time=100000";
    let answer = server.get(query);
    assert_eq!(answer.status, 422, "told to try again it would do so for ever: {}", answer.body);
    assert_eq!(server.get("/api/v1/query?query=vector(1)&time=1").status, 200);
}

#[test]
fn paths_that_climb_are_not_found() {
    let server = Server::start(&[]);
    for path in ["/api/../../etc/passwd", "/%252e%252e%252f", "/api/v1/%2e%2e/x", "/api/v1/%00"] {
        let answer = request("GET", &format!("{}{path}", server.url), &[], Vec::new());
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
}
