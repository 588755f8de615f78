//! The README's first minute, typed as it stands there.

use std::path::Path;
use std::process::Command;

use crate::common::{Server, skipped};

/// The shell commands of the README after this heading.
fn commands(heading: &str) -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let after = readme.split_once(heading).unwrap().1;
    let block = after.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_log_line_and_its_span_are_sent_and_found() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped("curl is not installed");
    }
    let server = Server::start(&[]);
    let icecore = format!("{} query --url {}", env!("CARGO_BIN_EXE_icecore"), server.url);
    let script = commands("**Send it a log line and the span it belongs to**")
        .replace("http://127.0.0.1:8365", &server.url)
        .replace("127.0.0.1:4318", &server.otlp_http)
        .replace("curl ", "curl --silent --show-error --fail-with-body ")
        .replace("target/release/icecore query", &icecore);
    let output = Command::new("bash").args(["-euc", &script]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{out}{err}");
    for part in [
        "Z  {app=\"shop\", service_name=\"shop\"}  level=error msg=\"card declined\"\n",
        "{app=\"shop\"}  1\n",
        "POST /pay",
        "250",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}
