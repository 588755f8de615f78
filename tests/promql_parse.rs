//! The PromQL parser against what others wrote: Prometheus's own table of good and bad inputs, its test scripts,
//! and the expressions of dashboards and rules in use. All read from `../shared`; skipped where that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use icecore::query::promql::{ParseOptions, parse};

/// The folder with foreign test data, or `None` with a word about it.
fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ICECORE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

fn read_shared(part: &str) -> Option<String> {
    shared(part).map(|path| fs::read_to_string(path).unwrap())
}

#[derive(serde::Deserialize)]
struct Case {
    input: String,
    fail: bool,
    sect: String,
    line: u32,
}

/// The table was taken from Go, where a string need not be UTF-8: there `\xff` stood for what JSON has as U+00FF.
/// Our parser takes text only, so such an input is refused before it gets there.
fn is_not_utf8_in_go(case: &Case) -> bool {
    case.fail && case.input.contains('\u{ff}')
}

#[test]
fn every_verdict_of_prometheuss_table_is_ours() {
    let Some(text) = read_shared("promql/parse_test_cases.json") else { return };
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.sect == "testExpr").collect();
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| !is_not_utf8_in_go(case)) {
        let parsed = parse(&case.input, &ParseOptions::all());
        if parsed.is_err() != case.fail {
            wrong.push(format!("line {}: {:?}: {:?}", case.line, case.input, parsed.map(|_| "parsed")));
        }
    }
    println!("{} of {} verdicts agree", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
