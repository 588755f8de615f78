//! `icecore import`: history from files to a running server.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::common::proto::{self, V1_HEADERS};
use crate::common::{Server, icecore, now_ms};

const DAY: i64 = 86_400_000;

fn import(server: &Server, arguments: &[&str]) -> Command {
    let mut command = icecore();
    command.args(["import", "--url", &server.url]).args(arguments).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_backfill_may_be_as_old_as_any_tier_and_no_older() {
    let server = Server::start(&["--tiers", "raw:10d,1m:30d"]);
    let write = |path: &str, age: i64| {
        let body = proto::v1(&[("__name__", "old")], &[(now_ms() - age, 1.0)]);
        server.post(path, &V1_HEADERS, proto::snappy(&body))
    };
    for (path, days) in
        [("/api/v1/write", 10), ("/api/v1/write?backfill=0", 10), ("/api/v1/write?backfill=1", 30)]
    {
        assert_eq!(write(path, (days - 1) * DAY).status, 204, "{path}");
        let refused = write(path, (days + 1) * DAY);
        assert_eq!(refused.status, 400, "{path}");
        let reason = format!("is {} days behind (limit {days}d)", days + 1);
        assert!(refused.body.contains(&reason), "{}", refused.body);
    }
    let refused = write("/api/v1/write?backfill=maybe", 0);
    assert!(refused.status == 400 && refused.body.contains("neither 1 nor 0"), "{}", refused.body);
}

#[test]
fn openmetrics_is_imported_and_found_where_it_belongs() {
    let server = Server::start(&["--tiers", "raw:100d"]);
    let dir = tempfile::tempdir().unwrap();
    let then = (now_ms() / 1_000 - 50 * 86_400) * 1_000;
    let seconds = then / 1_000;
    let text = format!(
        "# TYPE shop_orders counter\n# HELP shop_orders Taken.\n\
         shop_orders_total{{city=\"Bern\"}} 5 {seconds}.125 # {{trace_id=\"ab\"}} 1 {seconds}\n\
         shop_orders_total{{city=\"Bern\"}} NaN {}\n# TYPE shop_open gauge\nshop_open 1 {seconds}\n# EOF\n",
        seconds + 60
    );
    let path = dir.path().join("history.om");
    std::fs::write(&path, &text).unwrap();
    let (is_good, told, said) = run(import(&server, &[path.to_str().unwrap()]));
    assert!(is_good && said.is_empty(), "{told}{said}");
    assert!(told.starts_with("3 samples of 2 series from "), "{told}");

    let body = server.query("shop_orders_total[2m]", then + 61_000);
    let expected = format!(r#""values":[[{seconds}.125,"5"],[{},"NaN"]]"#, seconds + 60);
    assert!(body.contains(&expected), "{body}");
    let metadata = server.get("/api/v1/metadata?metric=shop_orders_total").body;
    assert!(metadata.contains(r#""type":"counter","help":"Taken.""#), "{metadata}");
    let exemplars = format!("/api/v1/query_exemplars?query=shop_orders_total&start={seconds}&end={seconds}");
    assert!(server.get(&exemplars).body.contains(r#""trace_id":"ab""#));

    // Once more, from a pipe and gzipped: the same samples change nothing.
    let mut command = import(&server, &["-", "--format", "openmetrics"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut zipped = flate2::write::GzEncoder::new(child.stdin.take().unwrap(), flate2::Compression::fast());
    zipped.write_all(text.as_bytes()).unwrap();
    drop(zipped.finish().unwrap());
    assert!(child.wait().unwrap().success());
    assert!(server.query("shop_orders_total[2m]", then + 61_000).contains(&expected));
}

#[test]
fn prometheus_text_is_told_by_its_milliseconds() {
    let server = Server::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.txt");
    let now = now_ms();
    std::fs::write(&path, format!("# TYPE up untyped\nup{{job=\"a\"}} 1 {now}\n")).unwrap();
    let (is_good, told, said) = run(import(&server, &[path.to_str().unwrap()]));
    assert!(is_good && told.starts_with("1 samples of 1 series"), "{told}{said}");
    assert!(said.contains("read as prometheus, timestamps in milliseconds (--format)"), "{said}");
    assert!(server.query("up", now).contains(r#""1"]"#));
}

#[test]
fn what_the_server_refuses_is_told_with_its_place_and_the_rest_is_kept() {
    let server = Server::start(&["--tiers", "raw:10d"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mixed.om");
    let seconds = now_ms() / 1_000;
    std::fs::write(&path, format!("kept 1 {seconds}\nlost 1 {}\n# EOF\n", seconds - 20 * 86_400)).unwrap();
    let (is_good, told, said) = run(import(&server, &[path.to_str().unwrap()]));
    assert!(
        !is_good && told.starts_with("1 samples of 2 series") && told.ends_with(", 1 refused\n"),
        "{told}"
    );
    for part in ["mixed.om, lines 1 to 3: ", "is 20 days behind (limit 10d)", "1 of 2 samples were refused"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(server.query("kept", seconds * 1_000).contains(r#""1"]"#));
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place_and_what_stands_before_it_is_kept() {
    let server = Server::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torn.om");
    let seconds = now_ms() / 1_000;
    std::fs::write(&path, format!("kept 1 {seconds}\nkept{{a=\"b\n")).unwrap();
    let (is_good, told, said) = run(import(&server, &[path.to_str().unwrap()]));
    assert!(!is_good && told.starts_with("1 samples of 1 series"), "{told}");
    assert!(said.contains("torn.om: line 2, column 5: braces without an end"), "{said}");
    assert!(server.query("kept", seconds * 1_000).contains(r#""1"]"#));

    let (is_good, told, said) = run(import(&server, &[path.to_str().unwrap(), "/no/such/file"]));
    assert!(!is_good && told.is_empty() && said.contains("/no/such/file: cannot read"), "{told}{said}");
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.om");
    std::fs::write(&path, "a 1 1700000000\n# EOF\n").unwrap();
    let mut command = icecore();
    command.args(["import", "--url", "http://127.0.0.1:1", path.to_str().unwrap()]);
    let (is_good, _, said) = run(command);
    assert!(!is_good && said.contains("cannot reach http://127.0.0.1:1"), "{said}");
}
