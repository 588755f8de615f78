//! The PromQL parser against what others wrote: Prometheus's own table of good and bad inputs, its test scripts,
//! and the expressions of dashboards and rules in use. All read from `../shared`; skipped where that is not there.

#[path = "common/shared.rs"]
mod shared;

use std::fs;

use icecore::query::promql::series_description::parse_series;
use icecore::query::promql::{ParseOptions, parse};
use shared::shared;

fn read_shared(part: &str) -> Option<String> {
    shared(part).map(|path| fs::read_to_string(path).expect("a readable file"))
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

/// The other sections of the table say of no input that it fails, also where its test expects an error.
#[test]
fn every_verdict_on_descriptions_of_series_is_ours() {
    let Some(text) = read_shared("promql/parse_test_cases.json") else { return };
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.sect == "testSeries").collect();
    assert!(!cases.is_empty());
    for case in cases {
        let parsed = parse_series(&case.input);
        assert_eq!(parsed.is_err(), case.fail, "line {}: {:?}: {parsed:?}", case.line, case.input);
    }
}

/// Parses, and what is printed parses to the same tree and prints the same text again.
fn parses_and_prints(expr: &str) -> Result<(), String> {
    let tree = parse(expr, &ParseOptions::all()).map_err(|error| format!("{error}\n  in {expr}"))?;
    let printed = tree.to_string();
    let again = parse(&printed, &ParseOptions::all()).map_err(|error| format!("{error}\n  in {printed}"))?;
    if again != tree || again.to_string() != printed {
        return Err(format!("{expr}\n  prints as another tree: {printed}"));
    }
    Ok(())
}

/// Every one of `exprs` is good PromQL but those in `refused`.
fn all_parse(name: &str, exprs: &[String], refused: &[&str]) {
    assert!(!exprs.is_empty(), "{name} has expressions");
    let exprs: Vec<&String> =
        exprs.iter().filter(|expr| !refused.iter().any(|part| expr.contains(part))).collect();
    let wrong: Vec<String> = exprs.iter().filter_map(|expr| parses_and_prints(expr).err()).collect();
    println!("{name}: {} of {} parse and print", exprs.len() - wrong.len(), exprs.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Puts a value wherever a dashboard has a variable, so that what remains is PromQL. `$1` in `label_replace` is
/// no variable.
fn fill_variables(expr: &str) -> String {
    let mut out = String::new();
    let mut rest = expr;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let braced = rest[at + 1..].starts_with('{');
        let name_at = at + 1 + usize::from(braced);
        let len = rest[name_at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let name = &rest[name_at..name_at + len];
        let end = name_at + len + usize::from(braced);
        match name {
            _ if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                out.push_str(&rest[at..end])
            }
            "__rate_interval" | "__auto" => out.push_str("1m"),
            "__interval" => out.push_str("15s"),
            "__range" => out.push_str("1h"),
            "latency_metrics" => out.push('1'),
            _ => out.push_str("word"),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// One expression a line, those of several lines as JSON strings.
fn expressions(text: &str) -> Vec<String> {
    let decode = |line: &str| match line.starts_with('"') {
        true => serde_json::from_str(line).expect("a JSON string"),
        false => line.to_owned(),
    };
    text.lines().filter(|line| !line.is_empty()).map(|line| fill_variables(&decode(line))).collect()
}

#[test]
fn expressions_of_dashboards_and_rules_parse() {
    for file in [
        "node-exporter-full-exprs.txt",
        "kube-prometheus-dashboards-exprs.txt",
        "kube-prometheus-rules-exprs.txt",
        "awesome-alerts-exprs.txt",
        "loki-tempo-mixin-promql.txt",
    ] {
        let Some(text) = read_shared(&format!("corpus/{file}")) else { return };
        // One has an escape that no string of PromQL has; Prometheus refuses it too.
        all_parse(file, &expressions(&text), &[r#""(v[0-9]*\.[0-9]*"#]);
    }
}

#[test]
fn rule_files_as_generated_hold_good_expressions() {
    let Some(folder) = shared("corpus/awesome-rules") else { return };
    let mut exprs = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let quoted = text.lines().filter_map(|line| line.trim().strip_prefix("expr: '"));
        exprs.extend(quoted.filter_map(|line| line.strip_suffix('\'')).map(|expr| expr.replace("''", "'")));
    }
    all_parse("awesome-rules", &exprs, &[r#""(v[0-9]*\.[0-9]*"#]);
}

#[test]
fn the_queries_of_the_compliance_suite_parse() {
    let Some(text) = read_shared("corpus/compliance/queries_expanded.txt") else { return };
    // To be refused, and it is: it selects everything.
    let everything = r#"{__name__=~".*"}"#;
    assert!(parse(everything, &ParseOptions::default()).is_err());
    all_parse("compliance", &expressions(&text), &[everything]);
}

#[test]
fn a_good_expression_cut_or_spoilt_anywhere_never_panics() {
    let Some(text) = read_shared("corpus/kube-prometheus-rules-exprs.txt") else { return };
    for expr in expressions(&text) {
        for (at, c) in expr.char_indices().step_by(7) {
            let (before, after) = (&expr[..at], &expr[at + c.len_utf8()..]);
            let spoilt = ["", "(", "{", "[", "\"", "\\", "é", ":", "x"][at % 9];
            let _ = parse(before, &ParseOptions::all());
            let _ = parse(&format!("{before}{spoilt}{after}"), &ParseOptions::all());
        }
    }
}

/// The query of an `eval` line: what follows the instant, or the step of the range.
fn query_of_eval(line: &str) -> Option<&str> {
    let is_eval = line.starts_with("eval ") || line.starts_with("eval_");
    let (_, after) = line.split_once(' ').filter(|_| is_eval)?;
    let word_before_time = match after.split_once(' ')?.0 {
        "instant" => " at ",
        _ => " step ",
    };
    let (_, time_and_query) = after.split_once(word_before_time)?;
    time_and_query.split_once(' ').map(|(_, query)| query.trim())
}

#[test]
fn every_query_of_prometheuss_test_scripts_parses() {
    let Some(folder) = shared("promql/tests") else { return };
    let mut queries = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        queries.extend(text.lines().filter_map(|line| query_of_eval(line.trim())).map(str::to_owned));
    }
    all_parse("test scripts", &queries, &[]);
}

#[test]
fn every_series_of_prometheuss_test_scripts_is_understood() {
    let Some(folder) = shared("promql/tests") else { return };
    let (mut count, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let is_command = ["load", "eval", "clear", "expect"].iter().any(|word| line.starts_with(word));
            let is_scalar = line.parse::<f64>().is_ok();
            if is_command || is_scalar {
                continue;
            }
            count += 1;
            wrong.extend(parse_series(line).err().map(|error| format!("{error}\n  in {line}")));
        }
    }
    println!("{} of {count} series lines are understood", count - wrong.len());
    assert!(wrong.is_empty() && count > 0, "{}", wrong.join("\n"));
}
