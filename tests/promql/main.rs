//! Prometheus's own test scripts, run through a real store and the querier.
//!
//! The table in `expected.txt` says for each file how many evals it has and how many must pass, in the mode of names
//! the scripts were written for and in the other, where those about names cannot. A file that gets worse fails, and
//! one that gets better fails too until the table is raised, so that no progress is lost. `UPDATE=1` rewrites the
//! table.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod compare;
mod dashboards;
mod run;
mod script;
mod series;
#[path = "../common/shared.rs"]
mod shared;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use run::Names;

/// Evals of one file: how many passed, and what went wrong with the others.
#[derive(Default)]
struct Report {
    passed: usize,
    failures: Vec<String>,
}

impl Report {
    fn total(&self) -> usize {
        self.passed + self.failures.len()
    }
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql/expected.txt")
}

/// Evals of a file that pass with names dropped late, with names dropped at once, and all.
type Counts = [usize; 3];

/// `file late at-once total`, one a line.
fn read_table(text: &str) -> BTreeMap<String, Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [file, counts @ ..] = &fields[..] else { panic!("not a row of the table: {line}") };
            let counts: Vec<usize> = counts.iter().map(|count| count.parse().unwrap()).collect();
            (file.to_string(), counts.try_into().unwrap())
        })
        .collect()
}

#[test]
fn prometheus_scripts_pass_as_the_table_says() {
    let Some(tests) = shared::shared("promql/tests") else { return };
    let entries = std::fs::read_dir(tests).unwrap();
    let only = std::env::var("ONLY").ok();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "test"));
    files.retain(|f| only.as_ref().is_none_or(|only| f.to_string_lossy().contains(only)));
    files.sort();
    let table = read_table(&std::fs::read_to_string(table_path()).unwrap_or_default());
    let mut rows = String::from(
        "# file, evals that pass with names dropped late, and at once, evals in all; rewritten by UPDATE=1 cargo test --test promql\n",
    );
    let mut changed = Vec::new();
    for path in &files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let report = run::run_file(&text, Names::Delayed);
        let immediate = run::run_file(&text, Names::Immediate);
        let found = [report.passed, immediate.passed, report.total()];
        println!("{file}: {} and {} of {}", found[0], found[1], found[2]);
        writeln!(rows, "{file} {} {} {}", found[0], found[1], found[2]).unwrap();
        if table.get(&file) != Some(&found) || std::env::var_os("VERBOSE").is_some() {
            report.failures.iter().for_each(|failure| println!("  {failure}"));
        }
        if table.get(&file) != Some(&found) {
            changed.push(format!("{file}: {found:?}, expected {:?}", table.get(&file)));
        }
    }
    if std::env::var_os("UPDATE").is_some() && only.is_none() {
        std::fs::write(table_path(), rows).unwrap();
        return;
    }
    assert!(changed.is_empty(), "{changed:#?}");
}
