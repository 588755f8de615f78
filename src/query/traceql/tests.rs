//! What is read and what is refused, with the words of the refusal.

use proptest::prelude::*;

use super::ast::{FieldExpr, FieldKind, Query, SpansetExpr, Stage};
use super::*;

const OPTIONS: ParseOptions = ParseOptions { regexes_max: 4, regex_cache: None };

fn refusal(text: &str) -> String {
    parse(text, OPTIONS).map(|query| panic!("{text} was read as {query:?}")).unwrap_err().to_string()
}

fn condition(text: &str) -> FieldExpr {
    let Ok(Query::Search(ast::Pipeline(stages))) = parse(text, OPTIONS) else {
        panic!("{text}: {:?}", parse(text, OPTIONS))
    };
    match &stages[0] {
        Stage::Spansets(SpansetExpr::Filter(Some(condition))) => condition.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn searches_of_all_forms_are_read() {
    for text in [
        "{}",
        "{ true }",
        "{ .a }",
        "{ !.a && !(span.b || resource.c) }",
        "{ .a = 1 && .b != -2.5 && .c > 1h30m && .d <= 2e3 && .e >= 10us && .f < -1d }",
        "{ name =~ \"GET .*\" && statusMessage !~ `a|b` }",
        "{ status = error || status != ok || status = unset }",
        "{ kind = server || kind != client && kind = unspecified }",
        "{ .a = nil || nil != .b }",
        "{ .a + 2 * .b ^ 2 - -3 > .c / 4 % 5 }",
        "{ duration > 100ms && traceDuration > 1s && span:childCount = 0 }",
        "{ trace:rootService = \"a\" && trace:id = \"1f\" && span:parentID = nil && rootName = \"x\" }",
        "{ event:name = \"exception\" && event.a = 1 && event:timeSinceStart > 1ms }",
        "{ link:traceID = \"a\" && link:spanID = \"b\" && link.x = true && instrumentation.y = 1 }",
        "{ instrumentation:name = \"a\" && instrumentation:version != \"1\" }",
        "{ parent.a = 1 && parent.span.b = 2 && parent.resource.c = 3 }",
        "{ span.\"a b\".c = 1 && .\"x\\\"y\" = 2 && .ünï-cödé/x:y[0] = 3 }",
        "{ .a = maxInt || .a = minInt }",
        "{ nestedSetLeft > 1 && nestedSetParent < 0 } | select(nestedSetRight)",
        "{ .a = 1 } && { .b = 2 } || { .c = 3 }",
        "{ } > { } >> { } < { } << { } ~ { }",
        "{ } !> { } !>> { } !< { } !<< { } !~ { }",
        "{ } &> { } &>> { } &< { } &<< { } &~ { }",
        "({ .a = 1 } | count() > 1) && ({ .b } | { .c })",
        "(({ .a }))",
        "{ .a } | { .b } | count() > 2 | avg(duration) < 1s | by(resource.service.name) | coalesce()",
        "{ .a } | select(.b, span.c, name, event.d) ",
        "count() > 1",
        "by(name) | count() = 2",
        "{ .a } | max(.b) - min(.b) > 2 * 3 + 1",
        "3 = count()",
        "{ .a } with(most_recent=true, sample=0.5, x=\"y\")",
        "{ .a = 1 // the first\n && /* and \n the second */ .b = 2 }",
    ] {
        if let Err(error) = parse(text, OPTIONS) {
            panic!("{text}: {error}");
        }
    }
}

#[test]
fn metrics_are_read_and_named() {
    for (text, name) in [
        ("{ } | rate()", "rate"),
        ("{ .a } | rate() by (resource.service.name, name) | topk(5)", "rate"),
        ("{ } | quantile_over_time(duration, .9, 0.5, 1) by (.a)", "quantile_over_time"),
        ("{ } | histogram_over_time(duration) with(sample=true)", "histogram_over_time"),
        ("{ } | count_over_time() > 10", "count_over_time"),
        ("{ } | compare({ status = error }, 10, 1700000000, 1700000060)", "compare"),
        ("({ } | rate()) / ({ } | rate()) * 100", "rate"),
    ] {
        match parse(text, OPTIONS) {
            Ok(Query::Metrics { function, .. }) => assert_eq!(function, name, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, message) in [
        ("", "line 1, col 1: unexpected end of query, expected '{', '(', an aggregate or a stage"),
        ("{ .a = }", "line 1, col 8: unexpected \"}\", expected an attribute, an intrinsic or a value"),
        ("{\n  .a = 1\n  .b = 2 }", "line 3, col 3: unexpected \".b\", expected an operator or '}'"),
        ("{ .a = 1", "line 1, col 9: unexpected end of query, expected an operator or '}'"),
        ("{ .a = 1 }}", "line 1, col 11: unexpected \"}\", expected an operator, '|' or the end"),
        (
            "{ foo = 1 }",
            "line 1, col 3: unknown name \"foo\": attributes are written .foo, span.foo or resource.foo",
        ),
        ("{ foo.a = 1 }", "line 1, col 3: unknown scope \"foo\" before '.'"),
        ("{ span:foo = 1 }", "line 1, col 3: unknown intrinsic \"span:foo\""),
        ("{ . = 1 }", "line 1, col 3: the name of an attribute is missing"),
        ("{ .\"a = 1 }", "line 1, col 3: the quoted name of an attribute does not end"),
        ("{ .a = \"x }", "line 1, col 8: unterminated quoted string"),
        ("{ .a = 'x' }", "line 1, col 8: unexpected character '\\''"),
        ("{ .a = 99999999999999999999 }", "line 1, col 8: 99999999999999999999 does not fit into 64 bits"),
        ("{ .a = 5x }", "line 1, col 8: not a number, and no duration such as 1h30m or 500ms"),
        ("{ .a = 999999999999w }", "line 1, col 8: duration 999999999999w is too long"),
        ("{ .a /* x }", "line 1, col 6: comment is not closed"),
        ("{ .a =~ .b }", "line 1, col 9: a regular expression must be a string"),
        ("{ .a =~ \"(\" }", "line 1, col 9: error parsing regexp: missing closing ): `(`"),
        (
            "{ .a =~ \"1\" && .a =~ \"2\" && .a =~ \"3\" && .a =~ \"4\" && .a =~ \"5\" }",
            "line 1, col 61: more than 4 regular expressions",
        ),
        ("{ name = 5 }", "line 1, col 3: a string and a number cannot be compared with ="),
        ("{ status = \"error\" }", "line 1, col 3: a status and a string cannot be compared with ="),
        ("{ status > ok }", "line 1, col 3: a status and a status cannot be compared with >"),
        ("{ duration =~ \"1s\" }", "line 1, col 3: a regular expression: expected a string, found a number"),
        ("{ 1 + 1 }", "line 1, col 3: braces hold: expected a condition, found a number"),
        ("{ .a && \"x\" }", "line 1, col 9: &&: expected a condition, found a string"),
        ("{ name + 1 = 2 }", "line 1, col 3: +: expected a number, found a string"),
        ("{ -name = 2 }", "line 1, col 4: -: expected a number, found a string"),
        ("{ .a > nil }", "line 1, col 3: an attribute and nil cannot be compared with >"),
        ("{ } | count()", "line 1, col 7: a number needs a comparison, such as > 2"),
        ("{ } | count(.a) > 1", "line 1, col 13: unexpected \".a\", expected ')': count takes nothing"),
        ("{ } | avg(1) > 1", "line 1, col 11: avg needs an attribute or an intrinsic"),
        ("{ } | avg(name) > 1", "line 1, col 11: avg: expected a number, found a string"),
        ("{ } | by(1)", "line 1, col 10: by needs an attribute or an intrinsic"),
        ("{ } | select(1)", "line 1, col 14: select takes attributes and intrinsics"),
        ("{ } > 1", "line 1, col 5: the operator joins two spansets or two numbers, not one of each"),
        (
            "({ } | count()) > ({ } | count())",
            "line 1, col 1: comparing the aggregate of a pipeline in parentheses is not supported yet",
        ),
        ("{ } | foo()", "line 1, col 7: unexpected \"foo\", expected '{', '(', an aggregate or a stage"),
        (
            "{ } | rate() | by(.a)",
            "line 1, col 16: unexpected \"by\", expected topk or bottomk after a metrics function",
        ),
        ("{ } with(a)", "line 1, col 11: unexpected \")\", expected '=' after the name of a hint"),
        ("{ } || ", "line 1, col 8: unexpected end of query, expected '{', '(', an aggregate or a stage"),
    ] {
        assert_eq!(refusal(text), format!("parse error at {message}"), "{text}");
    }
}

#[test]
fn operators_bind_as_in_tempo() {
    for (text, read) in [
        ("{ .a || .b && .c }", "((.a || .b) && .c)"),
        ("{ .a && .b && .c || .d }", "((.a && .b && .c) || .d)"),
        ("{ !.a && .b }", "(!(.a) && .b)"),
        ("{ .a + .b * .c ^ .d ^ .e = 1 }", "((.a + (.b * (.c ^ (.d ^ .e)))) = 1)"),
        ("{ .a - .b - .c > -1 }", "(((.a - .b) - .c) > -1)"),
        ("{ -.a + 1 = 2 }", "((-(.a) + 1) = 2)"),
        ("{ nil = .a }", "(.a = nil)"),
        ("{ parent.x !~ `y` }", "(parent.x !~ \"y\")"),
    ] {
        assert_eq!(condition(text).to_string(), read, "{text}");
    }
}

#[test]
fn depth_and_size_are_limited_and_chains_are_not_depth() {
    let parentheses = |n: usize| format!("{{ {}.a{} }}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&parentheses(64), OPTIONS).is_ok());
    assert!(refusal(&parentheses(65)).ends_with("query nested deeper than 64"));
    for deep in [
        format!("{{ {}.a }}", "!".repeat(1_000)),
        format!("{{ 1{} = 1 }}", " + 1".repeat(1_000)),
        format!("{{ .a{} }}", " && .b || .c".repeat(100)),
        format!("{{}}{}", " > {}".repeat(1_000)),
        format!("{}{{}}", "(".repeat(10_000)),
        format!("count() > 1{}", " + 1".repeat(1_000)),
    ] {
        assert!(refusal(&deep).contains("nested deeper than 64"), "{:.20}", deep);
    }
    assert!(parse(&format!("{{ .a = 1{} }}", " || .a = 1".repeat(1_000)), OPTIONS).is_ok());
    assert!(refusal(&" ".repeat(20_000)).contains("is longer than 16384"));
}

#[test]
fn a_query_still_being_typed_gives_what_is_complete() {
    for (text, read) in [
        ("{ .a = 1 && .b = 2 }", "(.a = 1 && .b = 2)"),
        ("{ .a = 1 && .b = }", "((.a = 1))"),
        ("{ .a = 1 && .b", "((.a = 1) && .b)"),
        ("{ resource.service.name = \"x\" && span.", "((resource.service.name = x))"),
        ("{ !(.a && .b = 1 && .c) && .d = 1 && ", "(!((.a && (.b = 1) && .c)) && (.d = 1))"),
        ("{ .a = 1 && .b = } && { .c = 1 }", "((.a = 1))"),
    ] {
        let ast::Pipeline(stages) = matchers(text, OPTIONS);
        let Stage::Spansets(SpansetExpr::Filter(Some(condition))) = &stages[0] else { panic!("{stages:?}") };
        let read_as = match &condition.kind {
            FieldKind::All(_) => condition.to_string(),
            _ => format!("({condition})"),
        };
        assert_eq!(read_as.replace("((.a = 1) && (.b = 2))", "(.a = 1 && .b = 2)"), read, "{text}");
    }
    for text in ["", "{ .a = 1 || .b = }", "{ .a = ", "nonsense"] {
        let ast::Pipeline(stages) = matchers(text, OPTIONS);
        assert!(matches!(stages[..], [Stage::Spansets(SpansetExpr::Filter(None))]), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = parse(&text, OPTIONS);
        let _ = matchers(&text, OPTIONS);
    }

    #[test]
    fn no_sequence_of_signs_makes_the_parser_panic(parts in proptest::collection::vec(
        prop::sample::select(vec![
            "{", "}", "(", ")", "|", "||", "&&", "!", "=", "=~", "!~", "<", ">", ">>", "&>", "~", "+", "-", "/", "^",
            ".a", "span.b", "parent.", "\"x\"", "`", "1", "2.5s", "nil", "true", "count()", "avg(", "by(", "select(",
            "rate()", "with(", "name", "status", "error", ",", "//", "/*", "é", "\n", "trace:id", ".\"",
        ]),
        0..30,
    ), blanks: bool) {
        let text = parts.join(if blanks { " " } else { "" });
        let _ = parse(&text, OPTIONS);
        let _ = matchers(&text, OPTIONS);
    }
}
