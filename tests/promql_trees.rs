//! Properties of the PromQL parser: any tree prints as text that parses back to it, and no text, however hostile,
//! makes it panic or grow beyond its limits.

use icecore::model::labels::METRIC_NAME;
use icecore::model::{MatchOp, Matcher};
use icecore::query::promql::ast::*;
use icecore::query::promql::functions_table::{Function, ValueType};
use icecore::query::promql::{ParseOptions, parse, parse_selector};
use proptest::prelude::*;
use proptest::strategy::Union;

fn expr(kind: ExprKind) -> Expr {
    Expr { position: PositionRange::default(), kind }
}

fn metric_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_:][a-z0-9_:]{0,6}x", Just("sum".into()), Just("offset".into()), Just("start".into())]
}

fn label_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,6}",
        Just("by".into()),
        Just("inf".into()),
        Just("fill".into()),
        "[a-z.é \"]{1,5}"
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let name = label_name().prop_filter("a second metric name", |name| name != METRIC_NAME);
    (name, op, "[a-z\"\\n|.é-]{0,6}")
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).expect("a good regex"))
}

/// Whole milliseconds for durations, any finite or infinite value for numbers; never negative, since a sign before
/// a literal belongs to where it stands.
fn number() -> impl Strategy<Value = NumberLiteral> {
    let duration =
        (0i64..1 << 40).prop_map(|ms| NumberLiteral { value: ms as f64 / 1000.0, is_duration: true });
    let plain = prop_oneof![
        (0u32..100).prop_map(f64::from),
        any::<f64>().prop_map(f64::abs),
        Just(f64::INFINITY),
        Just(f64::NAN)
    ];
    prop_oneof![duration, plain.prop_map(|value| NumberLiteral { value, is_duration: false })]
}

fn sign() -> impl Strategy<Value = UnaryOp> {
    prop_oneof![Just(UnaryOp::Plus), Just(UnaryOp::Minus)]
}

fn duration_expr(kind: DurationExprKind) -> DurationExpr {
    DurationExpr { position: PositionRange::default(), kind }
}

/// Atoms of duration arithmetic, which need no parentheses anywhere.
fn duration_atom() -> impl Strategy<Value = DurationExpr> {
    let literal = (1u32..9999).prop_map(|n| {
        DurationExprKind::Number(NumberLiteral { value: f64::from(n), is_duration: n % 2 == 0 })
    });
    let leaf = prop_oneof![Just(DurationExprKind::Step), Just(DurationExprKind::Range), literal]
        .prop_map(duration_expr);
    leaf.prop_recursive(3, 12, 2, |inner| {
        let op = prop_oneof![
            Just(DurationOp::Add),
            Just(DurationOp::Subtract),
            Just(DurationOp::Multiply),
            Just(DurationOp::Divide),
            Just(DurationOp::Modulo),
            Just(DurationOp::Power)
        ];
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        let binary = (op, inner.clone(), inner.clone())
            .prop_map(|(op, a, b)| DurationExprKind::Binary(op, Box::new(a), Box::new(b)));
        let signed = (sign(), inner)
            .prop_filter("a signed literal is a literal", |(_, e)| {
                !matches!(e.kind, DurationExprKind::Number(_))
            })
            .prop_map(|(op, e)| DurationExprKind::Unary(op, Box::new(e)));
        prop_oneof![
            pair.clone().prop_map(|(a, b)| duration_expr(DurationExprKind::MinOf(a, b))),
            pair.prop_map(|(a, b)| duration_expr(DurationExprKind::MaxOf(a, b))),
            prop_oneof![binary, signed]
                .prop_map(|kind| duration_expr(DurationExprKind::Paren(Box::new(duration_expr(kind)))))
        ]
    })
}

fn is_literal(expr: &DurationExpr) -> bool {
    matches!(expr.kind, DurationExprKind::Number(_))
}

fn positive_duration() -> impl Strategy<Value = Duration> {
    let computed = duration_atom().prop_filter("literals are milliseconds", |e| !is_literal(e));
    prop_oneof![
        (1i64..1 << 40).prop_map(Duration::Milliseconds),
        computed.prop_map(|e| Duration::Expression(Box::new(e)))
    ]
}

fn offset() -> impl Strategy<Value = Duration> {
    let computed = duration_atom().prop_filter("literals are milliseconds", |e| !is_literal(e));
    prop_oneof![
        Just(Duration::ZERO),
        (-1i64 << 40..1 << 40).prop_map(Duration::Milliseconds),
        computed.prop_map(|e| Duration::Expression(Box::new(e)))
    ]
}

