//! Blocks that a real Prometheus or promtool wrote, imported: what is read back is what they held, to the bit.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::programs::{Program, free_port, installed};
use crate::common::proto::{Message, V1_HEADERS, histogram, snappy, v1_request, v1_series};
use crate::common::remote_read::{RE, Series, query, read, samples};
use crate::common::{Server, icecore, now_ms, request};

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// Debian's Prometheus takes what is at most an hour behind.
const STEP_MS: i64 = 10_000;
const SCRAPES: i64 = 250;

fn import(server: &Server, path: &Path) -> String {
    let output = icecore().args(["import", "--url", &server.url]).arg(path).output().unwrap();
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{said}");
    told.into_owned()
}

fn everything(url: &str, range: (i64, i64)) -> Vec<Series> {
    let answer = read(url, &[query(&[(RE, "__name__", ".+")], range)], &[]);
    samples(&answer).remove(0)
}

/// Floats of all kinds, a series that ends, and native histograms.
fn series(start: i64) -> Vec<Message> {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        -0.0,
        5e-324,
        f64::from_bits(STALE_NAN),
        f64::from_bits(0x7ff8_dead_beef_0001),
    ];
    let times = || (0..SCRAPES).map(|i| (i, start + i * STEP_MS + i % 3));
    let odd: Vec<_> = times().map(|(i, time)| (time, odd[i as usize % odd.len()])).collect();
    let counter: Vec<_> = times().map(|(i, time)| (time, i as f64 * 0.1)).collect();
    let name = Message::new().message(1, Message::new().bytes(1, b"__name__").bytes(2, b"latency"));
    let histograms = times().fold(name, |series, (i, time)| {
        series.message(4, histogram(time, 2 * i as u64 + i as u64 % 3, i as u64 / 4))
    });
    vec![
        v1_series(&[("__name__", "odd"), ("job", "é\"")], &odd),
        v1_series(&[("__name__", "requests_total")], &counter),
        histograms,
    ]
}

/// Where a Prometheus puts a snapshot of its head, which holds these series.
fn snapshot(prometheus: &Path, dir: &Path, series: &[Message]) -> PathBuf {
    let config = dir.join("empty.yml");
    std::fs::write(&config, "{}").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
        "--web.enable-admin-api".to_owned(),
        "--enable-feature=native-histograms".to_owned(),
    ];
    let mut program = Program::start(prometheus, &arguments, dir.join("prometheus.log"));
    let url = format!("http://{address}");
    program.ready(&format!("{url}/-/ready"));
    let post =
        |path: &str, headers: &[(&str, &str)], body| request("POST", &format!("{url}{path}"), headers, body);
    assert_eq!(post("/api/v1/write", &V1_HEADERS, snappy(&v1_request(series))).status, 204);
    let answer = post("/api/v1/admin/tsdb/snapshot", &[], Vec::new());
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let name = answer["data"]["name"].as_str().unwrap_or_else(|| panic!("{answer}"));
    dir.join("data/snapshots").join(name)
}

#[test]
fn a_snapshot_of_prometheus_is_imported_as_if_it_had_been_written_here() {
    let Some(prometheus) = installed("prometheus") else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = now_ms() - SCRAPES * STEP_MS;
    let range = (start, start + (SCRAPES + 1) * STEP_MS);
    let blocks = snapshot(&prometheus, dir.path(), &series(start));
    let (written, imported) = (Server::start(&[]), Server::start(&[]));
    assert_eq!(written.write(&v1_request(&series(start))).status, 204);
    let told = import(&imported, &blocks);
    assert!(told.starts_with(&format!("{} samples of 3 series", 3 * SCRAPES)), "{told}");
    let expected = everything(&written.url, range);
    assert!(expected.len() == 3 && expected.iter().any(|series| series.histograms.len() == SCRAPES as usize));
    assert_eq!(everything(&imported.url, range), expected);
}

/// A line of `promtool tsdb dump`: labels, value, milliseconds.
fn dumped(promtool: &Path, directory: &Path) -> Vec<String> {
    let output = Command::new(promtool).args(["tsdb", "dump"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What a server has, as `promtool tsdb dump` tells it.
fn as_dumped(series: &[Series]) -> Vec<String> {
    let mut lines = Vec::new();
    for series in series {
        let labels: Vec<_> =
            series.labels.iter().map(|(name, value)| format!("{name}={}", json!(value))).collect();
        for (time, bits) in &series.floats {
            let value = match f64::from_bits(*bits) {
                value if value.is_nan() => "NaN".to_owned(),
                value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
                value => format!("{value}"),
            };
            lines.push(format!("{{{}}} {value} {time}", labels.join(", ")));
        }
    }
    lines.sort();
    lines
}

#[test]
fn blocks_of_promtool_are_imported_as_promtool_dumps_them() {
    let Some(promtool) = installed("promtool") else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = now_ms() / 1_000 - 40 * 86_400;
    let mut text = String::from("# TYPE orders counter\n# TYPE temperature gauge\n");
    // Nine days, which are several blocks.
    for i in 0..1_300 {
        let time = start + i * 600;
        text += &format!("orders_total{{city=\"Bern\",code=\"{}\"}} {i} {time}\n", i % 3);
        let value = ["NaN", "+Inf", "-Inf", "0.25", "-0.1"][i as usize % 5];
        text += &format!("temperature {value} {time}.{:03}\n", i % 8 * 125);
    }
    text += "# EOF\n";
    let (file, blocks) = (dir.path().join("history.om"), dir.path().join("blocks"));
    std::fs::write(&file, text).unwrap();
    let create = ["tsdb", "create-blocks-from", "openmetrics"];
    let output = Command::new(&promtool).args(create).args([&file, &blocks]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // It wants to see a log, too.
    std::fs::create_dir(blocks.join("wal")).unwrap();
    let expected = dumped(&promtool, &blocks);
    assert_eq!(expected.len(), 2_600);
    // The blocks, and the text they were made of.
    for source in [&blocks, &file] {
        let server = Server::start(&["--tiers", "raw:100d"]);
        import(&server, source);
        let found = everything(&server.url, (0, now_ms()));
        assert_eq!(as_dumped(&found), expected, "{}", source.display());
    }
}
