//! Start, stop, and the one clear line where a start is impossible.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Server, icecore, now_ms, proto};

/// The exit code and stderr of a server that cannot start. One that can is ended, and fails the test.
fn fails(args: &[&str]) -> (Option<i32>, String) {
    let mut command = icecore();
    command.args(["--otlp-grpc", "off", "--otlp-http", "off"]).args(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A server that starts says so; one that does not says nothing on stdout, and ends.
    if child.stdout.as_mut().unwrap().read(&mut [0u8; 1]).unwrap() > 0 {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_prevents_a_start_is_one_line_and_exit_code_two() {
    let server = Server::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.toml");
    std::fs::write(&config, "[wal]\nsink = 'group'\n").unwrap();
    let locked = server.data_dir.to_str().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let fresh_dir = parent.path().join("fresh");
    let fresh = fresh_dir.to_str().unwrap();
    let other_dir = parent.path().join("other");
    let other = other_dir.to_str().unwrap();
    for (args, part) in [
        (&["--data-dir", fresh, "--listen", server.address()][..], "cannot listen on 127.0.0.1:"),
        (&["--data-dir", locked, "--listen", "127.0.0.1:0"], "used by another process"),
        (
            &["--data-dir", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"],
            "not a data directory of Icecore",
        ),
        (&["--no-such-option"], "--no-such-option"),
        (&["--wal.sync", "maybe"], "--wal.sync: wal.sync is \"maybe\": expected group, interval or off"),
        (&["--listen", "0.0.0.0:0"], "--insecure-no-auth"),
        (
            &["--data-dir", other, "--listen", "127.0.0.1:0", "--query.log-file", "/no/such/place"],
            "cannot write the query log /no/such/place (--query.log-file): ",
        ),
        (&["--config", config.to_str().unwrap()], "bad.toml:2: unknown key \"wal.sink\""),
    ] {
        let (code, stderr) = fails(args);
        assert!(stderr.contains(part) && stderr.lines().count() == 1, "{args:?}: {stderr}");
        assert_eq!(code, Some(2), "{args:?}");
    }
    assert!(!fresh_dir.exists(), "a taken port creates no data directory");
}

#[test]
fn options_come_from_flags_then_the_environment_then_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    std::fs::write(&config, "shards = 1\n[query]\ntimeout = '1s'\nlookback-delta = '1m'\n").unwrap();
    let output = icecore()
        .args(["check", "config", "--query.timeout", "3s", "--config"])
        .arg(&config)
        .env("ICECORE_QUERY_TIMEOUT", "2s")
        .env("ICECORE_QUERY_LOOKBACK_DELTA", "2m")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in
        ["query.timeout = 3s", "query.lookback-delta = 2m", "shards = 1", "query.max-samples = 50000000"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

#[test]
fn a_signal_ends_the_server_in_order_and_what_is_in_flight_is_answered() {
    let mut server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let body = proto::snappy(&proto::v1(&[("__name__", "last")], &[(now_ms(), 1.0)]));
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-encoding: snappy\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let started = Instant::now();
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_a_crash_and_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let now = now_ms();
    let write = |server: &Server, name: &str| {
        assert_eq!(server.write(&proto::v1(&[("__name__", name)], &[(now, 1.0)])).status, 204);
    };
    let mut server = Server::start_in(dir.path(), &[]);
    write(&server, "before_the_stop");
    assert_eq!(server.stop().code(), Some(0));

    let mut server = Server::start_in(dir.path(), &[]);
    assert!(
        server.get("/metrics").body.contains("icecore_wal_replayed_frames_total 0"),
        "nothing is left to replay"
    );
    write(&server, "before_the_crash");
    server.kill();

    let server = Server::start_in(dir.path(), &[]);
    write(&server, "before_the_flush");
    for task in ["flush", "compact"] {
        let answer = server.post(&format!("/api/v1/admin/{task}"), &[], "");
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{task}");
    }
    assert_eq!(server.get("/api/v1/admin/flush").status, 405);
    write(&server, "after_the_flush");
    let names = server.get("/api/v1/label/__name__/values").body;
    assert_eq!(
        names,
        r#"{"status":"success","data":["after_the_flush","before_the_crash","before_the_flush","before_the_stop"]}"#
    );
    let tsdb = server.get("/api/v1/status/tsdb?limit=1").body;
    assert!(tsdb.contains(r#""seriesCountByMetricName":[{"name":""#), "{tsdb}");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    server.signal("INT");
    std::thread::sleep(Duration::from_millis(100));
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_server_tells_about_itself_and_stores_it() {
    let server = Server::start(&["--self-scrape", "on", "--self-scrape-interval", "100ms"]);
    assert_eq!(server.get("/-/healthy").status, 200);
    assert_eq!(server.get("/-/ready").status, 200);
    let metrics = server.get("/metrics").body;
    for part in
        ["process_resident_memory_bytes ", "icecore_build_info{version=", "icecore_http_requests_total{"]
    {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let instance = format!(r#""instance":"{}","job":"icecore""#, server.address());
    // A query may see the samples of a scrape before they are durable, and the scrape is told of only then.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (up, targets) = (server.query("up", now_ms()), server.get("/api/v1/targets").body);
        let is_stored = up.contains(&instance) && up.contains(r#""1"]"#);
        if is_stored && targets.contains(r#""health":"up""#) && !targets.contains("0001-01-01") {
            break;
        }
        assert!(Instant::now() < deadline, "{up} {targets}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_scrape_of_itself_that_the_store_refuses_is_told_as_down() {
    let server = Server::start(&[
        "--self-scrape",
        "on",
        "--self-scrape-interval",
        "100ms",
        "--limits.max-series",
        "1",
    ]);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let targets = server.get("/api/v1/targets").body;
        if targets.contains(r#""health":"down""#) {
            assert!(!targets.contains(r#""lastError":"""#), "{targets}");
            break;
        }
        assert!(Instant::now() < deadline, "{targets}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_command_line_asks_a_server() {
    let server = Server::start(&[]);
    let now = now_ms();
    let labels = [("__name__", "temperature"), ("room", "a\u{1b}[31m")];
    assert_eq!(server.write(&proto::v1(&labels, &[(now - 60_000, 20.0), (now, 21.5)])).status, 204);
    let run = |args: &[&str]| {
        let output = icecore().arg("query").args(args).args(["--url", &server.url]).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, table, _) = run(&["temperature"]);
    assert_eq!((code, table.as_str()), (Some(0), "temperature{room=\"a\\u{1b}[31m\"}  21.5\n"));
    let (_, json, _) = run(&["temperature * 2", "--json"]);
    assert!(json.contains(r#""resultType":"vector""#) && json.contains(r#""43"]"#), "{json}");
    let (_, plot, _) = run(&["temperature", "--plot", "--start", "-5m", "--step", "10s"]);
    assert!(plot.contains("21.500 |") && plot.contains("* temperature"), "{plot}");
    let (code, _, error) = run(&["sum("]);
    assert!(code == Some(1) && error.contains("parse error") && error.lines().count() == 1, "{error}");
}

#[test]
fn tiers_are_shown_over_http_and_by_the_command() {
    let server = Server::start(&["--tiers", "raw:3d,1m:30d", "--self-scrape", "off"]);
    let old = now_ms() - 2 * 86_400_000;
    let samples: Vec<_> = (0..120).map(|k| (old + k * 1000, k as f64)).collect();
    assert_eq!(server.write(&proto::v1(&[("__name__", "m")], &samples)).status, 204);
    for task in ["flush", "compact"] {
        assert_eq!(server.post(&format!("/api/v1/admin/{task}"), &[], "").status, 204);
    }
    let answer: serde_json::Value = serde_json::from_str(&server.get("/api/v1/status/tiers").body).unwrap();
    let tier = |at: usize, key: &str| answer["data"]["tiers"][at][key].clone();
    assert_eq!(
        (tier(0, "resolution"), tier(0, "rows"), tier(0, "kept")),
        ("raw".into(), 120.into(), "3d".into())
    );
    assert_eq!(
        (tier(1, "tier"), tier(1, "resolution"), tier(1, "kept")),
        ("warm".into(), "1m".into(), "30d".into())
    );
    assert!(tier(1, "rows").as_u64().unwrap() >= 2, "{answer}");
    assert_eq!(answer["data"]["backlog"]["days"], 0);
    let output = icecore().args(["status", "--url", &server.url]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("metrics  warm  1m          30d"), "{shown}");
    assert!(shown.ends_with("all days that are over are rolled up\n"), "{shown}");
}