fn at() -> impl Strategy<Value = Option<At>> {
    prop_oneof![
        Just(None),
        Just(Some(At::Start)),
        Just(Some(At::End)),
        (-1i64 << 45..1 << 45).prop_map(|ms| Some(At::Timestamp(ms)))
    ]
}

fn selector() -> impl Strategy<Value = VectorSelector> {
    let edges = prop_oneof![Just(Edges::Plain), Just(Edges::Anchored), Just(Edges::Smoothed)];
    let name = proptest::option::of(metric_name());
    (name, proptest::collection::vec(matcher(), 0..3), offset(), at(), edges).prop_map(
        |(name, mut matchers, offset, at, edges)| {
            if let Some(name) = &name {
                matchers.insert(0, Matcher::equal(METRIC_NAME, name.as_str()));
            } else {
                matchers.push(Matcher::equal(METRIC_NAME, "a name"));
            }
            VectorSelector { name, matchers, offset, at, edges }
        },
    )
}

/// Vectors that stand anywhere without parentheses.
fn vector() -> BoxedStrategy<Expr> {
    let leaf = selector().prop_map(|s| expr(ExprKind::VectorSelector(s)));
    leaf.prop_recursive(4, 24, 3, |inner| {
        let paren = |kind| expr(ExprKind::Paren(Box::new(expr(kind))));
        prop_oneof![
            binary(inner.clone()).prop_map(move |b| paren(ExprKind::Binary(b))),
            (sign(), inner.clone())
                .prop_map(move |(op, e)| paren(ExprKind::Unary(Unary { op, expr: Box::new(e) }))),
            aggregate(inner.clone()).prop_map(|a| expr(ExprKind::Aggregate(a))),
            call(inner).prop_map(|c| expr(ExprKind::Call(c))),
        ]
    })
    .boxed()
}

fn binary(side: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = Binary> {
    use BinaryOp::*;
    let op = Union::new(
        [Add, Power, Atan2, Equal, Less, Greater, GreaterEqual, And, Or, Unless, TrimUpper, TrimLower]
            .map(Just),
    );
    let labels = || proptest::collection::vec(label_name(), 0..3);
    let cardinality =
        prop_oneof![Just(Cardinality::OneToOne), Just(Cardinality::ManyToOne), Just(Cardinality::OneToMany)];
    let fill = || proptest::option::of(number());
    (op, side.clone(), side, any::<(bool, bool)>(), labels(), labels(), cardinality, fill(), fill()).prop_map(
        |(op, lhs, rhs, (wants_bool, on), labels, include, cardinality, fill_left, fill_right)| {
            let is_set = op.is_set_operator();
            let is_grouped = !is_set && cardinality != Cardinality::OneToOne;
            let include = include.into_iter().filter(|l| is_grouped && !(on && labels.contains(l))).collect();
            let matching = VectorMatching {
                cardinality: if is_set { Cardinality::ManyToMany } else { cardinality },
                on,
                labels,
                include,
                fill_left: fill_left.filter(|_| !is_set),
                fill_right: fill_right.filter(|_| !is_set),
            };
            let return_bool = wants_bool && op.is_comparison();
            Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs), return_bool, matching: Some(matching) }
        },
    )
}

fn aggregate(inner: impl Strategy<Value = Expr>) -> impl Strategy<Value = Aggregate> {
    use AggregateOp::*;
    let op = Union::new([Sum, Quantile, CountValues, Limitk, Group].map(Just));
    let grouping = proptest::collection::vec(label_name(), 0..3);
    (op, inner, number(), any::<bool>(), grouping, any::<Vec<u8>>()).prop_map(
        |(op, inner, number, without, grouping, bytes)| {
            let param = op.param_type().map(|param_type| {
                Box::new(expr(match param_type {
                    ValueType::String => ExprKind::String(bytes),
                    _ => ExprKind::Number(number),
                }))
            });
            Aggregate { op, expr: Box::new(inner), param, grouping, without }
        },
    )
}

