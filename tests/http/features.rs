//! Feature flags: each switches what it names, and nothing is switched on that Prometheus 3.14 has off.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::common::proto::{V2, v2_sample};
use crate::common::{Server, icecore, now_ms};

/// A server with a counter of two samples, and one of a single sample that says since when it counts.
fn server_with(features: &str, now: i64) -> Server {
    let server = Server::start(&["--enable-feature", features]);
    let mut body = V2::new();
    body.series(&[("__name__", "requests_total")], |series| {
        series.message(2, v2_sample(now - 60_000, 1.0)).message(2, v2_sample(now - 30_000, 7.0))
    });
    body.series(&[("__name__", "fresh_total")], |series| {
        series.message(2, v2_sample(now - 30_000, 7.0)).int(6, now - 60_000)
    });
    assert_eq!(server.write_v2(&body.body()).status, 204);
    server
}

#[test]
fn each_flag_switches_what_it_names_and_without_it_that_is_off() {
    let now = now_ms();
    let flags = [
        (
            "promql-experimental-functions",
            "limitk(1, requests_total)",
            "limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            r#"{"__name__":"requests_total"}"#,
        ),
        (
            "promql-extended-range-selectors",
            "increase(requests_total[45s] anchored)",
            "anchored modifier is experimental and not enabled",
            r#""6""#,
        ),
        (
            "promql-binop-fill-modifiers",
            "requests_total + fill(1) fresh_total",
            "binop fill modifiers are experimental and not enabled",
            r#""14""#,
        ),
        (
            "promql-delayed-name-removal",
            r#"label_replace(requests_total * 2, "n", "$1", "__name__", "(.+)")"#,
            r#"{"metric":{},"#,
            r#"{"metric":{"n":"requests_total"},"#,
        ),
        ("use-start-timestamps", "increase(fresh_total[5m])", r#""result":[]"#, r#"{"metric":{},"#),
    ];
    for (flag, ..) in flags {
        let server = server_with(flag, now);
        for (other, expr, off, on) in flags {
            let part = if other == flag { on } else { off };
            let answer = server.query(expr, now);
            assert!(answer.contains(part), "--enable-feature={flag}: {expr}: {answer}");
        }
    }
}

#[test]
fn flags_add_up_and_the_environment_and_the_file_know_them_too() {
    let shown = |args: &[&str], environment: Option<&str>| {
        let mut command = icecore();
        command.args(["check", "config"]).args(args);
        environment.map(|value| command.env("ICECORE_ENABLE_FEATURE", value));
        let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
        shown.lines().find_map(|line| line.strip_prefix("enable-feature = ")).unwrap().to_owned()
    };
    assert_eq!(shown(&[], None), "");
    assert_eq!(shown(&["--enable-feature=a,b", "--enable-feature=c"], Some("d")), "a,b,c");
    assert_eq!(shown(&[], Some("d,e")), "d,e");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    std::fs::write(&config, "enable-feature = ['f', 'g']\n").unwrap();
    assert_eq!(shown(&["--config", config.to_str().unwrap()], None), "f,g");
}

#[test]
fn a_flag_that_does_nothing_is_told_in_the_log_and_the_server_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = icecore()
        .args(["--listen", "127.0.0.1:0", "--otlp-grpc", "off", "--otlp-http", "off", "--data-dir"])
        .arg(dir.path())
        .args(["--enable-feature=old-ui,promql-duration-expr", "--enable-feature=no-such-thing"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("next:")), "the server starts");
    child.kill().unwrap();
    let log = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    for (option, part) in [
        ("old-ui", "no effect here"),
        ("promql-duration-expr", "a no-op"),
        ("no-such-thing", "Unknown option for --enable-feature"),
    ] {
        assert!(log.lines().any(|line| line.contains(option) && line.contains(part)), "{option}: {log}");
    }
}
