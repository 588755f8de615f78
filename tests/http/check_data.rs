//! `icecore check data`: what it says of a directory, sound or damaged, whether its server runs or not.

use std::path::Path;

use crate::common::proto::{v1_request, v1_series};
use crate::common::{Server, icecore, now_ms};

/// Exit code, stdout and stderr.
fn check(dir: &Path) -> (Option<i32>, String, String) {
    let output = icecore().args(["check", "data", "--data-dir"]).arg(dir).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

#[test]
fn a_sound_directory_passes_and_damage_is_named() {
    let mut server = Server::start(&[]);
    let samples = [(now_ms() - 1_000, 1.0), (now_ms(), 2.0)];
    assert_eq!(server.write(&v1_request(&[v1_series(&[("__name__", "kept")], &samples)])).status, 204);

    let (code, stdout, stderr) = check(&server.data_dir);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(
        stdout.contains("read 0 segments") && stdout.contains("and 1 records in 1 generations"),
        "{stdout}"
    );

    assert!(server.stop().success());
    let (code, stdout, stderr) = check(&server.data_dir);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("read 1 segments of 2 rows"), "{stdout}");

    let segment = std::fs::read_dir(server.data_dir.join("hot")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, stdout, stderr) = check(&server.data_dir);
    assert!(stdout.starts_with(&format!("damaged: {}: ", segment.display())), "{stdout}");
    assert!(stderr.contains("damaged in 1 places") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_directory_without_data_is_a_wrong_option() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, stderr) = check(dir.path());
    assert!(stderr.contains("holds no data of Icecore (--data-dir)"), "{stderr}");
    assert_eq!(code, Some(2));
}