fn call(inner: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = Call> {
    let of_vector = inner.clone().prop_map(|e| Call { function: Function::Abs, args: vec![e] });
    let of_numbers = (inner.clone(), number(), sign()).prop_map(|(e, n, op)| {
        let signed = if op == UnaryOp::Minus { NumberLiteral { value: -n.value, ..n } } else { n };
        Call { function: Function::Round, args: vec![e, expr(ExprKind::Number(signed))] }
    });
    let matrix = (selector(), positive_duration()).prop_map(|(mut selector, range)| {
        selector.edges = Edges::Anchored;
        expr(ExprKind::MatrixSelector(MatrixSelector { selector, range }))
    });
    let step = proptest::option::of(positive_duration());
    let subquery =
        (inner, positive_duration(), step, offset(), at()).prop_map(|(e, range, step, offset, at)| {
            expr(ExprKind::Subquery(Subquery { expr: Box::new(e), range, step, offset, at }))
        });
    let of_matrix =
        prop_oneof![matrix, subquery].prop_map(|m| Call { function: Function::Rate, args: vec![m] });
    prop_oneof![of_vector, of_numbers, of_matrix]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn words_in_any_order_parse_or_are_refused(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "sum", "by", "(", ")", "{", "}", "[", "]", ",", ":", "@", "offset", "5m", "1", "-", "+", "^",
                "*", "or", "==", "=~", "\"x\"", "on", "group_left", "bool", "fill", "step", "start", "min_of",
                "rate", "info", "anchored", "#", "\n", "0x", "1e", "'", "é", "</", "inf", "without", "topk",
            ]),
            0..24,
        ),
        separator in prop_oneof![Just(""), Just(" ")],
    ) {
        let text = words.join(separator);
        let _ = parse_selector(&text, &ParseOptions::default());
        if let Ok(tree) = parse(&text, &ParseOptions::all()) {
            let printed = tree.to_string();
            let parsed = parse(&printed, &ParseOptions::all());
            prop_assert_eq!(parsed.as_ref(), Ok(&tree), "{} -> {}", text, printed);
        }
    }

    #[test]
    fn a_good_query_with_a_few_wrong_bytes_never_panics(
        which in 0usize..4,
        edits in proptest::collection::vec((any::<usize>(), any::<char>()), 1..4),
    ) {
        let query = [
            r#"sum by (job) (rate(http_requests_total{code=~"5..", job!=""}[5m] offset -1h)) / on (job) group_left (x) up"#,
            r#"histogram_quantile(0.9, max_over_time({"a.b", c='\xff'}[min_of(step(), 5m):1m] @ start())) > bool -1e3"#,
            r#"a atan2 on () fill_left (1h) b </ 3 ^ -2 unless c[1h:] smoothed @ 12.5"#,
            r#"label_replace(info(x, {y=~".+"}), "a", "$1", `b`, "(.*)") # comment"#,
        ][which];
        let mut chars: Vec<char> = query.chars().collect();
        for (at, c) in edits {
            let at = at % chars.len();
            chars[at] = c;
        }
        let _ = parse(&chars.iter().collect::<String>(), &ParseOptions::all());
    }

    #[test]
    fn any_text_at_all_is_parsed_or_refused_in_place(text: String) {
        if let Err(error) = parse(&text, &ParseOptions::all()) {
            prop_assert!(error.at.line >= 1 && error.at.column <= text.len() + 1);
        }
    }
}

