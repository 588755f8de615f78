//! Prometheus's own test scripts, run through a real store and the querier.
//!
//! `own/` holds scripts of our own, for what Prometheus's leave out. Every eval must pass with names dropped late, the mode that the scripts were written for. With names dropped at once,
//! the server's default, those must not that are about names: as many as listed here. `ICECORE_PROMQL_TESTS=DIR` runs
//! the scripts of another folder, and only as written; `ONLY=part` those whose path has that part.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod compare;
#[path = "../common/corpus.rs"]
mod corpus;
mod dashboards;
mod run;
mod script;
mod series;
#[path = "../common/shared.rs"]
mod shared;

use std::path::{Path, PathBuf};

use run::Names;

/// Evals that cannot pass when names are dropped at once: what they expect has a name, or they join on one.
const NEED_LATE_NAMES: [(&str, usize); 2] = [("histograms.test", 12), ("name_label_dropping.test", 8)];

/// Evals of one file: how many passed, and what went wrong with the others.
#[derive(Default)]
struct Report {
    passed: usize,
    failures: Vec<String>,
}

/// The scripts to run, and whether they are Prometheus's.
fn scripts() -> Option<(Vec<PathBuf>, bool)> {
    match std::env::var_os("ICECORE_PROMQL_TESTS") {
        Some(folder) => Some((scripts_in(Path::new(&folder)), false)),
        None => Some((scripts_in(&shared::shared("promql/tests")?), true)),
    }
}

fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "test") && f.to_string_lossy().contains(&only));
    files.sort();
    files
}

/// Runs the files and prints of each how many evals passed and failed, and each failure beyond what `may_fail` allows.
fn run_all(files: &[PathBuf], names: Names, may_fail: impl Fn(&str) -> usize) {
    assert!(!files.is_empty(), "no script to run");
    let (mut passed, mut wrong) = (0, Vec::new());
    for path in files {
        let report = run::run_file(&std::fs::read_to_string(path).unwrap(), names);
        let file = file_name(path);
        println!("{file}: {} passed, {} failed", report.passed, report.failures.len());
        passed += report.passed;
        let expected = may_fail(&file);
        if report.failures.len() != expected {
            report.failures.iter().for_each(|failure| println!("  {failure}"));
            wrong.push(format!("{file}: {} evals fail, not {expected}", report.failures.len()));
        }
    }
    println!("{passed} evals of {} files passed, names dropped: {names:?}", files.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_eval_passes() {
    let Some((files, _)) = scripts() else { return };
    run_all(&files, Names::Delayed, |_| 0);
}

#[test]
fn every_eval_of_our_own_scripts_passes() {
    let files = scripts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql/own"));
    run_all(&files, Names::Delayed, |_| 0);
}

#[test]
fn names_dropped_at_once_matter_only_to_evals_about_names() {
    let Some((files, true)) = scripts() else { return };
    let about_names =
        |file: &str| NEED_LATE_NAMES.iter().find(|(known, _)| *known == file).map_or(0, |f| f.1);
    run_all(&files, Names::Immediate, about_names);
}
