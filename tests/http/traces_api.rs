//! Traces by all doors: the command line's, and what is asked of sealed ones.

use crate::common::{encode, icecore};
use crate::sent_traces::{CHECKOUT, hex, server_with_traces};

#[test]
fn the_command_line_draws_a_trace() {
    let (server, _, _) = server_with_traces();
    let run = |args: &[&str]| {
        let output = icecore().args(["query", "--url", &server.url, "--trace"]).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, drawn, _) = run(&[&hex(CHECKOUT, 16)]);
    let lines: Vec<&str> = drawn.lines().skip(2).collect();
    assert_eq!(code, Some(0));
    assert_eq!(
        lines,
        [
            "SERVICE AND SPAN                                 OFFSET  DURATION",
            "shop  POST /checkout                                  0   200.0ms |=================================",
            "  ! db  select                                   50.0ms   100.0ms |        xxxxxxxxxxxxxxxxx",
            "    dead<lock>",
        ],
        "{drawn}"
    );
    let (_, raw, _) = run(&[&hex(CHECKOUT, 16), "--json"]);
    assert!(raw.starts_with(r#"{"data":[{"traceID":"0a0a"#), "{raw}");
    assert_eq!(run(&["1f"]), (Some(1), String::new(), "icecore: trace not found\n".to_owned()));
    let (code, _, error) = run(&["../x"]);
    assert!(code == Some(2) && error.contains("../x is not the id of a trace"), "{error}");
}

#[test]
fn sealed_traces_give_the_same_answers() {
    let (server, base, _) = server_with_traces();
    let id = hex(CHECKOUT, 16);
    let window = format!("start={}&end={}", base / 1_000 - 60, base / 1_000 + 60);
    let paths = [
        format!("/api/v2/traces/{id}"),
        format!("/api/traces/{id}"),
        format!(
            "/api/search?q={}&{window}",
            encode("{ status = error } | select(event.exception.type, .tags)")
        ),
        format!("/api/search?q={}", encode("{ .http.status_code = 500 } >> { link:spanID != nil }")),
        format!("/api/search?q={}", encode("{ .ratio < 1 && .retried && resource.host.name =~ \"h.\" }")),
        format!("/api/v2/search/tags?{window}"),
        format!("/api/v2/search/tag/name/values?{window}"),
        "/api/v2/search/tag/span.http.status_code/values".to_owned(),
        "/api/services".to_owned(),
        "/api/services/shop/operations".to_owned(),
        format!("/api/traces?service=db&start={}&end={}", base * 1_000, (base + 60_000) * 1_000),
        "/api/dependencies".to_owned(),
    ];
    let ask = || paths.iter().map(|path| server.get(path).body).collect::<Vec<_>>();
    let before = ask();
    let is_empty = |body: &&String| {
        [r#"{"traces":[]"#, r#"{"tagValues":[]"#, r#"{"data":[]"#].iter().any(|e| body.starts_with(e))
    };
    assert_eq!(before.iter().find(is_empty), None);
    let flushed = server.post("/api/v1/admin/flush", &[], Vec::new());
    assert_eq!(flushed.status, 204, "{}", flushed.body);
    for ((path, before), after) in paths.iter().zip(before).zip(ask()) {
        assert_eq!(after, before, "{path}");
    }
}
