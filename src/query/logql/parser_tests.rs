//! What parses, to which tree, and what is said of the rest.

use super::ast::*;
use super::{ParseOptions, parse, parse_selector};
use crate::model::{Lookout, StopSign};

fn log(text: &str) -> LogExpr {
    match parse(text, &ParseOptions::default()) {
        Ok(Expr::Log(log)) => log,
        other => panic!("{text}: {other:?}"),
    }
}

fn metric(text: &str) -> MetricExpr {
    match parse(text, &ParseOptions::default()) {
        Ok(Expr::Metric(metric)) => metric,
        other => panic!("{text}: {other:?}"),
    }
}

/// As the printer writes it, which shows how the text was understood.
fn printed(text: &str) -> String {
    parse(text, &ParseOptions::default()).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn refused(text: &str) -> String {
    match parse(text, &ParseOptions::default()) {
        Err(error) => error.to_string(),
        Ok(tree) => panic!("{text} is {tree}"),
    }
}

/// The message behind the place.
fn complaint(text: &str) -> String {
    let full = refused(text);
    full.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn every_stage_parses() {
    for stages in [
        r#"|= "a""#,
        r#"!= "a" or "b" or ip("10.0.0.0/8")"#,
        r#"|~ "a.+b" !~ "c""#,
        r#"|> "<_> took <_>ms" !> "x""#,
        r#"| json"#,
        r#"| json a, b="c.d[0]", e="[\"f g\"]""#,
        r#"| logfmt"#,
        r#"| logfmt --strict --keep-empty a, b="c""#,
        r#"| regexp "(?P<method>\\w+) (?P<path>\\S+)""#,
        r#"| pattern "<ip> - <_>""#,
        r#"| unpack"#,
        r#"| line_format "{{.a}} x""#,
        r#"| label_format a=b, c="{{.d}}""#,
        r#"| decolorize"#,
        r#"| drop a, b=~"c.*""#,
        r#"| keep a, b!="c""#,
        r#"| a="b" and c != "d" or e =~ "f" and g !~ "h""#,
        r#"| a == 5 and b != -1.5 and c > 5m and d >= 1h30m and e < 5KiB and f <= 10"#,
        r#"| addr=ip("::1-::5") or addr != ip("10.0.0.1")"#,
    ] {
        let text = format!("{{app=\"x\"}} {stages}");
        let tree = log(&text);
        assert_eq!(log(&tree.to_string()), tree, "{text}");
        assert!(!tree.stages.is_empty());
    }
}

#[test]
fn line_filters_chain_with_or() {
    let tree = log(r#"{a="b"} |= "x" or "y" != "z" |~ "p|q""#);
    let filters: Vec<&LineFilterStage> = tree
        .stages
        .iter()
        .map(|stage| match &stage.kind {
            StageKind::LineFilter(filter) => filter,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(filters.len(), 3);
    let sign = StopSign::never();
    let lookout = Lookout::new(&sign);
    assert!(filters[0].matches("..y", &lookout) && !filters[0].matches("z", &lookout));
    assert!(filters[1].op.is_negated());
    assert_eq!(filters[2].for_storage().unwrap().alternatives.len(), 2, "a list of texts is no expression");
}

#[test]
fn label_filters_bind_as_in_loki() {
    let filter = |text: &str| printed(&format!("{{a=\"b\"}} | {text}"));
    let is = |text: &str, tree: &str| assert_eq!(filter(text), format!("{{a=\"b\"}} | {tree}"), "{text}");
    is("a=1 or b=2 and c=3", "a == 1 or b == 2 and c == 3");
    is("(a=1 or b=2) and c=3", "(a == 1 or b == 2) and c == 3");
    is("a=1, b=2 or c=3", "a == 1 and (b == 2 or c == 3)");
    is("a=1 b=2 or c=3", "a == 1 and (b == 2 or c == 3)");
    is("a=1 or b=2, c=3", "a == 1 or b == 2 and c == 3");
    is("a=1 and b=2, c=3 d=4", "a == 1 and b == 2 and c == 3 and d == 4");
    is("(a=1)", "a == 1");
    is("(a=1 and (b=2 and c=3))", "a == 1 and b == 2 and c == 3");
}

#[test]
fn what_follows_a_label_filter_is_not_taken_for_one() {
    assert_eq!(log(r#"{a="b"} | c="d" != "e""#).stages.len(), 2);
    assert_eq!(log(r#"{a="b"} | json != "e""#).stages.len(), 2);
    assert_eq!(log(r#"{a="b"} | drop c != "e""#).stages.len(), 1, "here it is a matcher");
    assert_eq!(log(r#"{a="b"} | drop c, != "e""#).stages.len(), 2);
}

#[test]
fn keywords_name_labels_too() {
    for text in [
        r#"{json="a", or="b", by=~"c.+"}"#,
        r#"{a="b"} | pattern="x" | offset > 5"#,
        r#"sum by (json, rate, by) (rate({a="b"}[5m]))"#,
        r#"{a="b"} | rate > 5 | sum="x" | bytes=5KB"#,
        r#"sum_over_time({a="b"} | unwrap duration [5m])"#,
        r#"{a="b"} | keep or, unwrap"#,
    ] {
        printed(text);
    }
}

#[test]
fn quoted_names_become_the_stored_labels() {
    let tree = log(r#"{"service.name"="x"} | "http.status-code" >= 400 | json "k8s.pod" | drop "a.b""#);
    assert_eq!(tree.matchers[0].name, "service_name");
    assert_eq!(
        tree.to_string(),
        r#"{service_name="x"} | http_status_code >= 400 | json k8s_pod="[\"k8s.pod\"]" | drop a_b,"#
    );
}

#[test]
fn a_range_stands_anywhere_behind_its_selector() {
    let expected = printed(r#"sum_over_time({a="b"} | json | unwrap x [5m] offset 1m)"#);
    for text in [
        r#"sum_over_time({a="b"}[5m] offset 1m | json | unwrap x)"#,
        r#"sum_over_time(({a="b"} | json | unwrap x)[5m] offset 1m)"#,
        r#"sum_over_time(({a="b"} | json | unwrap x [5m] offset 1m))"#,
        r#"sum_over_time(({a="b"}[5m] offset 1m | json | unwrap x))"#,
        r#"SUM_OVER_TIME({a="b"}| JSON |UNWRAP x[5m]OFFSET 1m)"#,
    ] {
        assert_eq!(printed(text), expected, "{text}");
    }
    let MetricKind::Range(aggregation) = metric(r#"rate({a="b"}[1.5s] offset -5m)"#).kind else { panic!() };
    assert_eq!((aggregation.log.range, aggregation.log.offset), (1_500_000_000, -300_000_000_000));
}

#[test]
fn unwrap_takes_filters_behind_it() {
    let text = r#"quantile_over_time(0.99, {a="b"} | json | unwrap duration(latency) | __error__="" | x > 1 [1m]) by (pod)"#;
    let MetricKind::Range(aggregation) = metric(text).kind else { panic!() };
    let unwrap = aggregation.log.unwrap.unwrap();
    assert_eq!((unwrap.conversion, unwrap.filters.len()), (Some(Conversion::Duration), 2));
    assert_eq!(aggregation.parameter, Some(NumberLiteral(0.99)));
    assert_eq!(aggregation.grouping.unwrap().labels, ["pod"]);
}

#[test]
fn operators_bind_as_in_promql() {
    let is = |text: &str, tree: &str| assert_eq!(printed(text), tree, "{text}");
    is("1 + 2 * 3 ^ 4 ^ 5", "1 + 2 * 3 ^ 4 ^ 5");
    is("(1 + 2) * 3", "(1 + 2) * 3");
    is("(2 ^ 3) ^ 4", "(2 ^ 3) ^ 4");
    is("1 - (2 - 3) - 4", "1 - (2 - 3) - 4");
    is("((1))", "1");
    is("-2 ^ 2", "-2 ^ 2");
    is("1 > 2", "1 > bool 2");
    is("vector(1) + vector(1)", "vector(1) + vector(1)");
    is(
        r#"sum(rate({a="b"}[1m])) by (x) / on(x) group_left(y) count_over_time({a="b"}[1m]) > bool 0.5"#,
        r#"sum by (x) (rate({a="b"} [1m])) / on (x) group_left (y) count_over_time({a="b"} [1m]) > bool 0.5"#,
    );
    is(
        r#"vector(1) or vector(2) and vector(3) unless ignoring(a) vector(4)"#,
        r#"vector(1) or vector(2) and vector(3) unless ignoring (a) vector(4)"#,
    );
}

#[test]
fn aggregations_and_functions_parse() {
    for text in [
        r#"topk(5, sum by (a) (rate({a="b"}[1m])))"#,
        r#"bottomk without (a) (2, rate({a="b"}[1m]))"#,
        r#"sort_desc(sum(rate({a="b"}[1m])))"#,
        r#"sort(avg(bytes_rate({a="b"}[1m])))"#,
        r#"stddev by () (bytes_over_time({a="b"}[1m]))"#,
        r#"label_replace(rate({a="b"}[1m]), "dst", "$1", "src", "(.+)-.*")"#,
        r#"absent_over_time({a="b"}[1h])"#,
        r#"rate({a="b"} | unwrap x [1m])"#,
        r#"rate_counter({a="b"} | unwrap x [1m])"#,
        r#"max_over_time({a="b"} | unwrap bytes(x) [1m]) without (c, d)"#,
    ] {
        let tree = metric(text);
        assert_eq!(metric(&tree.to_string()), tree, "{text}");
    }
}

#[test]
fn comments_and_lines_are_blank() {
    let text = "# errors\n{app=\"x\"} # selector\n  |= \"a#b\"\n  | json # parser\n";
    assert_eq!(printed(text), r#"{app="x"} |= "a#b" | json"#);
}

#[test]
fn complaints_name_the_place_and_what_was_expected() {
    for (text, message) in [
        (
            "",
            "parse error at line 1, col 1: syntax error: unexpected end of query, expecting a selector {…}, a function or a number",
        ),
        (r#"{a=}"#, r#"parse error at line 1, col 4: syntax error: unexpected }, expecting STRING"#),
        (
            r#"{a="b""#,
            r#"parse error at line 1, col 7: syntax error: unexpected end of query, expecting "," or "}""#,
        ),
        (
            "{a=\"b\"}\n| jsn",
            "parse error at line 2, col 6: syntax error: unexpected end of query, expecting a comparison (\"=\", \"!=\", \"=~\", \"!~\", \">\", \">=\", \"<\" or \"<=\") behind label jsn, which is no known stage",
        ),
        (
            r#"{a.b="c"}"#,
            "parse error at line 1, col 3: unexpected '.': a label name with dots stands in quotes",
        ),
        (
            r#"{a="b"} | json | line_format 5"#,
            "parse error at line 1, col 30: syntax error: unexpected NUMBER 5, expecting STRING",
        ),
        (
            r#"{a="b"} [5m]"#,
            "parse error at line 1, col 9: syntax error: unexpected RANGE: a range stands inside of a range aggregation such as count_over_time(…)",
        ),
        (
            r#"rate({a="b"})"#,
            "parse error at line 1, col 13: syntax error: missing RANGE such as [5m] in a range aggregation",
        ),
        (
            r#"rate({a="b"}[5m]) offset 5m"#,
            "parse error at line 1, col 19: syntax error: unexpected keyword \"offset\", expecting end of query: offset follows a range",
        ),
        (
            r#"{a="b"} | unwrap x"#,
            "parse error at line 1, col 9: unwrap is only allowed inside of a range aggregation such as sum_over_time(…)",
        ),
        (
            r#"{a="b"} |~ "(a""#,
            "parse error at line 1, col 12: error parsing regexp: missing closing ): `(a`",
        ),
        (
            r#"{a=~"b**"}"#,
            "parse error at line 1, col 2: error parsing regexp: invalid nested repetition operator: `**`",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, message) in [
        (r#"{}"#, "queries require at least one regexp or equality matcher"),
        (r#"{a=~".*"}"#, "queries require at least one regexp or equality matcher"),
        (r#"{a!="b"}"#, "queries require at least one regexp or equality matcher"),
        (r#"count_over_time({a="b"} | unwrap x [1m])"#, "invalid aggregation count_over_time with unwrap"),
        (r#"sum_over_time({a="b"}[1m])"#, "invalid aggregation sum_over_time without unwrap"),
        (
            r#"quantile_over_time({a="b"} | unwrap x [1m])"#,
            "parameter required for operation quantile_over_time",
        ),
        (r#"rate(5, {a="b"}[1m])"#, "parameter 5 not supported for operation rate"),
        (
            r#"sum_over_time({a="b"} | unwrap x [1m]) by (c)"#,
            "grouping not allowed for sum_over_time aggregation",
        ),
        (r#"rate({a="b"}[1m]) by (c)"#, "grouping not allowed for rate aggregation"),
        (r#"topk(rate({a="b"}[1m]))"#, "parameter required for operation topk"),
        (r#"topk(0, rate({a="b"}[1m]))"#, "invalid parameter 0 for topk: a whole number greater than 0"),
        (r#"topk(1.5, rate({a="b"}[1m]))"#, "invalid parameter 1.5 for topk"),
        (r#"sum(5, rate({a="b"}[1m]))"#, "unsupported parameter 5 for operation sum"),
        (r#"sum({a="b"})"#, "sum runs over a metric query"),
        (r#"rate(rate({a="b"}[1m]))"#, "a range aggregation runs over a log query"),
        (r#"{a="b"} + 1"#, "unexpected type for left leg of binary operation (+)"),
        (r#"1 + {a="b"}"#, "unexpected type for right leg of binary operation (+)"),
        (r#"1 or vector(1)"#, "unexpected literal for left side of logical/set binary operation (or)"),
        (r#"1 + on(a) vector(1)"#, "vector matching only allowed between instant vectors"),
        (r#"1 + bool 2"#, "bool modifier can only be used on comparison operators"),
        (r#"approx_topk(5, rate({a="b"}[1m]))"#, "approx_topk is not supported here"),
        (r#"variants(rate({a="b"}[1m]))"#, "variants is not supported"),
        (r#"histogram(rate({a="b"}[1m]))"#, "unknown function \"histogram\""),
        (r#"sort(rate({a="b"}[1m])) by (c)"#, "grouping not allowed for sort"),
        (r#"rate({a="b"}[1m][2m])"#, "syntax error: unexpected RANGE [2m], expecting only one range"),
        (r#"rate({a="b"} | unwrap x | json [1m])"#, "syntax error: only label filters may follow unwrap"),
        (r#"rate({a="b"} | unwrap x | unwrap y [1m])"#, "syntax error: only one unwrap is allowed"),
        (
            r#"rate({a="b"} | unwrap weeks(x) [1m])"#,
            "syntax error: unexpected IDENTIFIER \"weeks\", expecting bytes",
        ),
        (r#"rate({a="b"}[1m:5s])"#, "LogQL has no subqueries"),
        (r#"{a="b"} | regexp "a""#, "at least one named capture (?P<name>…) must be supplied"),
        (r#"{a="b"} | pattern "a""#, "invalid pattern: at least one named capture is required"),
        (r#"{a="b"} |> "<a>""#, "invalid pattern: only <_> is allowed in a line filter, found <a>"),
        (r#"{a="b"} |~ ip("::1")"#, "ip(…) filters lines with |= and != only"),
        (r#"{a="b"} |= ip("x")"#, "ip: invalid pattern \"x\""),
        (
            r#"{a="b"} | c > "5""#,
            "syntax error: unexpected STRING \"5\", expecting NUMBER, DURATION or BYTES",
        ),
        (r#"{a="b"} | json c="d..e""#, "cannot parse JSON expression \"d..e\""),
        (r#"{a="b"} | label_format c=d, c=e"#, "multiple label name \"c\" not allowed"),
        (r#"{a="b"} | label_format __error__="x""#, "__error__ cannot be formatted"),
        (r#"{a="b"} | line_format "{{""#, "template: "),
        (
            r#"label_replace(vector(1), "a-b", "", "", "")"#,
            "invalid destination label name in label_replace(): \"a-b\"",
        ),
        (r#"label_replace(vector(1), "a", "", "", "(")"#, "error parsing regexp"),
        (r#"-vector(1)"#, "syntax error: unexpected IDENTIFIER \"vector\", expecting NUMBER"),
        (r#"up"#, "syntax error: unexpected IDENTIFIER \"up\", expecting a selector"),
    ] {
        let got = complaint(text);
        assert!(got.starts_with(message), "{text}: {got}");
    }
}

#[test]
fn a_bare_selector_may_let_everything_through() {
    let matchers = |text| parse_selector(text, &ParseOptions::default()).map(|matchers| matchers.len());
    assert_eq!(matchers("{}"), Ok(0));
    assert_eq!(matchers(r#"{a=~".*", "b.c"!="d",}"#), Ok(2));
    assert!(matchers(r#"{a="b"} |= "c""#).is_err());
    assert!(matchers("a").is_err());
}

#[test]
fn hostile_queries_end_at_a_limit() {
    let long = |unit: &str, count: usize| unit.repeat(count);
    let cases = [
        (long("(", 16_000), "query nested deeper than 64"),
        (long("sum(", 4_000), "query nested deeper than 64"),
        (long("1^", 8_000), "query nested deeper than 64"),
        (format!("{{a=\"b\"}} | {}", long("(", 8_000)), "query nested deeper than 64"),
        (long("1+", 7_000) + "1", "query has more than 2000 nodes"),
        (long("1+", 400) + "1", "query chains more than 256 operators"),
        (format!("{{a=\"b\"}} | {}", long("a=1,", 3_000)), "query has more than 2000 nodes"),
        (format!("{{a=\"b\"}} | {}a=1", long("a=1 or a=1,", 950)), "query nested deeper than 64"),
        (format!("{{a=\"b\"}} | {}a=1", long("a=1 or ", 2_200)), "query has more than 2000 nodes"),
        (format!("{{{}}}", long("a=\"b\",", 2_500)), "query has more than 2000 nodes"),
        (format!("{{a=\"b\"}} {}", long("|= \"\"", 2_500)), "query has more than 2000 nodes"),
        (format!("{{a=\"b\"}} {}", long("|~ \"a+\"", 100)), "query has more than 64 regular expressions"),
        (long(" ", 16_385), "query longer than 16384 bytes"),
        (r#"{a="b"} |~ "(\\pL{1000}x){1000}""#.to_owned(), "regex compiles to more than 1 MiB"),
    ];
    for (text, message) in cases {
        assert_eq!(complaint(&text), message, "{}", &text[..40]);
    }
    let many = format!("{{a=\"b\"}} | {}a=1", long("a=1,", 1_900));
    assert_eq!(log(&many).stages.len(), 1);
}

#[test]
fn errors_tell_little_of_the_text_they_complain_of() {
    let long = "x".repeat(9_000);
    for text in
        [format!("{{a=\"b\"}} | {long}"), format!("{long}(1)"), format!("{{a=\"b\"}} |~ \"(?P<{long}\"")]
    {
        assert!(refused(&text).len() < 1_300, "{}", refused(&text));
    }
    assert!(!refused("{a=\"b\"} \"\u{1b}[31m\"").contains('\u{1b}'));
}

#[test]
fn what_grafana_sends_parses() {
    for text in [
        "vector(1)+vector(1)",
        "sum by (level, detected_level) (count_over_time({app=\"x\"} |= `` [1m]))",
        "sum by (level) (count_over_time({app=\"x\"} | drop __error__[5s]))",
        "sum(count_over_time({service_name=`x`} | json | logfmt | drop __error__, __error_details__ | detected_level=\"info\" [1m])) by (detected_level)",
        "{cluster=\"x\"} | label_format log_line_contains_trace_id=`{{ contains \"4bf9\" __line__ }}` | log_line_contains_trace_id=\"true\" OR trace_id=\"4bf9\"",
        "{app=\"x\"} |~ `(?i)error` | json | line_format `{{.msg}}` | level=~\"(?i)err.*|fatal\"",
        "topk(10, sum by (path) (rate({app=\"x\"} | pattern `<_> - <method> <path> <_>` [5m])))",
        "quantile_over_time(0.95, {app=\"x\"} | json | unwrap duration_seconds(took) | __error__=`` [5m]) by (pod)",
        "count_over_time({app=\"x\"}[1h] offset 1d) / 3600",
        "{app=\"x\"} | json | status >= 500 or duration > 1.5s and size < 5KiB # slow",
    ] {
        let again = printed(text);
        assert_eq!(printed(&again), again, "{text}");
    }
}

/// Queries of dashboards, where they are at hand, with their variables filled in.
#[test]
fn dashboards_parse() {
    let Some(shared) = std::env::var_os("ICECORE_SHARED") else {
        eprintln!("skipped: ICECORE_SHARED is not set");
        return;
    };
    let path = std::path::Path::new(&shared).join("corpus/loki-mixin-logql.txt");
    let Ok(queries) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    let variable = regex::Regex::new(r"\$\w+").unwrap();
    for query in queries.lines() {
        let query =
            if query.starts_with('"') { serde_json::from_str(query).unwrap() } else { query.to_owned() };
        let query = variable.replace_all(&query.replace("$__auto", "1m"), "x").into_owned();
        let again = printed(&query);
        assert_eq!(printed(&again), again);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = parse(&text, &ParseOptions::default());
    }

    #[test]
    fn no_sequence_of_words_panics(words in proptest::collection::vec(0..WORDS.len(), 0..24)) {
        let text: Vec<&str> = words.into_iter().map(|word| WORDS[word]).collect();
        let text = text.join(" ");
        if let Ok(tree) = parse(&text, &ParseOptions::default()) {
            let printed = tree.to_string();
            let again = parse(&printed, &ParseOptions::default());
            proptest::prop_assert_eq!(again, Ok(tree), "{} {}", text, printed);
        }
    }
}

const WORDS: [&str; 62] = [
    "{a=\"b\"}",
    "{",
    "}",
    "a",
    "\"b\"",
    "=",
    "!=",
    "=~",
    "!~",
    ">",
    ">=",
    "<",
    "<=",
    "==",
    "|",
    "|=",
    "|~",
    "|>",
    "!>",
    "(",
    ")",
    ",",
    "[5m]",
    "5",
    "5m",
    "5KB",
    "json",
    "logfmt",
    "--strict",
    "regexp",
    "\"(?P<x>.)\"",
    "pattern",
    "\"<x>\"",
    "unpack",
    "line_format",
    "label_format",
    "decolorize",
    "drop",
    "keep",
    "unwrap",
    "ip",
    "\"::1\"",
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "offset",
    "rate",
    "sum_over_time",
    "sum",
    "topk",
    "sort",
    "vector",
    "label_replace",
    "+",
    "-",
    "^",
];