#[test]
fn a_tree_prints_as_text_that_parses_back_to_it() {
    let check = || {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(512));
        let result = runner.run(&vector(), |tree| {
            let text = tree.to_string();
            let parsed = parse(&text, &ParseOptions::all());
            prop_assert_eq!(parsed.as_ref(), Ok(&tree), "{}", text);
            Ok(())
        });
        result.map_err(|failure| failure.to_string())
    };
    // Not the parser but the strategy of trees, in a debug build, wants more stack than a test's thread has.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(check).unwrap();
    thread.join().unwrap().unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_hostile_query_is_refused_at_its_limit() {
    // Each is hundreds of times beyond a limit: without it the parser would overflow its stack or never come back.
    let limits = [
        ("(".repeat(100_000), "query longer than 16384 bytes"),
        ("(".repeat(10_000), "query nested deeper than 64"),
        ("sum(".repeat(4_000), "query nested deeper than 64"),
        ("-".repeat(10_000) + "x", "query nested deeper than 64"),
        ("2^".repeat(8_000) + "2", "query nested deeper than 64"),
        ("abs(".repeat(1_000) + "x" + &")".repeat(1_000), "query nested deeper than 64"),
        ("x[".to_owned() + &"-".repeat(10_000) + "5m]", "query nested deeper than 64"),
        ("x[".to_owned() + &"(".repeat(10_000) + "5m]", "query nested deeper than 64"),
        ("x offset ".to_owned() + &"-".repeat(10_000) + "5m", "query nested deeper than 64"),
        ("1+".repeat(5_000) + "1", "query has more than 2000 nodes"),
        ("1+".repeat(500) + "1", "query chains more than 256 operators"),
        ("x".to_owned() + &"[5m:]".repeat(2_500), "query has more than 2000 nodes"),
        ("x[5m".to_owned() + &"+1s".repeat(4_000) + "]", "query has more than 2000 nodes"),
        ("x[5m".to_owned() + &"+1s".repeat(500) + "]", "duration has more than 128 nodes"),
        (format!("x{{{}}}", "a=~\"b.c\",".repeat(65)), "query has more than 64 regular expressions"),
        (r#"x{a=~"(\\pL{1000}x){1000}"}"#.to_owned(), "regex compiles to more than 1 MiB"),
    ];
    for (text, message) in limits {
        let refused = parse(&text, &ParseOptions::all()).unwrap_err();
        assert_eq!(refused.message, message);
    }
}

#[test]
fn the_deepest_query_allowed_fits_a_small_stack() {
    let text = "a or b and c == d + e * (".repeat(42) + "f" + &")".repeat(42);
    let durations = format!("x[{}1s{}]", "1 + 2 * -(".repeat(20), ")".repeat(20));
    let chain = "a+".repeat(250) + "a";
    let parse_all = move || {
        for text in [text, durations, chain] {
            let tree = parse(&text, &ParseOptions::all()).unwrap();
            assert_eq!(parse(&tree.to_string(), &ParseOptions::all()), Ok(tree));
        }
    };
    // What a thread gets by default; a debug build's frames are the largest.
    std::thread::Builder::new().stack_size(2 << 20).spawn(parse_all).unwrap().join().unwrap();
}

#[test]
fn what_is_experimental_needs_its_option() {
    let refused = |text: &str| parse(text, &ParseOptions::default()).unwrap_err().to_string();
    assert_eq!(refused("info(up)"), "1:1: parse error: function \"info\" is not enabled");
    assert_eq!(
        refused("1 + limitk(1, up)"),
        "1:5: parse error: limitk() is experimental and must be enabled with \
         --enable-feature=promql-experimental-functions"
    );
    assert_eq!(refused("up smoothed"), "1:4: parse error: smoothed modifier is experimental and not enabled");
    assert_eq!(
        refused("a + fill(0) b"),
        "1:5: parse error: binop fill modifiers are experimental and not enabled"
    );
    assert!(parse("rate(x[2m+step()])", &ParseOptions::default()).is_ok(), "on for everybody since 3.14");
}

#[test]
fn a_selector_for_match_is_a_selector_and_no_more() {
    let options = ParseOptions::default();
    let matchers = parse_selector(r#"up{job=~"a|b"}"#, &options).unwrap();
    assert_eq!(matchers.len(), 2);
    assert_eq!((matchers[0].name.as_str(), matchers[0].value.as_str()), (METRIC_NAME, "up"));
    for bad in ["up offset 5m", "up + 1", "1", "", "rate(x[5m])", "up[5m]", "up{__name__=\"down\"}"] {
        assert!(parse_selector(bad, &options).is_err(), "{bad}");
    }
    assert!(parse_selector("{}", &options).is_ok(), "whether all series may be meant is for others to say");
    let refused = parse_selector("up + 1", &options).unwrap_err();
    assert_eq!(refused.to_string(), "1:4: parse error: unexpected <op:+>");
}

#[test]
fn every_node_knows_where_it_stood() {
    let refused = parse("up\n  and -1", &ParseOptions::all()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"
    );
    let refused = parse("up\n  + (1 == 2)", &ParseOptions::all()).unwrap_err();
    assert_eq!(refused.to_string(), "2:6: parse error: comparisons between scalars must use BOOL modifier");
    let text = "a + sum(rate(x{b=\"c\"}[5m] offset 1h)) by (d)";
    let mut seen = Vec::new();
    parse(text, &ParseOptions::all()).unwrap().walk(&mut |node| {
        seen.push(&text[node.position.start as usize..node.position.end as usize]);
    });
    assert_eq!(
        seen,
        [
            text,
            "a",
            "sum(rate(x{b=\"c\"}[5m] offset 1h)) by (d)",
            "rate(x{b=\"c\"}[5m] offset 1h)",
            "x{b=\"c\"}[5m] offset 1h",
        ]
    );
}
