//! What templates make of a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::model::StopSign;

const LABELS: [(&str, &str); 9] = [
    ("app", "web"),
    ("empty", ""),
    ("json", r#"{"a":[1,"x",{"b":true}],"n":12345678,"s":"t"}"#),
    ("level", "ERROR"),
    ("ms", "1500"),
    ("path", "/api/v1/users/42"),
    ("size", "5KiB"),
    ("took", "1.5s"),
    ("user", "josé"),
];

/// 2023-04-05 06:07:08.09 UTC.
const AT: Nanos = 1_680_674_828_090_000_000;

fn render(text: &str) -> Result<String, RenderError> {
    render_until(text, &StopSign::never())
}

fn render_until(text: &str, stop: &StopSign) -> Result<String, RenderError> {
    let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let label = |name: &str| LABELS.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    let labels = || LABELS.to_vec();
    let input = TemplateInput {
        line: "the line",
        timestamp: AT,
        now: AT + 1,
        label: &label,
        labels: &labels,
        lookout: &Lookout::new(stop),
    };
    let mut out = "before ".to_owned();
    let rendered = template.render(&input, &mut out);
    assert!(out.starts_with("before "));
    if rendered.is_err() {
        assert_eq!(out, "before ", "an error leaves nothing behind");
    }
    rendered.map(|()| out["before ".len()..].to_owned())
}

fn is(text: &str, expected: &str) {
    assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
}

fn fails(text: &str, message: &str) {
    let error = render(text).expect_err(text).to_string();
    assert!(error.contains(message), "{text}: {error}");
}

fn refused(text: &str, message: &str) {
    let error = Template::parse(text).expect_err(text).to_string();
    assert!(error.contains(message), "{text}: {error}");
}

#[test]
fn labels_stand_between_texts() {
    is("", "");
    is("plain }} text", "plain }} text");
    is("{{.app}}-{{ .level }}!", "web-ERROR!");
    is("<{{.none}}{{.empty}}>", "<>");
    is("{{__line__}} {{ __timestamp__ }}", "the line 2023-04-05 06:07:08.09 +0000 UTC");
    is("{{$.app}} {{$x := .app}}{{$x}}", "web web");
}

#[test]
fn markers_trim_and_comments_vanish() {
    is("a  {{- .app -}} \n b", "awebb");
    is("a {{/* {{.x}} */}} b", "a  b");
    is("a {{- /* c */ -}} b", "ab");
    is("{{.app}}\n  {{- \"x\" }} y", "webx y");
    is("{{-3}}", "-3");
}

#[test]
fn conditions_choose() {
    is(r#"{{if eq .level "ERROR"}}bad{{else}}good{{end}}"#, "bad");
    is(r#"{{if .empty}}a{{else if .none}}b{{else}}c{{end}}"#, "c");
    is(r#"{{if and .app (not .empty)}}both{{end}}"#, "both");
    is(r#"{{if or .empty (hasPrefix "/api" .path)}}api{{end}}"#, "api");
    is(r#"{{with .user}}<{{.}}>{{end}}{{with .empty}}no{{else}}none{{end}}"#, "<josé>none");
    is(r#"{{with $x := .app}}{{$x}}{{$.level}}{{end}}"#, "webERROR");
    is(r#"{{with .empty}}a{{else with .app}}{{.}}{{end}}"#, "web");
    is(r#"{{$x := "a"}}{{if true}}{{$x = "b"}}{{$y := 1}}{{end}}{{$x}}"#, "b");
    is(r#"{{if false}}{{$y := 1}}{{else}}{{$z := 2}}{{$z}}{{end}}"#, "2");
}

#[test]
fn and_and_or_stop_where_it_is_decided() {
    is("{{or .app (div 1 0)}}", "web");
    is("{{and .empty (div 1 0)}}", "");
    is(r#"{{and 1 "x"}} {{or "" 0 "y"}}"#, "x y");
    fails("{{and .app (div 1 0)}}", "integer divide by zero");
}

#[test]
fn ranges_walk_labels_and_documents() {
    is(r#"{{range (fromJson .json).a}}[{{.}}]{{end}}"#, "[1][x][map[b:true]]");
    is(r#"{{range $i, $v := (fromJson .json).a}}{{$i}}{{if eq $i 1}}{{break}}{{end}},{{end}}"#, "0,1");
    is(
        r#"{{range $k, $v := .}}{{if eq $k "app" "took"}}{{$k}}={{$v}};{{else}}{{continue}}{{end}}{{end}}"#,
        "app=web;took=1.5s;",
    );
    is(r#"{{range .none | fromJson}}x{{else}}nothing{{end}}"#, "nothing");
    is(r#"{{range $v := (fromJson "[]")}}{{$v}}{{else}}{{$w := 1}}{{$w}}{{end}}"#, "1");
    fails("{{range .app}}{{end}}", "range can't iterate over string");
    fails("{{range 1000000}}{{end}}", "range can't iterate over int");
}

#[test]
fn documents_are_entered() {
    is(
        r#"{{$j := fromJson .json}}{{$j.s}} {{index $j "a" 1}} {{$j.n}} {{$j.none}}"#,
        "t x 1.2345678e+07 <no value>",
    );
    is(r#"{{(index (fromJson .json).a 2).b}} {{len (fromJson .json)}}"#, "true 3");
    is(r#"{{fromJson "no json"}}"#, "<no value>");
    fails(r#"{{(fromJson .json).s.x}}"#, "can't evaluate field x in type string");
    fails(r#"{{index (fromJson .json).a 7}}"#, "index out of range: 7");
}

#[test]
fn comparisons_want_one_type() {
    is(
        r#"{{eq 1 1}} {{eq 1 2 1}} {{ne "a" "b"}} {{lt 1 2}} {{le 1.5 1.5}} {{gt "b" "a"}} {{ge 1 2}}"#,
        "true true true true true true false",
    );
    fails("{{eq .ms 1500}}", "incompatible types for comparison: string and int");
    is("{{eq (int .ms) 1500}}", "true");
}

#[test]
fn old_functions_take_the_text_first() {
    for (text, expected) in [
        (r#"{{ToLower .level}} {{.app | ToUpper}}"#, "error WEB"),
        (r#"{{Replace .path "/" "." 2}} {{Replace .path "/" "" -1}}"#, ".api.v1/users/42 apiv1users42"),
        (r#"{{Trim "xxaxx" "x"}} {{TrimLeft "xxa" "x"}} {{TrimRight "axx" "x"}}"#, "a a a"),
        (
            r#"{{TrimPrefix .path "/api"}} {{TrimSuffix .path "/42"}}|{{TrimSpace "  a "}}"#,
            "/v1/users/42 /api/v1/users|a",
        ),
        (r#"{{regexReplaceAll "(\\d+)" .path "<${1}>"}}"#, "/api/v<1>/users/<42>"),
        (r#"{{regexReplaceAllLiteral "\\d+" .path "$1"}}"#, "/api/v$1/users/$1"),
        (r#"{{count "[/]" .path}} {{.path | count "u"}}"#, "4 1"),
        (r#"{{urlencode "a b&c=é"}} {{urldecode "a+b%26"}}"#, "a+b%26c%3D%C3%A9 a b&"),
        (r#"{{bytes .size}} {{duration .took}} {{duration_seconds "2ms"}}"#, "5120 1.5 0.002"),
        (
            r#"{{alignLeft 5 .app}}|{{alignRight 5 .app}}|{{alignLeft 2 .app}}|{{alignRight 2 .user}}"#,
            "web  |  web|we|sé",
        ),
        (r#"{{b64enc "a?"}} {{b64dec "YT8="}}"#, "YT8= a?"),
    ] {
        is(text, expected);
    }
    fails(r#"{{b64dec "*"}}"#, "illegal base64 data");
    fails("{{bytes .app}}", "invalid size");
    fails("{{duration .app}}", "invalid duration");
    fails("{{ToUpper 5}}", "wrong type for value; expected string; got int");
}

#[test]
fn sprigs_functions_take_the_text_last() {
    for (text, expected) in [
        (r#"{{lower "AÉ"}} {{upper "aé"}} {{title "hello big-world it's"}}"#, "aé AÉ Hello Big-World It's"),
        (
            r#"{{trunc 3 .user}} {{trunc -3 .user}} {{substr 1 3 .user}} {{substr -1 2 .user}} {{substr 2 -1 .user}}"#,
            "jos osé os jo sé",
        ),
        (r#"{{contains "s" .user}} {{hasPrefix "j" .user}} {{hasSuffix "x" .user}}"#, "true true false"),
        ("{{indent 2 \"a\\nb\"}}{{nindent 1 \"c\"}}", "  a\n  b\n c"),
        (r#"{{.path | replace "/" "-"}} {{repeat 3 "ab"}}"#, "-api-v1-users-42 ababab"),
        (r#"{{trim " a "}}{{trimAll "$" "$5$"}}{{trimPrefix "-" "-b"}}{{trimSuffix "-" "c-"}}"#, "a5bc"),
        (r#"{{int "12"}} {{int 3.9}} {{int "x"}} {{float64 "1.5"}}"#, "12 3 0 1.5"),
        (
            r#"{{add 1 2 3}} {{sub 5 3}} {{mul 2 3 4}} {{div 7 2}} {{mod 7 4}} {{add .ms 1}}"#,
            "6 2 24 3 3 1501",
        ),
        (r#"{{addf 1.5 2}} {{subf 5 0.5}} {{mulf 2 1.5}} {{divf 7 2}}"#, "3.5 4.5 3 3.5"),
        (r#"{{max 1 3 2}} {{min 3 1 2}} {{maxf 1.5 2.5}} {{minf 1.5 2.5}}"#, "3 1 2.5 1.5"),
        (
            r#"{{ceil 1.2}} {{floor 1.8}} {{round 1.2345 2}} {{round 2.5 0}} {{round 1.26 1 0.7}} {{round -2.5 0}}"#,
            "2 1 1.23 3 1.2 -3",
        ),
        (r#"{{default "x" .empty}} {{default "x" .app}} {{.none | default "y"}}"#, "x web y"),
    ] {
        is(text, expected);
    }
    fails("{{mod 1 0}}", "integer divide by zero");
    fails(r#"{{repeat -1 "a"}}"#, "negative repeat count");
}

#[test]
fn times_are_formatted_and_read() {
    for (text, expected) in [
        (r#"{{__timestamp__ | date "2006-01-02T15:04:05.000Z07:00"}}"#, "2023-04-05T06:07:08.090Z"),
        (r#"{{date "15:04" 3600}}"#, "01:00"),
        (r#"{{toDate "2006-01-02" "2023-04-05" | unixEpoch}}"#, "1680652800"),
        (r#"{{toDate "2006-01-02" "nonsense"}}"#, "0001-01-01 00:00:00 +0000 UTC"),
        (
            r#"{{toDateInZone "2006-01-02 15:04" "UTC" "2023-04-05 06:07" | unixEpochMillis}}"#,
            "1680674820000",
        ),
        (r#"{{unixEpochNanos now}} {{unixEpoch __timestamp__}}"#, "1680674828090000001 1680674828"),
        (
            r#"{{unixToTime "1680674828" | unixEpoch}} {{unixToTime "1680674828090" | unixEpochMillis}}"#,
            "1680674828 1680674828090",
        ),
        (r#"{{unixToTime "19452" | date "2006-01-02"}}"#, "2023-04-05"),
        (r#"{{if lt __timestamp__ now}}past{{end}}"#, "past"),
    ] {
        is(text, expected);
    }
    fails(r#"{{unixToTime "12"}}"#, "unable to parse time \"12\"");
    fails(r#"{{toDateInZone "2006" "Nowhere/Land" "2023"}}"#, "unknown time zone \"Nowhere/Land\"");
}

#[test]
fn printf_prints_as_go_does() {
    for (text, expected) in [
        (r#"{{printf "%s|%5s|%-5s|%.2s|%q" .app .app .app .app .app}}"#, "web|  web|web  |we|\"web\""),
        (
            r#"{{printf "%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c" 42 42 42 42 42 42 42 42 5 65}}"#,
            "42|   42|42   |00042|+42|2a|2A|52|101|A",
        ),
        (
            r#"{{printf "%f|%.2f|%8.3f|%-8.1f|%08.2f|%e|%g|%G" 1.5 1.556 1.5 1.5 -1.5 1500.0 0.00001 1e10}}"#,
            "1.500000|1.56|   1.500|1.5     |-0001.50|1.500000e+03|1e-05|1E+10",
        ),
        (r#"{{printf "%.3g|%.3g|%.10g" 1234.5 0.00012345 1.5}}"#, "1.23e+03|0.000123|1.5"),
        (r#"{{printf "%v %v %v %v" 1 1.5 "x" true}} {{printf "%t" false}}"#, "1 1.5 x true false"),
        (r#"{{printf "%*d|%-*d|%6.2f%%" 4 7 4 7 12.345}}"#, "   7|7   | 12.35%"),
        (r#"{{printf "%x %X" "hi" "hi"}} {{printf "%U %q" 233 233}}"#, "6869 6869 U+00E9 'é'"),
        (
            r#"{{printf "%d" .ms}} {{printf "%s" 5}} {{printf "%d"}} {{printf "x" 1}} {{printf "%"}}"#,
            "%!d(string=1500) %!s(int=5) %!d(MISSING) x%!(EXTRA int=1) %!(NOVERB)",
        ),
        (r#"{{printf "%z" 1}} {{printf "%T %T" 1.5 nil}}"#, "%!z(int=1) float64 <nil>"),
        (r#"{{.ms | int | printf "%6d"}}"#, "  1500"),
        (r#"{{print 1 2 "a" "b" 3}} {{println "a" 1}}"#, "1 2ab3 a 1\n"),
    ] {
        is(text, expected);
    }
}

#[test]
fn texts_are_measured_cut_and_escaped() {
    is(r#"{{len .user}} {{slice .user 0 3}} {{slice .path 5}} {{index .app 0}}"#, "5 jos v1/users/42 119");
    is(r#"{{html "<a href='x'>&\"</a>"}}"#, "&lt;a href=&#39;x&#39;&gt;&amp;&#34;&lt;/a&gt;");
    is(r#"{{js "it's <\"x\">"}} {{urlquery "a b" "c"}}"#, r#"it\'s \u003C\"x\"\u003E a+bc"#);
    is(r#"{{slice .user 4}}"#, "\u{fffd}");
    fails("{{slice .app 2 1}}", "slice out of range");
}

#[test]
fn floats_print_as_go_prints_them() {
    is(
        "{{1.0}} {{100000.0}} {{1000000.0}} {{0.0001}} {{0.00001}} {{123456.789}}",
        "1 100000 1e+06 0.0001 1e-05 123456.789",
    );
    is("{{0x1F}} {{010}} {{1_000}} {{'a'}} {{-5}} {{+5}} {{1e3}}", "31 8 1000 97 -5 5 1000");
}

#[test]
fn templates_that_cannot_run_are_refused() {
    for (text, message) in [
        ("{{", "unclosed action"),
        ("{{.a", "unclosed action"),
        ("{{/* a", "unclosed comment"),
        ("{{/* a */ .b}}", "comment ends before closing delimiter"),
        ("{{}}", "missing value for command"),
        ("{{if}}{{end}}", "missing value for if"),
        ("{{if .a}}", "missing {{end}} of {{if}}"),
        ("{{if .a}}{{else}}", "missing {{end}} of {{else}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .a}}{{else}}{{else}}{{end}}", "expected {{end}}; found {{else}}"),
        ("{{nope .a}}", "function \"nope\" not defined"),
        ("{{ToUpper}}", "wrong number of args for ToUpper: want 1 got 0"),
        ("{{.a | ToUpper .b}}", "wrong number of args for ToUpper: want 1 got 2"),
        ("{{date}}", "wrong number of args for date: want 2 got 0"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{$x = 1}}", "undefined variable \"$x\""),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "undefined variable \"$x\""),
        ("{{.a .b}}", "can't give argument to non-function"),
        ("{{.a | .b}}", "non executable command in pipeline stage 2"),
        ("{{(.a}}", "unclosed left paren"),
        ("{{.a)}}", "unexpected right paren"),
        ("{{\"a}}", "unterminated quoted string"),
        ("{{.a ? .b}}", "unexpected character '?' in action"),
        ("{{12x}}", "bad number syntax: \"12x\""),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{define \"x\"}}{{end}}", "{{define}} is not supported"),
        ("{{template \"x\"}}", "{{template}} is not supported"),
        ("{{regexReplaceAll \"(\" .a \"\"}}", "missing closing )"),
        ("{{($x := 1)}}", "a declaration stands alone"),
        ("{{range $a, $b = .}}{{end}}", "range can only initialize variables"),
    ] {
        refused(text, message);
    }
    refused(&"{{if .a}}".repeat(1000), "nested deeper than 32");
    refused(&format!("{{{{{}.a{}}}}}", "(".repeat(5000), ")".repeat(5000)), "nested deeper than 32");
    refused(&"{{count \"a+\" .b}}".repeat(20), "more than 16 regular expressions");
    let error = Template::parse("ab{{nope}}").unwrap_err();
    assert_eq!(
        (error.at, error.to_string().as_str()),
        (4, "template: byte 4: function \"nope\" not defined")
    );
}

#[test]
fn a_line_has_a_budget() {
    fails(r#"{{repeat 2000000 "x"}}"#, "output longer than 1 MiB");
    fails(r#"{{repeat 1000000000000 "x"}}"#, "values take more than 4 MiB");
    fails(r#"{{$x := repeat 1000000 "x"}}{{replace "" $x $x}}"#, "values take more than 4 MiB");
    fails(r#"{{indent 1000000000 .app}}"#, "values take more than 4 MiB");
    fails(r#"{{alignLeft 1000000000 .app}}"#, "values take more than 4 MiB");
    fails(
        r#"{{printf "%1000000d%1000000d%1000000d%1000000d%1000000d" 1 1 1 1 1}}"#,
        "values take more than 4 MiB",
    );
    fails(r#"{{regexReplaceAll "" (repeat 3000 "x") (repeat 3000 "y")}}"#, "values take more than 4 MiB");
    let json = format!("[{}1]", "1,".repeat(3000));
    let nested = "{{range $x}}".repeat(4);
    fails(&format!("{{{{$x := fromJson `{json}`}}}}{nested}{}", "{{end}}".repeat(4)), "more than");
}

#[test]
fn a_template_is_left_between_two_matches_and_two_calls() {
    for text in [
        r#"{{count "x" (repeat 100000 "x")}}"#,
        r#"{{regexReplaceAll "x" (repeat 100000 "x") "y"}}"#,
        r#"{{range (fromJson "[1,2,3,4,5,6,7,8]")}}{{trunc 3 (repeat 100000 "x")}}{{end}}"#,
    ] {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        // The first two looks are before the functions that make the text.
        let stop = StopSign::new(move || counted.fetch_add(1, Relaxed) >= 4);
        let _ = render_until(text, &stop);
        assert_eq!(looks.load(Relaxed), 5, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = Template::parse(&text);
    }

    #[test]
    fn no_sequence_of_words_panics(words in proptest::collection::vec(0..WORDS.len(), 0..24)) {
        let text: String = words.into_iter().map(|word| WORDS[word]).collect();
        if Template::parse(&text).is_ok() {
            let _ = render(&text);
        }
    }

    #[test]
    fn no_arguments_panic(
        function in 0..NAMES.len(),
        arguments in proptest::collection::vec(0..ARGUMENTS.len(), 0..5),
    ) {
        let arguments: Vec<&str> = arguments.into_iter().map(|argument| ARGUMENTS[argument]).collect();
        let text = format!("{{{{{} {}}}}}", NAMES[function], arguments.join(" "));
        if Template::parse(&text).is_ok() {
            let _ = render(&text);
        }
    }
}

const WORDS: [&str; 40] = [
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{if .app}}",
    "{{else}}",
    "{{end}}",
    "{{range .}}",
    "{{with .app}}",
    "{{break}}",
    "{{continue}}",
    "{{$x := ",
    "{{$x = ",
    "{{$k, $v := ",
    "$x",
    "$",
    ".",
    ".app",
    ".json",
    " ",
    " | ",
    "(",
    ")",
    "1",
    "-1",
    "1.5",
    "\"a\"",
    "`b`",
    "'c'",
    "nil",
    "true",
    "fromJson ",
    "index ",
    "len ",
    "printf ",
    "eq ",
    "and ",
    "x",
    "/*",
    "*/",
];

const ARGUMENTS: [&str; 14] = [
    ".app",
    ".json",
    ".user",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "1e300",
    "\"%d %5.2f\"",
    "\"\"",
    "nil",
    "(fromJson .json)",
    "__timestamp__",
];

const NAMES: [&str; 82] = [
    "__line__",
    "__timestamp__",
    "add",
    "addf",
    "alignLeft",
    "alignRight",
    "and",
    "b64dec",
    "b64enc",
    "bytes",
    "ceil",
    "contains",
    "count",
    "date",
    "default",
    "div",
    "divf",
    "duration",
    "duration_seconds",
    "eq",
    "float64",
    "floor",
    "fromJson",
    "ge",
    "gt",
    "hasPrefix",
    "hasSuffix",
    "html",
    "indent",
    "index",
    "int",
    "js",
    "le",
    "len",
    "lower",
    "lt",
    "max",
    "maxf",
    "min",
    "minf",
    "mod",
    "mul",
    "mulf",
    "ne",
    "nindent",
    "not",
    "now",
    "or",
    "print",
    "printf",
    "println",
    "regexReplaceAll",
    "regexReplaceAllLiteral",
    "repeat",
    "replace",
    "Replace",
    "round",
    "slice",
    "sub",
    "subf",
    "substr",
    "title",
    "toDate",
    "toDateInZone",
    "ToLower",
    "ToUpper",
    "Trim",
    "trim",
    "trimAll",
    "TrimLeft",
    "TrimPrefix",
    "trimPrefix",
    "TrimRight",
    "TrimSpace",
    "TrimSuffix",
    "trimSuffix",
    "trunc",
    "unixEpoch",
    "unixEpochMillis",
    "unixEpochNanos",
    "unixToTime",
    "upper",
];

#[test]
fn every_function_is_known() {
    for name in NAMES.iter().chain(&["urldecode", "urlencode", "urlquery"]) {
        assert!(functions::find(name).is_some(), "{name}");
    }
}
