//! What tests of the real binary share: a server on ports of its own, an HTTP client, bodies built by hand.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod proto;
pub mod readback;
pub mod remote_read;
pub mod shared;

#[allow(unused_imports, reason = "each test program uses its own part")]
pub use shared::{shared, skipped};

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:…`, where everything is served.
    pub url: String,
    /// `127.0.0.1:…`, or `off`.
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub data_dir: PathBuf,
    _owned_dir: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts in a new data directory. What `args` say wins over what tests usually want.
    pub fn start(args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start_in(dir.path(), args);
        server._owned_dir = Some(dir);
        server
    }

    /// Starts in a data directory that outlives this server.
    pub fn start_in(data_dir: &Path, args: &[&str]) -> Server {
        let mut child = icecore()
            .args(with_defaults(args))
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut url, mut otlp_grpc, mut otlp_http) = (String::new(), String::new(), String::new());
        loop {
            let line = match lines.next() {
                Some(line) => line.unwrap(),
                None => panic!("the server did not start: {}", child.wait().unwrap()),
            };
            if let Some(found) = line.strip_prefix("listening on ") {
                url = found.to_owned();
            }
            if let Some((grpc, http)) = line.split_once(", OTLP/HTTP: ") {
                otlp_grpc = grpc.trim_start_matches("OTLP/gRPC: ").to_owned();
                otlp_http = http.to_owned();
            }
            if line.starts_with("next:") {
                break;
            }
        }
        Server { child, url, otlp_grpc, otlp_http, data_dir: data_dir.to_owned(), _owned_dir: None }
    }

    /// `127.0.0.1:…` of the main port.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a crash.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the wait for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        request("GET", &format!("{}{path}", self.url), &[], Vec::new())
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        request("POST", &format!("{}{path}", self.url), headers, body.into())
    }

    /// A form, as Grafana sends it.
    pub fn post_form(&self, path: &str, form: &str) -> Answer {
        self.post(path, &[("content-type", "application/x-www-form-urlencoded")], form)
    }

    /// Remote write 1.0 of an uncompressed message.
    pub fn write(&self, message: &[u8]) -> Answer {
        self.post("/api/v1/write", &proto::V1_HEADERS, proto::snappy(message))
    }

    /// Remote write 2.0 of an uncompressed message.
    pub fn write_v2(&self, message: &[u8]) -> Answer {
        self.post("/api/v1/write", &proto::V2_HEADERS, proto::snappy(message))
    }

    /// `GET /api/v1/query` at a time in milliseconds; the whole body.
    pub fn query(&self, expr: &str, time_ms: i64) -> String {
        let query = encode(expr);
        self.get(&format!("/api/v1/query?query={query}&time={}", time_ms as f64 / 1_000.0)).body
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test, which sees no options in the environment.
pub fn icecore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
        command.env_remove(name);
    }
    command
}

fn with_defaults(args: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let usual = [
        ("--listen", "127.0.0.1:0"),
        ("--otlp-grpc", "127.0.0.1:0"),
        ("--otlp-http", "127.0.0.1:0"),
        ("--self-scrape", "off"),
        ("--shards", "2"),
        ("--log.level", "error"),
    ];
    for (flag, value) in usual {
        if !args.contains(&flag) {
            all.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    all
}

/// A response, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub bytes: Vec<u8>,
    /// The bytes as text, as far as they are.
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// One request of any kind. Panics where no answer comes.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    let mut builder = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let response = match method {
        "GET" | "HEAD" | "OPTIONS" if body.is_empty() => {
            ureq::Agent::from(config).run(builder.body(()).unwrap()).unwrap()
        }
        _ => ureq::Agent::from(config).run(builder.body(body).unwrap()).unwrap(),
    };
    let (parts, body) = response.into_parts();
    let bytes = body.into_with_config().limit(1 << 30).read_to_vec().unwrap();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: parts.status.as_u16(), headers: parts.headers, bytes, body }
}

/// As a part of a URL.
pub fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "tests stand outside the layers")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}
