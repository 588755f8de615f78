//! A real Prometheus and Icecore with the same samples, asked the same.

use std::path::{Path, PathBuf};

use super::answers::{self, Asked, Labels, When};
use super::programs::{Program, free_port};
use super::recorded::Series;
use crate::common::proto::{Message, V1_HEADERS, snappy, v1_request, v1_series};
use crate::common::{Server, request};

const WRITTEN_AT_ONCE_MS: i64 = 20 * 60_000;

pub struct SideBySide {
    /// Where Prometheus answers.
    pub reference: String,
    pub icecore: Server,
    _prometheus: Program,
    _dir: tempfile::TempDir,
}

impl SideBySide {
    /// Both start empty; `arguments` are Icecore's.
    pub fn start(prometheus: PathBuf, arguments: &[&str]) -> SideBySide {
        let dir = tempfile::tempdir().unwrap();
        let (program, reference) = start_prometheus(prometheus, dir.path());
        let icecore = Server::start(arguments);
        SideBySide { reference, icecore, _prometheus: program, _dir: dir }
    }

    /// By remote write, in the order of time, because Prometheus refuses what is an hour behind its newest sample.
    pub fn write(&self, series: &Series) {
        let times = || series.values().flatten().map(|(time_ms, _)| time_ms / WRITTEN_AT_ONCE_MS);
        for window in times().min().unwrap()..=times().max().unwrap() {
            let series: Vec<_> = series.iter().filter_map(|series| series_within(series, window)).collect();
            for chunk in series.chunks(100) {
                let body = snappy(&v1_request(chunk));
                for url in [&self.reference, &self.icecore.url] {
                    let answer = request("POST", &format!("{url}/api/v1/write"), &V1_HEADERS, body.clone());
                    assert_eq!(answer.status, 204, "{url}: {}", answer.body);
                }
            }
        }
    }

    /// What Prometheus says, and what Icecore says.
    pub fn ask(&self, expr: &str, when: When) -> (Asked, Asked) {
        (answers::ask(&self.reference, expr, when), answers::ask(&self.icecore.url, expr, when))
    }
}

fn start_prometheus(path: PathBuf, dir: &Path) -> (Program, String) {
    std::fs::write(dir.join("prometheus.yml"), "global: {}\n").unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address={}", url.trim_start_matches("http://")),
        "--web.enable-remote-write-receiver".to_owned(),
    ];
    let mut program = Program::start(&path, &arguments, dir.join("log"));
    program.ready(&format!("{url}/-/ready"));
    (program, url)
}

fn series_within((labels, samples): (&Labels, &Vec<(i64, f64)>), window: i64) -> Option<Message> {
    let samples: Vec<(i64, f64)> =
        samples.iter().copied().filter(|(time_ms, _)| time_ms / WRITTEN_AT_ONCE_MS == window).collect();
    let pairs: Vec<(&str, &str)> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (!samples.is_empty()).then(|| v1_series(&pairs, &samples))
}
