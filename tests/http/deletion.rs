//! Deleting series, as Prometheus has it, and rules of retention.

use crate::common::{Server, icecore, now_ms, proto, request};

const ALLOWED: [&str; 3] = ["--web.enable-admin-api", "--self-scrape", "off"];

fn write(server: &Server, instance: &str, samples: &[(i64, f64)]) {
    let message = proto::v1(&[("__name__", "up"), ("instance", instance)], samples);
    assert_eq!(server.write(&message).status, 204);
}

fn delete(server: &Server, form: &str) {
    let answer = server.post_form("/api/v1/admin/tsdb/delete_series", form);
    assert_eq!((answer.status, answer.body), (204, String::new()), "{form}");
}

/// How many samples there are of each instance, as `a:3 b:1`.
fn counts(server: &Server, at: i64) -> String {
    let body = server.query("sort_by_label(count_over_time(up[1h]), \"instance\")", at);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let series = answer["data"]["result"].as_array().unwrap().iter();
    let counts = series.map(|s| format!("{}:{}", s["metric"]["instance"], s["value"][1]).replace('"', ""));
    counts.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_deleted_stays_so_and_what_is_sent_again_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&ALLOWED[..], &["--enable-feature", "promql-experimental-functions"]].concat();
    let mut server = Server::start_in(dir.path(), &args);
    let now = now_ms();
    let samples: Vec<_> = (0..10).map(|k| (now - 100_000 + k * 10_000, 1.0)).collect();
    for instance in ["a", "b", "c"] {
        write(&server, instance, &samples);
    }
    assert_eq!(counts(&server, now), "a:10 b:10 c:10");
    delete(&server, "match[]=up{instance=\"a\"}&match[]=nothing");
    assert_eq!(counts(&server, now), "b:10 c:10");
    let (start, end) = ((now - 80_000) as f64 / 1e3, (now - 50_000) as f64 / 1e3);
    delete(&server, &format!("match[]=up{{instance=~\"a|b\"}}&start={start:.3}&end={end:.3}"));
    assert_eq!(counts(&server, now), "b:6 c:10");
    assert!(!server.get("/api/v1/series?match[]=up").body.contains("\"a\""));

    // Rows after the deletion, and a power cut before anything of them is sealed.
    write(&server, "a", &samples[..2]);
    server.kill();
    let server = Server::start_in(dir.path(), &args);
    assert_eq!(counts(&server, now), "a:2 b:6 c:10");
    let status = server.get("/api/v1/status/tiers").body;
    assert!(
        status.contains(r#""match":"{__name__=\"up\",instance=\"a\"} or {__name__=\"nothing\"}""#),
        "{status}"
    );
    for task in ["flush", "compact", "tsdb/clean_tombstones"] {
        assert_eq!(server.post(&format!("/api/v1/admin/{task}"), &[], "").status, 204);
        assert_eq!(counts(&server, now), "a:2 b:6 c:10", "{task}");
    }
    assert!(server.get("/api/v1/status/tiers").body.contains(r#""tombstones":[]"#));
    assert!(server.get("/metrics").body.contains("icecore_storage_tombstones 0"));
}

#[test]
fn a_deletion_that_makes_no_sense_is_refused() {
    let server = Server::start(&ALLOWED);
    let path = "/api/v1/admin/tsdb/delete_series";
    for (form, reason) in [
        ("", "no match[] parameter provided"),
        ("match[]=up{", "invalid parameter \\\"match[]\\\": "),
        ("match[]={}", "match[] must contain at least one non-empty matcher"),
        ("match[]=up&start=soon", "cannot parse \\\"soon\\\" to a valid timestamp"),
        ("match[]=up&start=2&end=1", "end timestamp must not be before start time"),
    ] {
        let answer = server.post_form(path, form);
        assert!(answer.status == 400 && answer.body.contains(reason), "{form}: {}", answer.body);
    }
    assert_eq!(server.get(path).status, 405);
    let put = request("PUT", &format!("{}{path}?match[]=up", server.url), &[], Vec::new());
    assert_eq!(put.status, 204);
    assert!(server.get("/api/v1/features").body.contains(r#""admin":true"#));
    let snapshot = server.post("/api/v1/admin/tsdb/snapshot", &[], "").body;
    assert!(snapshot.contains("snapshots disabled"), "{snapshot}");
}

#[test]
fn a_series_that_a_rule_keeps_for_less_goes_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["--self-scrape", "off", "--tiers", "raw:10d", "--enable-feature", "promql-experimental-functions"];
    let rules = [&args[..], &["--retention.rules", r#"up{instance="a"}:2d"#]].concat();
    let (now, old) = (now_ms(), now_ms() - 4 * 86_400_000);
    let mut server = Server::start_in(dir.path(), &rules);
    for instance in ["a", "b"] {
        write(&server, instance, &[(old, 1.0), (now, 1.0)]);
    }
    assert_eq!(server.stop().code(), Some(0));
    let server = Server::start_in(dir.path(), &rules);
    assert_eq!(counts(&server, old + 1000), "b:1");
    assert_eq!(counts(&server, now), "a:1 b:1");
}

#[test]
fn a_rule_without_a_selector_keeps_the_server_from_starting() {
    for (rule, reason) in [
        ("{env=}:7d", "retention.rules: {env=}: 1:6: parse error"),
        ("{env=\"dev\"}", "expected rules as SELECTOR:AGE"),
    ] {
        let output = icecore().args(["check", "config", "--retention.rules", rule]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
