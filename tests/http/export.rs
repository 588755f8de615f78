//! `icecore export`, and what it writes imported again.

use std::path::Path;
use std::process::Output;

use crate::common::proto::{Message, V2, histogram, v2_sample};
use crate::common::{Server, icecore, now_ms};

const DAY: i64 = 86_400_000;

fn export(server: &Server, arguments: &[&str]) -> (String, String) {
    let output = icecore().args(["export", "--url", &server.url]).args(arguments).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{said}");
    (String::from_utf8(stdout).unwrap(), said)
}

fn import(server: &Server, path: &Path) {
    let output = icecore().args(["import", "--url", &server.url]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Three days of all there is: odd floats, a stale marker, native histograms, metadata, names of any characters.
fn fill(server: &Server, start: i64) {
    let mut body = V2::new();
    let (help, unit) = (body.symbol("How \"much\"\nof it."), body.symbol("seconds"));
    let about = |kind: u64| Message::new().varint(1, kind).varint(3, help).varint(4, unit);
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let odd = [1.0, f64::NAN, f64::INFINITY, -0.0, 5e-324, 1e300, stale, 0.1];
    let times = || (0..300i64).map(|i| (i as usize, start + i * 900_000 + i % 3));
    body.series(&[("__name__", "took_seconds_total"), ("path", "a\\b\"c\nd")], |series| {
        times().fold(series.message(5, about(1)), |series, (i, time)| {
            series.message(2, v2_sample(time, i as f64))
        })
    });
    body.series(&[("__name__", "odd"), ("Zone", "1")], |series| {
        times().fold(series.message(5, about(2)), |series, (i, time)| {
            series.message(2, v2_sample(time, odd[i % odd.len()]))
        })
    });
    body.series(&[("__name__", "my.metric"), ("a b", "é")], |series| {
        series.message(2, v2_sample(start, 7.0))
    });
    for name in ["size_bucket", "size_count", "size_sum"] {
        let labels: &[(&str, &str)] =
            if name == "size_bucket" { &[("__name__", name), ("le", "+Inf")] } else { &[("__name__", name)] };
        body.series(labels, |series| series.message(5, about(3)).message(2, v2_sample(start, 3.0)));
    }
    body.series(&[("__name__", "size_check")], |series| series.message(2, v2_sample(start, 3.0)));
    body.series(&[("__name__", "latency")], |series| {
        times().fold(series, |series, (i, time)| series.message(3, histogram(time, i as u64, i as u64 / 2)))
    });
    let answer = server.write_v2(&body.body());
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[test]
fn an_export_imported_elsewhere_is_exported_the_same_again() {
    let start = now_ms() - 4 * DAY;
    let (first, dir) = (Server::start(&[]), tempfile::tempdir().unwrap());
    fill(&first, start);
    for format in ["openmetrics", "jsonl"] {
        let path = dir.path().join(format);
        let (nothing, said) = export(&first, &["--format", format, "-o", path.to_str().unwrap()]);
        assert!(nothing.is_empty());
        let has_losses = said.contains("300 native histograms were left out")
            && said.contains("37 stale markers were left out");
        assert_eq!(has_losses, format == "openmetrics", "{said}");
        let second = Server::start(&[]);
        import(&second, &path);
        let (again, _) = export(&second, &["--format", format]);
        assert_eq!(again, std::fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn openmetrics_has_families_together_with_what_is_known_of_them() {
    let server = Server::start(&[]);
    let start = now_ms() / 1_000 * 1_000 - 4 * DAY;
    fill(&server, start);
    let (text, _) = export(&server, &["--match", "size_sum", "--match", "{__name__=~\"size_.*|my.metric\"}"]);
    let seconds = start / 1_000;
    let about = "HELP size How \\\"much\\\"\\nof it.";
    let expected = format!(
        "# TYPE \"my.metric\" unknown\n{{\"my.metric\",\"a b\"=\"é\"}} 7 {seconds}\n\
         # TYPE size histogram\n# {about}\n\
         size_sum 3 {seconds}\nsize_bucket{{le=\"+Inf\"}} 3 {seconds}\nsize_count 3 {seconds}\n\
         # TYPE size_check unknown\nsize_check 3 {seconds}\n# EOF\n"
    );
    assert_eq!(text, expected);
    let (text, _) = export(&server, &["--match", "took_seconds_total", "--end", &seconds.to_string()]);
    let unit = "# TYPE took_seconds counter\n# UNIT took_seconds seconds\n# HELP took_seconds How";
    assert!(text.starts_with(unit), "{text}");
    assert!(
        text.ends_with(&format!("took_seconds_total{{path=\"a\\\\b\\\"c\\nd\"}} 0 {seconds}\n# EOF\n")),
        "{text}"
    );
}

#[test]
fn json_lines_come_day_by_day() {
    let server = Server::start(&[]);
    let start = (now_ms() / DAY - 4) * DAY;
    fill(&server, start);
    let (text, said) = export(&server, &["--match", "took_seconds_total", "--format", "jsonl", "--quiet"]);
    assert!(said.is_empty());
    // The first sample, on midnight, closes a day; then three days and a bit.
    let counts: Vec<usize> =
        text.lines().map(|line| line.split_once("timestamps").unwrap().1.matches(',').count() + 1).collect();
    assert_eq!((counts.len(), counts.iter().sum::<usize>(), counts[0]), (5, 300, 1), "{counts:?}");
    assert!(
        text.starts_with(r#"{"metric":{"__name__":"took_seconds_total","path":"a\\b\"c\nd"},"values":[0],"#),
        "{text}"
    );
}

#[test]
fn a_read_that_is_more_than_the_server_gives_is_asked_for_in_parts() {
    let server = Server::start(&["--query.max-samples", "100"]);
    fill(&server, now_ms() - 4 * DAY);
    let (text, _) = export(&server, &["--match", "took_seconds_total"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("took")).count(), 300);
}

#[test]
fn what_cannot_be_exported_is_told() {
    let server = Server::start(&[]);
    let fail = |arguments: &[&str]| {
        let output = icecore().args(["export", "--url", &server.url]).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fail(&["--match", "rate(a[5m])"]).contains("rate(a[5m]) is no selector"));
    assert!(fail(&["--match", "{"]).contains("parse error"));
    assert!(fail(&["--start", "yesterday"]).contains("yesterday is no time"));
    assert!(fail(&["-o", "/no/such/dir/file"]).contains("/no/such/dir/file: cannot write"));
    let (text, _) = export(&server, &[]);
    assert_eq!(text, "# EOF\n");
}
